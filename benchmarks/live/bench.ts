/**
 * Live sync between processes: latency, sustained rate, many shards, an idle check, a peer that freezes.
 *
 * Every figure is counted by the processes themselves; times are the machine's monotonic clock, which all
 * processes share. The machine, its disk and both processes are one: nothing here says anything about a network.
 * `--minutes N` makes the flood last that long, and the freeze up to a minute; `LIVE_PARTS` chooses parts.
 */
import { bar, type Bar, type BenchOptions } from '../bar.ts'
import { coordinatorFigures } from './coordinator.ts'
import { agree, Fleet, quantile, until } from './fleet.ts'
import type { LiveRequests } from './messages.ts'

export const title = 'live sync: commit here, visible there; two processes, QUIC on loopback'

const DIMENSION = 384
const SHARD = 'live'

/** There are records for this long at 100 a second. */
const FREEZE_SECONDS_MAX = 60

type Usage = LiveRequests['usage']['answer']

type Part = (options: BenchOptions) => Promise<readonly Bar[]>

/** The parts in their order; `LIVE_PARTS=latency,flood` runs some of them. */
const PARTS: Readonly<Record<string, Part>> = {
  latency,
  flood,
  idle: idleCheck,
  shards: manyShards,
  frozen: frozenPeer,
  coordinator,
}

export async function bars(options: BenchOptions): Promise<readonly Bar[]> {
  const wanted = process.env['LIVE_PARTS']?.split(',') ?? Object.keys(PARTS)
  const measured: Bar[] = []
  for (const name of wanted) {
    const part = PARTS[name]
    if (part === undefined) throw new RangeError(`LIVE_PARTS: no part ${name}`)
    measured.push(...(await part(options)))
  }
  return measured
}

async function livePair(options: {
  readonly shards?: readonly string[]
  readonly count?: number
  readonly syncIntervalMs?: number
}): Promise<Fleet> {
  const { shards = [SHARD], count = 2, syncIntervalMs = 60_000 } = options
  const fleet = await Fleet.start(count, { config: { syncIntervalMs } })
  const writer = fleet.get(0)
  await writer.handle.call('createShards', { shardIds: shards, dimension: DIMENSION })
  for (const reader of fleet.members.slice(1)) {
    for (const shardId of shards) {
      await reader.handle.call('autoSync', { shardId, address: writer.address })
    }
    await whenLive(reader.handle, shards.length)
  }
  return fleet
}

async function whenLive(handle: Fleet['members'][number]['handle'], count: number): Promise<void> {
  await until(
    async () => {
      const all = await handle.call('autoSyncs', {})
      return all.filter(({ status }) => status === 'live').length === count
    },
    `${count} shards live`,
    120_000,
    count > 10 ? 100 : 10,
  )
}

/** Milliseconds from commit to found by a search, of every record. */
async function latencies(
  fleet: Fleet,
  readerIndex: number,
  count: number,
  perSecond: number,
): Promise<number[]> {
  const writer = fleet.get(0).handle
  const reader = fleet.get(readerIndex).handle
  await reader.call('watchSearch', { shardId: SHARD, dimension: DIMENSION, k: 10 })
  const from = (await writer.call('state', { shardId: SHARD }))?.records ?? 0
  const committed = await writer.call('writeSteadily', {
    shardId: SHARD,
    dimension: DIMENSION,
    from,
    count,
    perSecond,
  })
  await until(
    async () => (await reader.call('state', { shardId: SHARD }))?.records === from + count,
    'all are there',
  )
  const found = new Map(await reader.call('found', {}))
  return committed.map((atNs, index) => {
    const foundNs = found.get(`near-${from + index}`)
    if (foundNs === undefined) throw new Error(`record ${from + index} was never found by a search`)
    return Number(foundNs - atNs) / 1e6
  })
}

async function latency({ quick, log }: BenchOptions): Promise<readonly Bar[]> {
  log('commit to search')
  await using fleet = await livePair({})
  await latencies(fleet, 1, 100, 100)
  const values = await latencies(fleet, 1, quick ? 200 : 2_000, 100)
  return [
    bar('commit to found by search, 384-d, 100 writes/s, p50', quantile(values, 0.5), '<= 2', 'ms'),
    bar(
      'commit to found by search, 384-d, 100 writes/s, p99',
      quantile(values, 0.99),
      '<= 10',
      'ms',
    ),
  ]
}

