/**
 * What goes over the wire: a capture of the port during a sync shows QUIC version 1 and no TCP.
 *
 * Needs tshark and the right to capture on the loopback interface; where either is missing, the test
 * says that it was skipped. docs/explanation/testing.md says how to look by hand.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createVectorSync } from '@agentic-flow/sqlite-vector/sync'
import { expect, test } from 'vitest'
import { testRecord } from './helpers/records.ts'

const SHARD = 'captured'
const QUIC_VERSION_1 = '0x00000001'
const IP_PROTOCOL_UDP = '17'

/** The loopback interface as tshark names it, or null when nothing can be captured here. */
function loopback(): string | null {
  const listed = spawnSync('tshark', ['-D'], { encoding: 'utf8' })
  if (listed.status !== 0) return null
  const name = /^\d+\. (lo0?)\b/m.exec(listed.stdout)?.[1]
  if (name === undefined) return null
  const tried = spawnSync('tshark', ['-i', name, '-a', 'duration:0', '-c', '1'], {
    timeout: 10_000,
  })
  return tried.status === 0 ? name : null
}

const lo = loopback()
if (lo === null) process.stderr.write('skipped: tshark cannot capture on the loopback here\n')

interface Capture {
  /** Ends once the file holds at least `bytes`. */
  stop(bytes: number): Promise<void>
}

/** Captures everything of `port`, UDP and TCP alike, into `path`. */
async function startCapture(port: string, path: string): Promise<Capture> {
  const dumpcap = spawn('tshark', ['-i', lo ?? '', '-f', `port ${port}`, '-w', path], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const deadline = AbortSignal.timeout(10_000)
  // The file appears once the interface is open and the filter is set.
  while (!existsSync(path) || statSync(path).size === 0) await pause(20, null, { signal: deadline })
  return {
    async stop(bytes) {
      const enough = AbortSignal.timeout(10_000)
      while (statSync(path).size < bytes) await pause(20, null, { signal: enough })
      dumpcap.kill('SIGINT')
      await once(dumpcap, 'exit')
    },
  }
}

/** IP protocol and QUIC version of every captured packet that is no ICMP message. */
function packetsOf(path: string, port: string): readonly (readonly [string, string])[] {
  const fields = ['-T', 'fields', '-e', 'ip.proto', '-e', 'quic.version']
  const printed = execFileSync(
    'tshark',
    ['-r', path, '-d', `udp.port==${port},quic`, ...fields, '-E', 'occurrence=f'],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 64 * 1_048_576 },
  )
  return printed
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [protocol = '', version = ''] = line.split('\t')
      return [protocol, version] as const
    })
}

test.skipIf(lo === null)(
  'a sync is QUIC version 1 over UDP, and no packet of its port is TCP',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-capture-'))
    try {
      using a = await createVectorDB({ path: join(folder, 'a.db') })
      using b = await createVectorDB({ path: join(folder, 'b.db') })
      a.createShard(SHARD, { dimension: 384 })
      await a.insertBatch(
        SHARD,
        Array.from({ length: 200 }, (_, index) => testRecord(index, 384)),
      )
      await using syncA = createVectorSync(a, 'a', {})
      await using syncB = createVectorSync(b, 'b', {})
      syncA.trust.add(syncB.certificatePem, 'b')
      syncB.trust.add(syncA.certificatePem, 'a')
      const address = await syncA.listen('127.0.0.1:0')
      const port = address.slice(address.lastIndexOf(':') + 1)
      const path = join(folder, 'sync.pcapng')
      const capture = await startCapture(port, path)

      const result = await syncB.sync(SHARD, address)
      await capture.stop(200 * 384 * 4)

      const packets = packetsOf(path, port)
      const versions = new Set(packets.map(([, version]) => version).filter((v) => v !== ''))
      expect(result.applied).toBe(200)
      expect(new Set(packets.map(([protocol]) => protocol))).toEqual(new Set([IP_PROTOCOL_UDP]))
      expect(versions).toEqual(new Set([QUIC_VERSION_1]))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
  120_000,
)
