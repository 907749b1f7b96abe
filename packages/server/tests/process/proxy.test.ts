/**
 * Debian's nginx with its default settings in front of a node: events arrive at once, encoded slashes
 * and large bodies pass as the documents say. Skipped where nginx is absent.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Client, testNode, WRITER } from '../helpers/node.ts'

const hasNginx = spawnSync('nginx', ['-v']).status === 0

test.skipIf(!hasNginx)(
  'an event stream, an encoded slash and a large body pass nginx',
  async () => {
    await using fixture = await testNode({ shards: ['a/b:2:l2'] })
    const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-nginx-'))
    const port = await freePort()
    writeFileSync(
      join(folder, 'nginx.conf'),
      // Without root the directive is ignored, and workers are the test's user anyway.
      `user root; daemon off; pid ${folder}/pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f;
  uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  server {
    listen 127.0.0.1:${port};
    client_max_body_size 16m;
    location / { proxy_pass ${fixture.node.url}; }
  }
}`,
    )
    const nginx = spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder], {
      stdio: 'ignore',
    })
    try {
      const api = new Client(`http://127.0.0.1:${port}`, WRITER)
      await expect
        .poll(
          () =>
            api.raw('/livez').then(
              ({ status }) => status,
              () => 0,
            ),
          { timeout: 30_000 },
        )
        .toBe(200)

      const events = await api.raw('/v1/shards/a%2Fb/events')
      const reader = (events.body as ReadableStream<Uint8Array>).getReader()
      const opened = new TextDecoder().decode((await reader.read()).value)
      const records = [{ id: 'x', embedding: [1, 2] }]
      const wrote = await api.raw('/v1/shards/a%2Fb/records', {
        method: 'POST',
        body: JSON.stringify({ records }),
      })
      const changed = new TextDecoder().decode((await reader.read()).value)
      await reader.cancel()
      const large = Array.from({ length: 40 }, (_, index) => ({
        id: `l${index}`,
        embedding: [1, 2],
        text: 'x'.repeat(60_000),
      }))
      const many = await api.raw('/v1/shards/a%2Fb/records', {
        method: 'POST',
        body: JSON.stringify({ records: large }),
      })

      expect([opened, changed].join('')).toMatch(/event: open[\s\S]*event: changes/)
      expect([wrote.status, many.status]).toEqual([200, 200])
    } finally {
      nginx.kill('SIGTERM')
      await once(nginx, 'exit')
      rmSync(folder, { recursive: true, force: true })
    }
  },
)

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { readonly port: number }
  server.close()
  await once(server, 'close')
  return port
}
