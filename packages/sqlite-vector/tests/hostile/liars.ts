/**
 * A simulator of liars: random well-formed frames with false claims, from a peer that may only read and from one that may
 * write to one shard, over real sessions of a real node, beside an honest peer. Not here: the command line (liars-main.ts).
 *
 * Checked: the reader changes nothing, the writer changes nothing but the shard that it may write, memory, file, vectors
 * and the delay of the event loop stay bounded, and the honest peer goes on. A seed decides every frame.
 */
import { statSync } from 'node:fs'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises'
import { SqliteVectorError } from '../../src/errors.ts'
import { VERSION_VECTOR_ACTORS_MAX } from '../../src/limits.ts'
import { Permissions } from '../../src/sync/index.ts'
import { encodeFrame, type ControlFrame } from '../../src/sync/wire/control-frames.ts'
import type { VersionVector } from '../../src/model/types.ts'
import type { Channel, Connection } from '../../src/transport/types.ts'
import { type LiveNode, LiveNodes, SHARD, until, whenLive } from '../live/live-nodes.ts'
import { Random } from '../simulation/random.ts'
import { batch, caughtUp, forged, hello, LIAR_LOG, records, subscribe } from './raw-peer.ts'

/** The shard that a writing liar may write. */
export const OPEN_SHARD = 'open'

/** The shard that the honest peer and the node write to meanwhile. */
const HONEST_SHARD = 'honest'

const FRAMES_PER_CHANNEL = 64
const CHANNELS_AT_ONCE = 8
const RECORDS = 200

export interface LiarsOptions {
  readonly access: 'read' | 'write'
  readonly frames: number
  readonly seed: number
}

export interface LiarsResult {
  readonly frames: number
  readonly channels: number
  readonly seconds: number
  /** What differs that must not; empty when all is well. */
  readonly violations: readonly string[]
  readonly rssGrowthMb: number
  readonly fileGrowthMb: number
  readonly vectorActors: number
  readonly loopDelayP99Ms: number
  readonly loopDelayMaxMs: number
  readonly honestP99Ms: number
  readonly honestBeforeP99Ms: number
  readonly faults: number
}

/** Runs one liar until it has sent `frames` frames. */
export async function runLiars({ access, frames, seed }: LiarsOptions): Promise<LiarsResult> {
  const permissions = Permissions.inMemory()
  await using nodes = new LiveNodes('memory')
  const a = await nodes.add({ permissions })
  const honest = await nodes.add()
  for (const shardId of [SHARD, OPEN_SHARD, HONEST_SHARD]) {
    a.db.createShard(shardId, { dimension: 1, metric: 'l2' })
  }
  for (const shardId of [SHARD, OPEN_SHARD]) {
    for (let n = 0; n < RECORDS; n += 1) a.db.insert(shardId, { id: `r${n}`, embedding: [n + 1] })
  }
  honest.sync.startAutoSync(HONEST_SHARD, a.address)
  honest.sync.startAutoSync(SHARD, a.address)
  await whenLive(honest, a, HONEST_SHARD)
  await whenLive(honest, a, SHARD)
  const raw = nodes.impostorOf(9)
  const { fingerprint } = raw.identity
  permissions.grant(fingerprint, HONEST_SHARD, 'none')
  permissions.grant(fingerprint, SHARD, 'read')
  permissions.grant(fingerprint, OPEN_SHARD, access)
  const liar = new Liar(await raw.dial(a.address), a, new Random(seed), access)
  const honestBefore = await honestLatencies(a, honest, 60, () => false)
  const before = stateOf(a, SHARD)
  const openBefore = stateOf(a, OPEN_SHARD)
  globalThis.gc?.()
  const rss = process.memoryUsage().rss
  const file = fileBytes(nodes)
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const startedMs = performance.now()

  let isOver = false
  const latencies = honestLatencies(a, honest, Infinity, () => isOver)
  let rssMax = rss
  await liar.send(frames, () => {
    rssMax = Math.max(rssMax, process.memoryUsage().rss)
  })
  isOver = true
  const during = await latencies
  delay.disable()

  const violations = [
    ...differences(SHARD, before, stateOf(a, SHARD)),
    ...(access === 'read' ? differences(OPEN_SHARD, openBefore, stateOf(a, OPEN_SHARD)) : []),
  ]
  for (const { shardId, versionVector, uncovered } of a.db.replica.shardStates()) {
    if (
      versionVector.size > VERSION_VECTOR_ACTORS_MAX ||
      uncovered.size > VERSION_VECTOR_ACTORS_MAX
    )
      violations.push(`${shardId}: a vector beyond its bound`)
  }
  a.db.insert(SHARD, { id: 'after', embedding: [1] })
  await until(() => honest.db.get(SHARD, 'after') !== null, 'the honest peer goes on', 20_000)
  const result: LiarsResult = {
    frames: liar.frames,
    channels: liar.channels,
    seconds: (performance.now() - startedMs) / 1_000,
    violations,
    rssGrowthMb: (rssMax - rss) / 1e6,
    fileGrowthMb: (fileBytes(nodes) - file) / 1e6,
    vectorActors: a.db.replica.shardState(OPEN_SHARD).versionVector.size,
    loopDelayP99Ms: delay.percentile(99) / 1e6,
    loopDelayMaxMs: delay.max / 1e6,
    honestP99Ms: percentile(during, 0.99),
    honestBeforeP99Ms: percentile(honestBefore, 0.99),
    faults: a.events.filter(({ type, ...event }) => type === 'error' && isFault(event)).length,
  }
  await raw.close()
  return result
}

