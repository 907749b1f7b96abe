/**
 * Events of sync as metrics: what each adds, that sums are never counted twice, and which labels result.
 */
import { beforeEach, expect, test } from 'vitest'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector'
import { Metrics } from '../../src/metrics/metrics.ts'

const PEER = 'ab'.repeat(32)
const LABEL = PEER.slice(0, 16)

let metrics: Metrics

beforeEach(() => {
  metrics = new Metrics('test')
})

async function value(series: string): Promise<number | null> {
  const line = (await metrics.text()).split('\n').find((text) => text.startsWith(`${series} `))
  return line === undefined ? null : Number(line.slice(series.length + 1))
}

/** The gauge of shards whose rows differ. */
function divergent(): Promise<number | null> {
  return value('sqlite_vector_divergent_shards')
}

test('sessions tell sums; each change is counted once, also when the next session begins anew', async () => {
  const session = { shardId: 's', peer: PEER, direction: 'pull' } as const

  for (const changes of [10, 25, 25])
    metrics.sync.onEvent({ type: 'progress', ...session, changes })
  metrics.sync.onEvent({ type: 'session-ended', ...session, changes: 30, error: null })
  metrics.sync.onEvent({ type: 'progress', ...session, changes: 7 })

  const series = `sqlite_vector_sync_operations_total{peer="${LABEL}",direction="pull"}`
  expect(await value(series)).toBe(37)
  expect(await value('sqlite_vector_sync_sessions_total{direction="pull",result="ok"}')).toBe(1)
})

test('a session that failed is counted by its code', async () => {
  const error = new SqliteVectorError('TRANSPORT_CLOSED', 'gone')
  const ended = { shardId: 's', peer: PEER, direction: 'push', changes: 0 } as const

  metrics.sync.onEvent({ type: 'session-ended', ...ended, error })
  metrics.sync.onEvent({ type: 'session-ended', ...ended, error: new Error('a bug') })

  const sessions = 'sqlite_vector_sync_sessions_total{direction="push",result='
  expect(await value(`${sessions}"TRANSPORT_CLOSED"}`)).toBe(1)
  expect(await value(`${sessions}"fault"}`)).toBe(1)
})

test('a shard is divergent from the comparison that failed until one that holds', async () => {
  const session = { type: 'session-ended', shardId: 's', peer: PEER, changes: 0 } as const
  const error = new SqliteVectorError('SYNC_DIVERGED', 'rows differ')

  metrics.sync.onEvent({ ...session, direction: 'pull', error })
  const afterFailure = await divergent()
  metrics.sync.onEvent({ ...session, direction: 'push', error: null })
  const afterPush = await divergent()
  metrics.sync.onEvent({ ...session, direction: 'pull', error: null })

  expect([afterFailure, afterPush, await divergent()]).toEqual([1, 1, 0])
})

test('conflicts, quarantine, repairs, strangers and skew are counted where they happen', async () => {
  const where = { shardId: 's', peer: PEER }

  metrics.sync.onEvent({ type: 'conflict', ...where, conflicts: 3 })
  metrics.sync.onEvent({ type: 'quarantine', ...where, quarantined: 2 })
  metrics.sync.onEvent({ type: 'repair', ...where, diverged: true, dropped: 0, repaired: 1 })
  metrics.sync.onEvent({ type: 'repair', ...where, diverged: false, dropped: 5, repaired: 0 })
  metrics.sync.onEvent({ type: 'collected', shardId: 's', count: 11 })
  metrics.sync.onEvent({ type: 'peer-refused', address: 'x:1', fingerprint: null, reason: 'who' })
  metrics.sync.onEvent({ type: 'skew', ...where, skewMs: 90_000 })

  expect(await value('sqlite_vector_conflicts_total{shard="s"}')).toBe(3)
  expect(await value('sqlite_vector_quarantined_total{shard="s"}')).toBe(2)
  expect(await value('sqlite_vector_divergences_total{shard="s"}')).toBe(1)
  expect(await value('sqlite_vector_tombstones_collected_total{shard="s"}')).toBe(11)
  expect(await value('sqlite_vector_peers_refused_total')).toBe(1)
  expect(await value(`sqlite_vector_clock_skew_seconds{peer="${LABEL}"}`)).toBe(90)
})

test('a failure of live sync is counted by its code', async () => {
  const error = new SqliteVectorError('TRANSPORT_DIAL_FAILED', 'nobody there')

  metrics.sync.onEvent({ type: 'error', shardId: 's', address: 'x:1', error, willRetry: true })

  expect(await value('sqlite_vector_sync_errors_total{code="TRANSPORT_DIAL_FAILED"}')).toBe(1)
})

test('a new writing identity is counted by its reason', async () => {
  const identity = { actor: 'a'.repeat(32), logId: 'b'.repeat(32) }

  metrics.store.onEvent({ type: 'identity-renewed', reason: 'file-replaced', identity })

  expect(await value('sqlite_vector_identity_renewals_total{reason="file-replaced"}')).toBe(1)
})