/** What the writer offers: more than is asked for, and less than it could write with no peer to serve. */
const OFFERED_PER_SECOND = 9_000

/** Ids that the flood writes over and over, and how long it takes at the offered rate until all are there. */
const FLOOD_IDS = Number(process.env['FLOOD_IDS'] ?? 20_000)
const FLOOD_FILL_MS = Math.ceil((FLOOD_IDS / OFFERED_PER_SECOND) * 1_200) + 1_000

async function flood({ quick, minutes, log }: BenchOptions): Promise<readonly Bar[]> {
  const seconds = minutes === null ? (quick ? 3 : 20) : minutes * 60
  log(`flood for ${seconds} s`)
  await using fleet = await livePair({})
  const [writer, reader] = [fleet.get(0).handle, fleet.get(1).handle]
  const part = (durationMs: number): Promise<{ written: number }> =>
    writer.call('flood', {
      shardId: SHARD,
      dimension: DIMENSION,
      batch: 500,
      durationMs,
      idPrefix: 'f',
      idCount: FLOOD_IDS,
      perSecond: OFFERED_PER_SECOND,
    })
  // Filled, the shard has all its records; after that memory must stay where it is.
  await part(quick ? 1_500 : FLOOD_FILL_MS)
  await until(async () => agree(await fleet.states(SHARD)), 'both agree', 120_000)
  const before = await memory(fleet)
  const received = (await reader.call('usage', {})).received
  const startedMs = performance.now()
  const first = await part(seconds * 500)
  const halfway = await memory(fleet)
  const second = await part(seconds * 500)
  await until(async () => agree(await fleet.states(SHARD)), 'both agree', 120_000)
  const elapsedS = (performance.now() - startedMs) / 1_000
  const after = await memory(fleet)
  const written = first.written + second.written
  const arrived = (await reader.call('usage', {})).received - received
  log(`  written ${written}, arrived as ${arrived} changes in ${elapsedS.toFixed(1)} s`)
  const offered = `of ${OFFERED_PER_SECOND} offered, 384-d`
  return [
    bar(
      `sustained: changes per second that the other received, ${offered}`,
      arrived / elapsedS,
      '>= 8000',
      '1/s',
    ),
    bar(
      `sustained: records per second committed here and covered there, ${offered}`,
      written / elapsedS,
      'none',
      '1/s',
    ),
    ...growths('writer', before[0], halfway[0], after[0]),
    ...growths('reader', before[1], halfway[1], after[1]),
  ]
}

function growths(node: string, before = NaN, halfway = NaN, after = NaN): Bar[] {
  const name = `sustained: growth of the ${node}’s memory`
  return [
    bar(`${name} after the shard was full`, after - before, 'none', 'MiB'),
    bar(`${name}, of it in the second half`, after - halfway, 'none', 'MiB'),
  ]
}

/** Resident mebibytes of each node after a collection. */
async function memory(fleet: Fleet): Promise<number[]> {
  return (await usages(fleet.members)).map(({ rssBytes }) => rssBytes / 2 ** 20)
}

/** Of the writer alone: a frozen node does not answer. */
async function writerMemory(fleet: Fleet): Promise<number> {
  const [usage] = await usages(fleet.members.slice(0, 1))
  return (usage?.rssBytes ?? Number.NaN) / 2 ** 20
}

/** What each node uses, after a collection. */
async function usages(members: Fleet['members']): Promise<Usage[]> {
  return Promise.all(
    members.map(async ({ handle }) => {
      await handle.call('collect', {})
      return handle.call('usage', {})
    }),
  )
}

