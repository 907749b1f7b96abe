/**
 * Metrics: well-formed as promtool sees it, true as the node is asked otherwise, bounded, and all that ops/ names.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { parse } from 'yaml'
import { BoundedLabel } from '../../src/metrics/labels.ts'
import { FeedMarks } from '../../src/metrics/feed-marks.ts'
import { pair, type Pair } from '../helpers/pair.ts'

const OPS = join(import.meta.dirname, '../../../../ops')
const hasPromtool = spawnSync('promtool', ['--version']).status === 0

/** Runs promtool where the rules are. @throws what it says when it finds something */
function promtool(...args: readonly string[]): string {
  return execFileSync('promtool', args, { cwd: OPS, encoding: 'utf8', stdio: 'pipe' })
}

function opsFile(name: string): unknown {
  return parse(readFileSync(join(OPS, name), 'utf8'))
}

let nodes: Pair

beforeAll(async () => {
  nodes = await pair()
  const { a, b } = nodes
  for (const { api } of [a, b]) await api.put('/v1/shards/m', { dimension: 2, metric: 'l2' })
  const records = [1, 2, 3].map((id) => ({ id: `${id}`, embedding: [id, 0] }))
  await a.api.post('/v1/shards/m/records', { records })
  await a.api.delete('/v1/shards/m/records/3')
  await b.api.put('/v1/peers/a', { address: a.node.syncAddress, shards: ['m'] })
  await vi.waitFor(
    async () => {
      const { body } = await b.api.post('/v1/shards/m/count', {})
      expect(body).toEqual({ count: 2 })
    },
    { timeout: 50_000, interval: 50 },
  )
  await b.api.post('/v1/shards/m/query', { vector: [1, 1] })
})

afterAll(() => nodes?.[Symbol.asyncDispose]())

async function metricsOf(which: 'a' | 'b'): Promise<string> {
  return (await nodes[which].api.get('/metrics')).body as string
}

