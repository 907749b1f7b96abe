/**
 * `npm run test:alerts`: the life of alerts in a real Prometheus that scrapes two nodes. Each cause is
 * provoked, its alert must fire, the cause is taken away, and the alert must clear.
 *
 * The rules are those of ops/alerts.yaml with minutes made seconds, so that a life takes seconds.
 * Alerts whose cause cannot be made here in seconds (clock, full disk, blocked loop, divergence) are
 * tested by `promtool test rules` alone. Needs `prometheus`; without it, says so and ends well.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { TrustList } from '@agentic-flow/sqlite-vector/transport'
import { Client, flagsOf, WRITER } from '../helpers/node.ts'
import { NodeProcess } from '../helpers/process.ts'

const RULES = join(import.meta.dirname, '../../../../ops/alerts.yaml')
const WAIT_MS = 60_000

if (spawnSync('prometheus', ['--version']).status !== 0) {
  process.stdout.write('skipped: prometheus is not installed\n')
} else {
  await run()
}

async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-alerts-'))
  const ports = { a: await freePort(), b: await freePort(), prometheus: await freePort() }
  const flags = (name: 'a' | 'b') => ({
    ...flagsOf(folder, name),
    'http-listen': `127.0.0.1:${ports[name]}`,
    'sync-retry-ms': '500',
    'log-level': 'error',
  })
  const a = await NodeProcess.start({ ...flags('a'), shards: ['s:2:l2'] })
  const b = await NodeProcess.start({
    ...flags('b'),
    shards: ['s:2:l2'],
    peers: [`a=${a.ready.syncAddress}`],
  })
  const prometheus = startPrometheus(folder, ports)
  try {
    TrustList.open(join(folder, 'a.db-node')).add(b.ready.certificatePem, 'b')
    TrustList.open(join(folder, 'b.db-node')).add(a.ready.certificatePem, 'a')
    await lives({ folder, ports, flags, a, b })
  } finally {
    prometheus.kill('SIGKILL')
    await a.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Stage {
  readonly folder: string
  readonly ports: Readonly<Record<'a' | 'b' | 'prometheus', number>>
  readonly flags: (name: 'a' | 'b') => Record<string, string | string[]>
  readonly a: NodeProcess
  readonly b: NodeProcess
}

async function lives({ ports, flags, a, b }: Stage): Promise<void> {
  const atA = new Client(a.ready.url, WRITER)
  const atB = new Client(b.ready.url, WRITER)
  const write = (id: string): Promise<unknown> =>
    atA.post('/v1/shards/s/records', { records: [{ id, embedding: [1, 2] }] })
  await write('first')
  await until('b has the first record', async () => {
    const { body } = await atB.post('/v1/shards/s/count', {})
    return body.count === 1
  })
  const alerts = (): Promise<ReadonlySet<string>> => firing(ports.prometheus)
  await until('no alert fires on two healthy nodes', async () => (await alerts()).size === 0)

  // A dead peer that lacks writes: down, no peer, lag.
  await b.kill()
  await write('second')
  const causes = ['SqliteVectorNodeDown', 'SqliteVectorNoPeer', 'SqliteVectorReplicationLag']
  for (const name of causes) await until(`${name} fires`, async () => (await alerts()).has(name))
  const again = await NodeProcess.start({ ...flags('b'), peers: [`a=${a.ready.syncAddress}`] })
  try {
    for (const name of causes) {
      await until(`${name} clears`, async () => !(await alerts()).has(name))
    }
    // The killed node draws a new actor where it cannot know what its peers have seen.
    const wrong = new Client(a.ready.url, 'a-wrong-key-of-the-tests')
    const trying = new AbortController()
    const tries = knock(wrong, trying.signal)
    await until('SqliteVectorRefusals fires', async () =>
      (await alerts()).has('SqliteVectorRefusals'),
    )
    trying.abort()
    await tries
    await until(
      'SqliteVectorRefusals clears',
      async () => !(await alerts()).has('SqliteVectorRefusals'),
    )
  } finally {
    await again.kill()
  }
}

async function knock(api: Client, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await (await api.raw('/v1/shards')).arrayBuffer()
    await delay(20)
  }
}

function startPrometheus(folder: string, ports: Stage['ports']) {
  const at = join(folder, 'prometheus')
  mkdirSync(at)
  writeFileSync(
    join(at, 'rules.yaml'),
    readFileSync(RULES, 'utf8')
      .replaceAll(/for: \d+[mh]/g, 'for: 1s')
      .replaceAll(/\[\d+m\]/g, '[5s]')
      .replaceAll(/offset 15m/g, 'offset 5s')
      .replaceAll(/_lag_seconds\) > 300/g, '_lag_seconds) > 1'),
  )
  writeFileSync(
    join(at, 'prometheus.yaml'),
    `global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }
rule_files: [rules.yaml]
scrape_configs:
  - job_name: sqlite-vector
    authorization: { credentials: ${WRITER} }
    static_configs: [{ targets: ['127.0.0.1:${ports.a}', '127.0.0.1:${ports.b}'] }]
`,
  )
  execFileSync('promtool', ['check', 'config', join(at, 'prometheus.yaml')], { stdio: 'ignore' })
  return spawn(
    'prometheus',
    [
      `--config.file=${join(at, 'prometheus.yaml')}`,
      `--storage.tsdb.path=${join(at, 'data')}`,
      `--web.listen-address=127.0.0.1:${ports.prometheus}`,
    ],
    { stdio: 'ignore' },
  )
}

/** Names of the alerts that fire now. */
async function firing(port: number): Promise<ReadonlySet<string>> {
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/alerts`)
  const { data } = (await response.json()) as {
    readonly data: {
      readonly alerts: readonly {
        readonly labels: { readonly alertname: string }
        readonly state: string
      }[]
    }
  }
  return new Set(
    data.alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels.alertname),
  )
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const startMs = performance.now()
  let last: unknown = null
  while (performance.now() - startMs < WAIT_MS) {
    try {
      if (await holds()) {
        process.stdout.write(`ok  ${what} (${Math.round(performance.now() - startMs)} ms)\n`)
        return
      }
    } catch (error) {
      last = error
    }
    await delay(250)
  }
  throw new Error(`not within ${WAIT_MS} ms: ${what}; ${String(last)}`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { readonly port: number }
  server.close()
  await once(server, 'close')
  return port
}
