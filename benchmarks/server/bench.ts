/**
 * A node as its users meet it: queries over HTTP while two nodes sync live, the event loop while a new node takes over
 * 100,000 records, and how soon a node is back that was killed under load.
 *
 * Two node processes, wrk, and this one, which also writes, share the machine. The loop's delay is what Node's own
 * monitor sees, sampled every 10 ms: an idle loop shows 10 ms, and that is left in. This process only waits meanwhile:
 * what its loop is late is the machine's doing.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { openIdentity, TrustList } from '@agentic-flow/sqlite-vector/transport'
import { type Bar, bar, type BenchOptions } from '../bar.ts'
import { type Dataset, makeDataset, row } from '../search/data.ts'
import { dataFolder } from '../search/run.ts'
import { load, type LoadReport, requireWrk } from './load.ts'
import { type NodeFlags, ServerHandle } from './node-handle.ts'

export const title =
  'server: queries over HTTP during live sync, a bootstrap, a restart after kill -9'

const SHARD = 'bench'
const QUERY = `/v1/shards/${SHARD}/query`
const LOOP = 'nodejs_eventloop_lag_p99_seconds'

/** Vectors that are searched for, in turn. */
const QUERIES = 64

/** Connections of the load generator. */
const CONNECTIONS = 8

/** Writes per second to each of the two nodes during the load. */
const WRITES_PER_SECOND = 50

interface Scale {
  readonly records: number
  readonly seconds: number
}