/** The value of a series, null when there is none. */
function value(text: string, series: string): number | null {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `))
  return line === undefined ? null : Number(line.slice(series.length + 1))
}

/** Families of the text, as the HELP lines name them, with what histograms add. */
function families(text: string): ReadonlySet<string> {
  const names = new Set<string>()
  for (const [, name = '', kind] of text.matchAll(/^# TYPE (\S+) (\S+)/gm)) {
    names.add(name)
    if (kind === 'histogram')
      for (const part of ['bucket', 'sum', 'count']) names.add(`${name}_${part}`)
  }
  return names
}

describe('what they say', () => {
  test('records, tombstones and sizes are those of the file', async () => {
    const text = await metricsOf('a')
    const { fileBytes } = nodes.a.node.db.stats()

    expect(value(text, 'sqlite_vector_records{shard="m"}')).toBe(2)
    expect(value(text, 'sqlite_vector_tombstones{shard="m"}')).toBe(1)
    expect(value(text, 'sqlite_vector_database_bytes')).toBe(fileBytes)
    expect(value(text, 'sqlite_vector_wal_bytes')).toBeGreaterThan(0)
  })

  test('what a peer sent was counted as it was committed, by peer and direction', async () => {
    const peer = nodes.a.node.fingerprint.slice(0, 16)
    const text = await metricsOf('b')

    const pulled = value(
      text,
      `sqlite_vector_sync_operations_total{peer="${peer}",direction="pull"}`,
    )
    const bytes = value(text, `sqlite_vector_sync_bytes_total{peer="${peer}",direction="pull"}`)

    // Two records and one delete; a transfer that begins again may bring a batch twice.
    expect(pulled).toBeGreaterThanOrEqual(3)
    expect(bytes).toBeGreaterThan(100)
    expect(value(text, 'sqlite_vector_apply_duration_seconds_count')).toBeGreaterThan(0)
    // Either node may be the one that keeps the shard live: nodes introduce one another.
    const live = async (): Promise<number> => {
      const both = await Promise.all([metricsOf('a'), metricsOf('b')])
      return both.reduce((sum, of) => sum + (value(of, 'sqlite_vector_sync_live_shards') ?? 0), 0)
    }
    await expect.poll(live, { timeout: 50_000 }).toBeGreaterThanOrEqual(1)
    expect(value(text, 'sqlite_vector_peers_connected')).toBe(1)
    expect(value(text, `sqlite_vector_quic_round_trip_seconds{peer="${peer}"}`)).toBeGreaterThan(0)
    expect(value(text, 'sqlite_vector_quic_handshakes_total')).toBeGreaterThan(0)
  })

  test('a peer that has everything is not behind', async () => {
    const peer = nodes.b.node.fingerprint.slice(0, 16)
    const labels = `{peer="${peer}",shard="m"}`

    await expect
      .poll(
        async () =>
          value(await metricsOf('a'), `sqlite_vector_replication_lag_operations${labels}`),
        {
          timeout: 50_000,
        },
      )
      .toBe(0)
    expect(value(await metricsOf('a'), `sqlite_vector_replication_lag_seconds${labels}`)).toBe(0)
  })

  test('a peer that is away is behind by the operations it lacks', async () => {
    await using away = await pair()
    const { a, b } = away
    await a.api.put('/v1/shards/lag', { dimension: 2, metric: 'l2' })
    await b.node.coordinator.sync.sync('lag', a.node.syncAddress ?? '')
    await a.node.coordinator.sync.waitForPeers('lag', { acks: 1 })
    await b.node.close()

    for (const id of ['x', 'y']) {
      await a.api.post('/v1/shards/lag/records', { records: [{ id, embedding: [1, 2] }] })
    }
    const text = (await a.api.get('/metrics')).body as string

    const labels = `{peer="${b.node.fingerprint.slice(0, 16)}",shard="lag"}`
    expect(value(text, `sqlite_vector_replication_lag_operations${labels}`)).toBe(2)
    expect(value(text, `sqlite_vector_replication_lag_seconds${labels}`)).toBeGreaterThan(0)
  })

  test('requests are counted by route and never by path', async () => {
    const text = await metricsOf('b')
    const series =
      'sqlite_vector_http_requests_total{method="POST",route="/v1/shards/:shard/query",status="200"}'

    expect(value(text, series)).toBe(1)
    expect(value(text, 'sqlite_vector_query_duration_seconds_count{kind="vector"}')).toBe(1)
    expect(text).not.toContain('route="/v1/shards/m')
  })
})

describe('how they are made', () => {
  test.skipIf(!hasPromtool)(
    'promtool finds nothing wrong with them (skipped where it is absent)',
    async () => {
      const input = await metricsOf('b')

      expect(execFileSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' })).toBe('')
    },
  )

  test.skipIf(!hasPromtool)(
    'promtool takes the rules, and their tests hold (skipped where it is absent)',
    () => {
      expect(promtool('check', 'rules', 'alerts.yaml')).toContain('SUCCESS')
      expect(promtool('test', 'rules', 'alerts.test.yaml')).toContain('SUCCESS')
    },
  )

  test('every metric that the rules, their tests and the board name exists', async () => {
    const known = families(await metricsOf('b'))
    const texts = ['alerts.yaml', 'alerts.test.yaml', 'grafana-board.json'].map((file) =>
      readFileSync(join(OPS, file), 'utf8'),
    )
    const named = new Set(
      texts.flatMap((text) => text.match(/\b(sqlite_vector|nodejs|process)_[a-z0-9_]+/g) ?? []),
    )

    expect(named.size).toBeGreaterThan(20)
    expect([...named].filter((name) => !known.has(name))).toEqual([])
  })

  test('every alert has a test that it fires', () => {
    const rules = opsFile('alerts.yaml') as { groups: { rules: { alert: string }[] }[] }
    const tests = opsFile('alerts.test.yaml') as {
      tests: { alert_rule_test: { alertname: string; exp_alerts?: unknown[] }[] }[]
    }
    const fired = new Set(
      tests.tests.flatMap(({ alert_rule_test: cases }) =>
        cases
          .filter(({ exp_alerts: expected = [] }) => expected.length > 0)
          .map(({ alertname }) => alertname),
      ),
    )

    const alerts = rules.groups.flatMap((group) => group.rules.map(({ alert }) => alert))
    expect(alerts.length).toBeGreaterThan(5)
    expect(alerts.filter((alert) => !fired.has(alert))).toEqual([])
  })

  test('docs/reference/metrics.md lists every metric of the node, and no other', async () => {
    const page = readFileSync(join(OPS, '../docs/reference/metrics.md'), 'utf8')
    const text = await metricsOf('b')
    const own = [...text.matchAll(/^# TYPE (sqlite_vector_\S+)/gm)].map(([, name]) => name)
    const listed = [...page.matchAll(/^\| `(sqlite_vector_[a-z0-9_]+)`/gm)].map(([, name]) => name)

    expect(new Set(listed)).toEqual(new Set(own))
    expect(listed).toHaveLength(own.length)
  })
})

describe('labels', () => {
  test('beyond their bound, values are one', () => {
    const label = new BoundedLabel(2)

    expect(['a', 'b', 'c', 'a', 'd'].map((name) => label.of(name))).toEqual([
      'a',
      'b',
      'other',
      'a',
      'other',
    ])
  })
})

describe('marks of a feed', () => {
  test('a reader that has everything is not behind; one that lacks something is as old as that', () => {
    const marks = new FeedMarks()
    marks.passed(5, 1_000)
    marks.passed(9, 3_000)

    expect(marks.ageMs(9, 9, 10_000)).toBe(0)
    expect(marks.ageMs(5, 9, 10_000)).toBe(7_000)
    expect(marks.ageMs(4, 9, 10_000)).toBe(9_000)
    expect(marks.ageMs(0, 9, 10_000)).toBe(9_000)
  })

  test('however many commits there are, marks are bounded and the age is never too small', () => {
    const marks = new FeedMarks()
    for (let head = 1; head <= 10_000; head += 1) marks.passed(head, head * 1_000)

    for (const cursor of [0, 1, 100, 5_000, 9_998]) {
      const trueAge = 10_000_000 - (cursor + 1) * 1_000
      expect(marks.ageMs(cursor, 10_000, 10_000_000)).toBeGreaterThanOrEqual(trueAge)
    }
    expect(marks.ageMs(0, 10_000, 10_000_000)).toBe(9_999_000)
  })
})