async function idleCheck({ log }: BenchOptions): Promise<readonly Bar[]> {
  log('idle check')
  const totals: number[] = []
  for (const syncIntervalMs of [200, 60_000]) {
    await using fleet = await livePair({ syncIntervalMs })
    const { handle } = fleet.get(0)
    await until(async () => agree(await fleet.states(SHARD)), 'both agree')
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    const before = await handle.call('usage', {})
    await new Promise((resolve) => setTimeout(resolve, 6_000))
    const after = await handle.call('usage', {})
    totals.push(
      after.wireBytesSent +
        after.wireBytesReceived -
        before.wireBytesSent -
        before.wireBytesReceived,
    )
  }
  const [checking, silent] = totals
  // Thirty checks in six seconds, each of both directions; what an idle connection sends anyway does not count.
  const perCheck = ((checking ?? NaN) - (silent ?? NaN)) / 30
  return [
    bar(
      'full check of a shard in sync, said and answered, UDP payload',
      perCheck,
      '<= 300',
      'bytes',
    ),
  ]
}

async function manyShards({ quick, log }: BenchOptions): Promise<readonly Bar[]> {
  const count = quick ? 100 : 1_000
  log(`${count} shards over one connection`)
  const shards = Array.from({ length: count }, (_, index) => `shard-${index}`)
  await using fleet = await Fleet.start(2)
  const [writer, reader] = [fleet.get(0), fleet.get(1)]
  await writer.handle.call('createShards', { shardIds: shards, dimension: DIMENSION })
  const before = await usages(fleet.members)
  const startedMs = performance.now()
  for (const shardId of shards) {
    await reader.handle.call('autoSync', { shardId, address: writer.address })
  }
  await whenLive(reader.handle, count)
  const elapsedMs = performance.now() - startedMs
  const after = await usages(fleet.members)
  const { connections } = await reader.handle.call('usage', {})
  const perShard = (node: number, what: 'rssBytes' | 'heapBytes'): number =>
    ((after[node]?.[what] ?? NaN) - (before[node]?.[what] ?? NaN)) / 1_024 / count
  const memoryBar = (name: string, value: number): Bar =>
    bar(`${count} shards: memory per idle live shard, ${name}`, value, 'none', 'KiB')
  return [
    bar(`${count} shards: connections`, connections, '= 1', ''),
    bar(`${count} shards: first sync until all are live`, elapsedMs, 'none', 'ms'),
    memoryBar('serving node, heap', perShard(0, 'heapBytes')),
    memoryBar('serving node, resident', perShard(0, 'rssBytes')),
    memoryBar('asking node, heap', perShard(1, 'heapBytes')),
    memoryBar('asking node, resident', perShard(1, 'rssBytes')),
  ]
}

async function frozenPeer({ quick, minutes, log }: BenchOptions): Promise<readonly Bar[]> {
  const seconds = minutes === null ? (quick ? 2 : 8) : Math.min(FREEZE_SECONDS_MAX, minutes * 60)
  log(`a peer frozen for ${seconds} s`)
  await using fleet = await livePair({ count: 3 })
  await latencies(fleet, 1, 100, 100)
  const calm = await latencies(fleet, 1, seconds * 100, 100)
  const before = await writerMemory(fleet)
  fleet.get(2).handle.freeze()
  const frozen = await latencies(fleet, 1, seconds * 100, 100)
  const after = await writerMemory(fleet)
  fleet.get(2).handle.wake()
  const caughtUpMs = await until(
    async () => agree(await fleet.states(SHARD)),
    'the frozen peer catches up',
    120_000,
  )
  return [
    bar(
      'a third peer frozen: p50 of the other’s latency against before',
      quantile(frozen, 0.5) / quantile(calm, 0.5),
      '<= 1.5',
      'x',
    ),
    bar('a third peer frozen: growth of the writer’s memory', after - before, 'none', 'MiB'),
    bar('the frozen peer goes on: time until it has all', caughtUpMs, 'none', 'ms'),
  ]
}

/** What a coordinator costs before any network: peers, tasks, and restoring what a file remembers. */
async function coordinator({ log }: BenchOptions): Promise<readonly Bar[]> {
  log('coordinator bookkeeping')
  const figures = await coordinatorFigures(DIMENSION)
  return [
    bar('100 peers registered, median of 20', figures.registerMs, '<= 1', 'ms'),
    bar('1,000 tasks scheduled, median of 20', figures.scheduleMs, '<= 2', 'ms'),
    bar(
      'session of 100 shards x 10 peers restored, median of 20',
      figures.restoreMs,
      '<= 20',
      'ms',
    ),
  ]
}