export async function bars({ quick, log }: BenchOptions): Promise<readonly Bar[]> {
  requireWrk()
  const scale = quick ? { records: 5_000, seconds: 2 } : { records: 100_000, seconds: 15 }
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-bench-server-'))
  try {
    return await measure(folder, scale, log)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(
  folder: string,
  { records: count, seconds }: Scale,
  log: (line: string) => void,
): Promise<readonly Bar[]> {
  log(`filling one node with ${count} records of 384 dimensions`)
  const data = makeDataset(dataFolder(), count, QUERIES)
  await fill(join(folder, 'a.db'), data)
  introduce(folder)
  const bodies = Array.from({ length: QUERIES }, (_, index) =>
    JSON.stringify({ vector: [...row(data.queries, index)], k: 10 }),
  )

  log('a new node takes over all of them')
  const flags = flagsOf(folder, 'a')
  await using a = await ServerHandle.start(flags)
  await using b = await ServerHandle.start({
    ...flagsOf(folder, 'b'),
    peers: [`a=${a.syncAddress}/${SHARD}`],
  })
  const bootstrap = await bootstrapped(a, b, count)

  log(`queries from ${CONNECTIONS} connections, first alone, then during live sync`)
  await warm(a, bodies)
  const alone = await load(a.url, QUERY, bodies, CONNECTIONS, seconds)
  const live = await during([a, b], count, () => load(a.url, QUERY, bodies, CONNECTIONS, seconds))

  log('killed while it is written to, and started again')
  const restart = await restarted(a, flags)
  return [
    ...bootstrap,
    ...loadBars('alone', alone),
    ...loadBars('during live sync', live.report),
    bar('writes during the load that failed', live.failed, '= 0', 'writes'),
    bar('records that the nodes differ by afterwards', live.apart, '= 0', 'records'),
    bar('p99 during live sync, against alone', live.report.p99Ms / alone.p99Ms, 'none', 'x'),
    ...restart,
  ]
}

async function fill(path: string, { base, count }: Dataset): Promise<void> {
  using db = await createVectorDB({ path })
  db.createShard(SHARD, { dimension: 384 })
  const records = Array.from({ length: count }, (_, index) => ({
    id: `record-${index}`,
    embedding: row(base, index),
    metadata: { source: `document-${index % 97}.md`, page: index % 13 },
  }))
  await db.insertBatch(SHARD, records)
}

function flagsOf(folder: string, nodeId: string): NodeFlags {
  return {
    database: join(folder, `${nodeId}.db`),
    'node-id': nodeId,
    'http-listen': '127.0.0.1:0',
    'sync-listen': '127.0.0.1:0',
    'http-requests-per-minute-max': '0',
  }
}

/** Both nodes pin each other before they start. */
function introduce(folder: string): void {
  const [a, b] = ['a', 'b'].map((nodeId) => join(folder, `${nodeId}.db-node`)) as [string, string]
  const certificates = [
    openIdentity(a, { nodeId: 'a' }).certificatePem,
    openIdentity(b, { nodeId: 'b' }).certificatePem,
  ] as const
  TrustList.open(a).add(certificates[1], 'b')
  TrustList.open(b).add(certificates[0], 'a')
}

async function countOf(node: ServerHandle): Promise<number> {
  const { shards } = await node.ask<{ shards: { shardId: string; recordCount: number }[] }>(
    'GET',
    '/v1/shards',
  )
  return shards.find(({ shardId }) => shardId === SHARD)?.recordCount ?? 0
}

async function bootstrapped(
  a: ServerHandle,
  b: ServerHandle,
  count: number,
): Promise<readonly Bar[]> {
  // Reading the delay begins a new measurement.
  await Promise.all([a.metric(LOOP), b.metric(LOOP), a.held(), b.held()])
  const idle = monitorEventLoopDelay({ resolution: 10 })
  idle.enable()
  const startedMs = performance.now()
  let slowestMs = 0
  for (;;) {
    const askedMs = performance.now()
    const here = await countOf(b)
    slowestMs = Math.max(slowestMs, performance.now() - askedMs)
    if (here >= count) break
    await delay(50)
  }
  const seconds = (performance.now() - startedMs) / 1_000
  idle.disable()
  const [sender, receiver] = await Promise.all([a.metric(LOOP), b.metric(LOOP)])
  const [heldA, heldB] = await Promise.all([a.held(), b.held()])
  return [
    bar(`bootstrap of ${count} records, seen by polling`, count / seconds, 'none', 'records/s'),
    bar('event-loop delay of the receiver during it, p99', receiver * 1_000, '<= 50', 'ms'),
    bar('event-loop delay of the sender during it, p99', sender * 1_000, '<= 50', 'ms'),
    bar('receiver, processor time between two ticks of 10 ms, p99', heldB.p99Ms, '<= 50', 'ms'),
    bar('receiver, the same, longest', heldB.maxMs, 'none', 'ms'),
    bar('sender, processor time between two ticks of 10 ms, p99', heldA.p99Ms, '<= 50', 'ms'),
    bar('sender, the same, longest', heldA.maxMs, 'none', 'ms'),
    bar(
      'event-loop delay of this process, which only waits, p99',
      idle.percentile(99) / 1e6,
      'none',
      'ms',
    ),
    bar('slowest answer of the receiver during it', slowestMs, 'none', 'ms'),
  ]
}

/** Until the index is there: before, a search scans the table. */
async function warm(node: ServerHandle, bodies: readonly string[]): Promise<void> {
  for (;;) {
    const { index } = await node.ask<{ index: { state: string } }>(
      'POST',
      `/v1/shards/${SHARD}/explain`,
      {},
    )
    if (index.state === 'ready') return
    await node.ask('POST', QUERY, JSON.parse(bodies[0] ?? '{}'))
    await delay(100)
  }
}

/** Both nodes are written to while `run` runs; then they must come to hold the same. */
async function during(
  nodes: readonly ServerHandle[],
  before: number,
  run: () => Promise<LoadReport>,
): Promise<{ readonly report: LoadReport; readonly failed: number; readonly apart: number }> {
  const ended = new AbortController()
  const writers = nodes.map((node, index) => write(node, `live-${index}`, ended.signal))
  const report = await run()
  ended.abort()
  const written = await Promise.all(writers)
  const total = before + written.reduce((sum, { done }) => sum + done, 0)
  const deadlineMs = performance.now() + 30_000
  let counts: readonly number[] = []
  do {
    counts = await Promise.all(nodes.map(countOf))
    if (counts.every((count) => count === total)) break
    await delay(50)
  } while (performance.now() < deadlineMs)
  const failed = written.reduce((sum, { failures }) => sum + failures, 0)
  return { report, failed, apart: Math.max(...counts.map((count) => Math.abs(total - count))) }
}

async function write(
  node: ServerHandle,
  prefix: string,
  signal: AbortSignal,
): Promise<{ readonly done: number; readonly failures: number }> {
  let done = 0
  let failures = 0
  while (!signal.aborted) {
    const embedding = Array.from({ length: 384 }, (_, index) => Math.sin(done * 384 + index))
    try {
      await node.ask('POST', `/v1/shards/${SHARD}/records`, {
        records: [{ id: `${prefix}-${done}`, embedding }],
      })
      done += 1
    } catch {
      failures += 1
    }
    await delay(1_000 / WRITES_PER_SECOND)
  }
  return { done, failures }
}

function loadBars(when: string, report: LoadReport): readonly Bar[] {
  return [
    bar(`query ${when}, rate`, report.requestsPerSecond, 'none', 'requests/s'),
    bar(`query ${when}, p50`, report.p50Ms, 'none', 'ms'),
    bar(`query ${when}, p99`, report.p99Ms, 'none', 'ms'),
    bar(`query ${when}, errors`, report.errors, '= 0', 'requests'),
  ]
}

async function restarted(node: ServerHandle, flags: NodeFlags): Promise<readonly Bar[]> {
  const acknowledged: string[] = []
  const embedding = Array.from({ length: 384 }, (_, index) => index + 1)
  const writing = Promise.all(
    Array.from({ length: CONNECTIONS }, async (_, writer) => {
      for (let n = 0; ; n += 1) {
        const id = `killed-${writer}-${n}`
        try {
          await node.ask('POST', `/v1/shards/${SHARD}/records`, { records: [{ id, embedding }] })
        } catch {
          return
        }
        acknowledged.push(id)
      }
    }),
  )
  await delay(1_000)
  await node.kill('SIGKILL')
  await writing
  await using again = await ServerHandle.start(flags)
  const askedMs = performance.now()
  await again.ask('POST', QUERY, { vector: embedding, k: 10 })
  const firstMs = performance.now() - askedMs
  let missing = 0
  for (let from = 0; from < acknowledged.length; from += 1_000) {
    const ids = acknowledged.slice(from, from + 1_000)
    const { records } = await again.ask<{ records: unknown[] }>('POST', `/v1/shards/${SHARD}/get`, {
      ids,
    })
    missing += records.filter((record) => record === null).length
  }
  return [
    bar('from start to ready after kill -9 under load', again.readyMs / 1_000, '<= 2', 's'),
    bar('first query after it', firstMs, 'none', 'ms'),
    bar('writes acknowledged before the kill', acknowledged.length, 'none', 'writes'),
    bar('of them missing afterwards', missing, '= 0', 'writes'),
  ]
}