/** Sends frames over many channels, a bounded number at a time. */
class Liar {
  readonly #connection: Connection
  readonly #node: LiveNode
  readonly #random: Random
  readonly #access: 'read' | 'write'
  frames = 0
  channels = 0
  #actors = 0

  constructor(connection: Connection, node: LiveNode, random: Random, access: 'read' | 'write') {
    this.#connection = connection
    this.#node = node
    this.#random = random
    this.#access = access
  }

  async send(frames: number, look: () => void): Promise<void> {
    const lanes = Array.from({ length: CHANNELS_AT_ONCE }, async () => {
      while (this.frames < frames) {
        await this.#lie()
        look()
        await nextTurn()
      }
    })
    await Promise.all(lanes)
  }

  /** One channel: as a subscriber, as a sender that invites, or with frames that fit no role. */
  async #lie(): Promise<void> {
    const channel = await this.#connection.openChannel()
    this.channels += 1
    const role = this.#random.pick(['puller', 'puller', 'sender', 'sender', 'none'] as const)
    const reading = drain(channel)
    try {
      await this.#begin(channel, role)
      for (let n = 0; n < FRAMES_PER_CHANNEL; n += 1) {
        await this.#put(
          channel,
          this.#random.chance(0.9) ? this.#frameOf(role) : this.#frameOf('none'),
        )
        if (this.#random.chance(0.3)) await nextTurn()
      }
    } catch (error) {
      if (!(error instanceof SqliteVectorError)) throw error
    } finally {
      channel.abort('enough')
      await reading
    }
  }

  async #begin(channel: Channel, role: 'puller' | 'sender' | 'none'): Promise<void> {
    const shardId = this.#shardId()
    if (role === 'sender')
      await this.#put(channel, { type: 'invite', shardId, live: this.#random.chance(0.5) })
    if (role !== 'puller') return
    await this.#put(channel, hello(this.#actor(), this.#random.pick(['liar', 'n0', 'n1'])))
    await this.#put(
      channel,
      subscribe({
        shardId,
        cursor: this.#counter(),
        logId: this.#random.pick([null, LIAR_LOG, this.#node.db.replica.identity().logId]),
        versionVector: this.#vector(),
        uncovered: this.#vector(),
        live: this.#random.chance(0.5),
      }),
    )
  }

  async #put(channel: Channel, frame: ControlFrame | Uint8Array): Promise<void> {
    this.frames += 1
    await channel.send(frame instanceof Uint8Array ? frame : encodeFrame(frame))
  }

  #frameOf(role: 'puller' | 'sender' | 'none'): ControlFrame | Uint8Array {
    const random = this.#random
    const shard = { dimension: 1, metric: 'l2', modelId: null } as const
    const versionVector = this.#vector()
    const cursor = this.#counter()
    const asPuller: (() => ControlFrame | Uint8Array)[] = [
      () => ({ type: 'holds', versionVector, sources: [this.#actor(), this.#actor()] }),
      () => ({ type: 'holds', versionVector }),
      () => ({ type: 'ack', cursor: random.pick([cursor, RECORDS]), versionVector: null }),
      () => ({ type: 'ack', cursor: random.pick([cursor, RECORDS]), versionVector }),
      () => ({ type: 'need', ids: [`r${random.below(RECORDS)}`, 'none', `r${random.below(9)}`] }),
      () => ({
        type: 'compare',
        ranges: [{ from: '', to: random.pick([null, 'r5']) }],
        payloads: random.chance(0.2),
      }),
    ]
    const asSender: (() => ControlFrame | Uint8Array)[] = [
      () => ({
        type: 'welcome',
        nodeId: 'n0',
        actor: this.#actor(),
        logId: LIAR_LOG,
        shard,
        cursor: random.pick([0, 0, cursor]),
      }),
      () =>
        caughtUp(random.pick([1, 9, cursor]), versionVector, {
          gcFloor: random.pick([new Map(), this.#vector()]),
          uncovered: this.#vector(),
          digest: random.pick([null, '00'.repeat(8)]),
        }),
      () => ({ type: 'push', versionVector }),
      () => ({ type: 'ranges', answers: [{ type: 'list', records: [] }] }),
      () => records([]),
      () => batch(1 + random.below(50), [this.#change()]),
    ]
    const others: (() => ControlFrame | Uint8Array)[] = [
      ...asPuller,
      ...asSender,
      () => ({ type: 'done' }),
      () => ({ type: 'ping', nonce: random.below(9) }),
      () => ({ type: 'error', code: 'SYNC_DIVERGED', message: 'a lie' }),
      () => hello(this.#actor(), 'n0'),
    ]
    const make = random.pick(role === 'puller' ? asPuller : role === 'sender' ? asSender : others)
    return make()
  }

  #change(): ReturnType<typeof forged> {
    const id = this.#random.pick([`r${this.#random.below(RECORDS)}`, `f${this.#random.below(500)}`])
    return forged(id, this.#actor(), Math.max(1, this.#counter()))
  }

  #shardId(): string {
    // A writer lies about the shard that it may write, most of the time.
    const own = this.#access === 'write' && this.#random.chance(0.7)
    return own ? OPEN_SHARD : this.#random.pick([SHARD, OPEN_SHARD, HONEST_SHARD, 'absent'])
  }

  #actor(): string {
    if (this.#random.chance(0.4)) return this.#node.db.replica.identity().actor
    if (this.#random.chance(0.6)) return 'ab'.repeat(16)
    this.#actors += 1
    return this.#actors.toString(16).padStart(32, '0')
  }

  #counter(): number {
    return this.#random.pick([0, 1, 2, 9, RECORDS, RECORDS + 1, 2 ** 31, Number.MAX_SAFE_INTEGER])
  }

  #vector(): VersionVector {
    const size = this.#random.pick([0, 1, 2, 3, 30])
    return new Map(
      Array.from({ length: size }, () => [this.#actor(), Math.max(1, this.#counter())]),
    )
  }
}

/** Reads what the node sends until the channel ends, so that no window fills up. */
async function drain(channel: Channel): Promise<void> {
  try {
    while ((await channel.receive()) !== null);
  } catch (error) {
    if (!(error instanceof SqliteVectorError)) throw error
  }
}

/** Times until the honest peer shows a write of the node, one write after the other. */
async function honestLatencies(
  from: LiveNode,
  to: LiveNode,
  count: number,
  isOver: () => boolean,
): Promise<readonly number[]> {
  const times: number[] = []
  for (let n = 0; n < count && !isOver(); n += 1) {
    const id = `h${count}-${n}`
    // Each write waits for the disk: at most ten a second, or the run measures nothing else.
    if (count === Infinity) await wait(100)
    from.db.insert(HONEST_SHARD, { id, embedding: [n + 1] })
    times.push(await until(() => to.db.get(HONEST_SHARD, id) !== null, 'an honest write', 60_000))
  }
  return times
}

function percentile(times: readonly number[], share: number): number {
  const sorted = times.toSorted((x, y) => x - y)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

/** All of a shard that a peer without permission to write must not change, as comparable text by name. */
function stateOf({ db }: LiveNode, shardId: string): ReadonlyMap<string, string> {
  const { replica } = db
  const { updatedAtMs: _, logId: __, ...state } = replica.shardState(shardId)
  const rows = db.list(shardId, { limit: 10_000 }).records
  const siblings = rows.map(({ id }) => [id, db.conflictSiblings(shardId, id)])
  return new Map([
    ['state', shown(state)],
    ['records', shown(rows)],
    ['siblings', shown(siblings)],
    ['shards', shown(db.shards())],
  ])
}

function shown(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => (part instanceof Map ? [...part] : part))
}

function differences(
  shardId: string,
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): string[] {
  return [...before]
    .filter(([name, text]) => after.get(name) !== text)
    .map(
      ([name, text]) =>
        `${shardId}: ${name} changed: ${text.slice(0, 300)} → ${after.get(name)?.slice(0, 300)}`,
    )
}

function fileBytes(nodes: LiveNodes): number {
  return ['n0.db', 'n0.db-wal'].reduce((sum, name) => {
    const path = nodes.path('n0').replace('n0.db', name)
    return sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0)
  }, 0)
}

function isFault(event: object): boolean {
  return (
    'error' in event &&
    event.error instanceof SqliteVectorError &&
    event.error.code === 'SYNC_FAULT'
  )
}
