/**
 * One seed, from nothing to rest: nodes write, sync, crash and lose touch as chance will have it, then
 * everything heals, and every invariant that must hold then is checked. The oracle (history.ts) watches
 * every step on the way.
 *
 * Deterministic: the seed is the whole history. Not here: what is checked of one node (inspect.ts), how
 * sessions run (network.ts, and the driver that ships), what users do (workload.ts), what goes wrong
 * (accidents.ts).
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'

import { bytesToHex } from '../../src/bytes.ts'
import { SqliteVectorError } from '../../src/errors.ts'
import type { PullTally } from '../../src/sync/session/types.ts'
import { dominates, encodeVector } from '../../src/model/version-vector.ts'
import * as accidents from './accidents.ts'
import { type Damage, damageRows } from './damage.ts'
import type { FaultName } from './faults.ts'
import { shardViewOf, Violation } from './history.ts'
import { audit, auditFile, observe } from './inspect.ts'
import { CHECK_INTERVAL_MS } from './node.ts'
import { drawProfile, type Features, type Weights } from './profile.ts'
import * as quarantine from './quarantine.ts'
import { Random } from './random.ts'
import { checkNothingNew, checkRest } from './rest.ts'
import { OPERATION_WEIGHTS, work } from './workload.ts'
import { type Counts, World } from './world.ts'

export interface SimulationOptions {
  readonly seed: number
  /** Steps before the healing; drawn from the seed when null. */
  readonly steps?: number | null
  readonly fault?: FaultName | null
  readonly features?: Partial<Features>
  /** Told of every step. */
  readonly onTrace?: (line: string) => void
}

/** What happened, counted. */
export interface SimulationResult extends Counts {
  readonly seed: number
  readonly nodes: number
  readonly steps: number
  readonly writes: number
}

/** A seed that broke an invariant. */
export class SimulationFailure extends Error {
  override readonly name = 'SimulationFailure'
  readonly seed: number
  readonly invariant: string

  constructor(seed: number, step: number, cause: unknown, tail: readonly string[]) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    super(
      [
        `seed ${seed} broke at step ${step}: ${reason}`,
        ...tail.map((line) => `  ${line}`),
        `replay: npm run simulate -- --seed ${seed} --trace`,
      ].join('\n'),
      { cause },
    )
    this.seed = seed
    this.invariant = cause instanceof Violation ? cause.invariant : 'no error escapes'
  }
}

/** What every seed may do, unless told otherwise. */
export const FEATURES: Features = {
  collect: true,
  restore: true,
  clone: true,
  rollback: false,
  quarantine: true,
  damage: true,
}

const TAIL_LINES = 25
const CHANNELS_MAX = 8
const NODES_MAX = 6

/** Runs one seed. @throws SimulationFailure */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const { seed, steps = null, fault = null, features = {}, onTrace } = options
  const directory = mkdtempSync(join(memoryDirectory(), 'sqlite-vector-sim-'))
  const tail: string[] = []
  const random = new Random(seed)
  const profile = drawProfile(random.fork(), steps, { ...FEATURES, ...features })
  const world = new World(random, profile, directory, fault, (line) => {
    tail.push(line)
    if (tail.length > TAIL_LINES) tail.shift()
    onTrace?.(line)
  })
  try {
    await begin(world)
    while (world.step < profile.steps) {
      world.step += 1
      world.time.advance(
        random.weighted([
          [6, 0],
          [6, 3],
          [3, 100],
          [0.5, 1_000],
          [0.1, 30_000],
        ]),
      )
      await happen(world)
      await turn(world)
    }
    accidents.heal(world)
    await keepUp(world)
    accidents.stopLive(world)
    await drain(world)
    checkEnded(world)
    for (const node of world.nodes) {
      for (const { shardId } of node.db.shards()) node.show(shardId, world.strategyOf(node))
      observe(world.history, node)
    }
    await settle(world)
    while (quarantine.discardAll(world)) await settle(world)
    check(world)
    if (profile.damaged) {
      const damaged = await damageRows(world)
      await mend(world, damaged)
      check(world)
    }
    const { nodes, history, step, counts } = world
    return { seed, nodes: nodes.length, steps: step, writes: history.writeCount, ...counts }
  } catch (error) {
    throw new SimulationFailure(seed, world.step, error, tail)
  } finally {
    world.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** A file system in memory where there is one: the simulation never asks what a power loss leaves. */
function memoryDirectory(): string {
  return existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
}

async function begin(world: World): Promise<void> {
  const { profile, random, shards } = world
  world.trace(
    `${world.nodes.length} nodes ${world.edges.map(([a, b]) => `${a.name}-${b.name}`).join(' ')}, ` +
      `${profile.dimension} x ${profile.metric}, ${profile.strategies.join(' ')}, ${profile.steps} steps`,
  )
  for (const [index, node] of world.nodes.entries()) {
    await node.open()
    for (const { shardId, dimension, metric } of shards) {
      // Some nodes learn of a shard from a peer.
      if (index > 0 && random.chance(0.3)) continue
      node.db.createShard(shardId, { dimension, metric })
      node.show(shardId, world.strategyOf(node))
    }
  }
}

function only(possible: boolean, weight: number): number {
  return possible ? weight : 0
}

/** One step: something happens, somewhere. */
async function happen(world: World): Promise<void> {
  const { weights } = world.profile
  const movable = world.movable()
  const channels = world.channels.length
  const hasBackup = world.nodes.some(({ backups }) => backups.length > 0)
  // Until something was put aside there is nothing to look for: every look reads every file.
  const hasStrange = world.counts.quarantined > 0 && quarantine.holders(world).length > 0
  const what = world.random.weighted<keyof Weights>([
    [weights.write, 'write'],
    [only(movable.length > 0, weights.move), 'move'],
    [only(channels < CHANNELS_MAX, weights.subscribe), 'subscribe'],
    [only(channels > 0, weights.tear), 'tear'],
    [only(channels > 0, weights.damage), 'damage'],
    [only(world.recorded !== null, weights.replay), 'replay'],
    [weights.crash, 'crash'],
    [weights.restart, 'restart'],
    [weights.clock, 'clock'],
    [weights.partition, 'partition'],
    [weights.lock, 'lock'],
    [weights.foreign, 'foreign'],
    [weights.collect, 'collect'],
    [weights.backup, 'backup'],
    [weights.snapshot, 'snapshot'],
    [only(hasBackup, weights.restore), 'restore'],
    [only(hasBackup, weights.rollback), 'rollback'],
    [only(world.nodes.length < NODES_MAX, weights.clone), 'clone'],
    [weights.strange, 'strange'],
    [only(hasStrange, weights.tidy), 'tidy'],
    [weights.strategy, 'strategy'],
    [weights.audit, 'audit'],
  ])
  if (what === 'move') world.move(world.random.weighted(movable))
  else await EVENTS[what](world)
}

type Event = (world: World) => void | Promise<void>

const EVENTS: Readonly<Record<Exclude<keyof Weights, 'move'>, Event>> = {
  write,
  subscribe,
  audit: auditOne,
  tear: accidents.tear,
  damage: accidents.damage,
  replay: accidents.replay,
  crash: accidents.crash,
  restart: accidents.restart,
  clock: accidents.disturbClock,
  partition: accidents.partition,
  lock: accidents.lock,
  foreign: accidents.writeFromOutside,
  collect: accidents.collect,
  backup: accidents.backUp,
  snapshot: accidents.snapshot,
  restore: accidents.restore,
  rollback: accidents.rollBack,
  clone: accidents.clone,
  strange: quarantine.writeStrangely,
  tidy: quarantine.tidy,
  strategy: accidents.changeStrategy,
}

async function write(world: World): Promise<void> {
  const { history, random } = world
  const node = random.pick(world.nodes)
  const shards = node.db.shards()
  if (shards.length === 0) return
  const shard = random.pick(shards)
  const operation = random.weighted(OPERATION_WEIGHTS)
  const done = await work({ history, node, db: node.db, shard, random }, operation)
  world.trace(`${node.name}: ${done} in ${shard.shardId}`)
}

function subscribe(world: World): void {
  const { random } = world
  const [a, b] = random.pick(world.edges)
  const [puller, sender] = random.chance(0.5) ? [a, b] : [b, a]
  const { shardId } = random.pick(world.shards)
  const live = random.chance(world.profile.liveChance)
  const channel = world.subscribe(puller, sender, shardId, live)
  world.trace(`${channel.name}: subscribe${live ? ' live' : ''}`)
}

function auditOne(world: World): void {
  const node = world.random.pick(world.nodes)
  for (const shard of node.db.shards()) audit(node, shard)
}

/** A turn of the event loop, in which hubs wake sessions; nothing else in a simulation waits for one. */
async function turn(world: World): Promise<void> {
  await setImmediate()
  for (const { name, failures } of world.nodes) {
    const [failure] = failures
    if (failure !== undefined) throw new Error(`the hub of ${name} failed`, { cause: failure })
  }
}

/** Lets every channel go on until nothing moves. */
async function drain(world: World): Promise<void> {
  for (;;) {
    world.sweep()
    let movable = world.movable()
    if (movable.length === 0) {
      await turn(world)
      movable = world.movable()
    }
    if (movable.length === 0) return
    world.move(world.random.weighted(movable))
  }
}

/** Left alone for a while, both ends of every live subscription hold the same, relayed writes included. */
async function keepUp(world: World): Promise<void> {
  await drain(world)
  if (!world.channels.some(({ isCurrent }) => isCurrent)) return
  // A relay waits with what its peer may get by another way, at each hop anew.
  for (let ms = 0; ms < 4 * CHECK_INTERVAL_MS; ms += 250) {
    world.time.advance(500)
    await drain(world)
  }
  for (const channel of world.channels) {
    const { puller, sender, shardId } = channel.subscription
    const back = world.channels.find(
      ({ subscription, isCurrent }) =>
        isCurrent &&
        subscription.puller === sender &&
        subscription.sender === puller &&
        subscription.shardId === shardId,
    )
    if (!channel.isCurrent || back === undefined) continue
    // What could not be taken is not claimed, nor is what the same node wrote after it.
    if (puller.db.replica.shardState(shardId).quarantineCount > 0) continue
    const ours = puller.db.replica.shardState(shardId).versionVector
    const theirs = sender.db.replica.shardState(shardId).versionVector
    if (!dominates(ours, theirs)) {
      throw new Violation('a live subscription keeps up', `${channel.name} has fallen behind`)
    }
  }
}

function checkEnded(world: World): void {
  const [stuck] = world.channels
  if (stuck === undefined) return
  throw new Violation(
    'every session ends',
    `${stuck.name}: puller ${stuck.pulling.session.phase}, sender ${stuck.sending.session.phase}`,
  )
}

/** Every pair syncs, round after round, until nothing is sent. */
async function settle(world: World): Promise<void> {
  const roundsMax = world.nodes.length + 3
  for (let round = 1; ; round += 1) {
    world.trace(`round ${round}`)
    const before = vectorsOf(world)
    const sent = await syncAll(world)
    // Rows of an interrupted transfer may be everywhere before the last one knows that it has them all.
    if (sent === 0 && vectorsOf(world) === before) return
    if (round === roundsMax) {
      throw new Violation('a network at rest has nothing to send', `${sent} after ${round} rounds`)
    }
  }
}

/** What every node says it holds. */
function vectorsOf({ nodes }: World): string {
  const vectors = nodes.map(({ name, db }) =>
    db.replica
      .shardStates()
      .map(({ shardId, versionVector }) => [
        name,
        shardId,
        bytesToHex(encodeVector(versionVector)),
      ]),
  )
  return JSON.stringify(vectors)
}

/** Every pair syncs both ways; the number of changes that were sent, or of what `count` counts. */
async function syncAll(
  world: World,
  count: ((tally: PullTally) => number) | null = null,
): Promise<number> {
  let sent = 0
  for (const [a, b] of world.edges) {
    for (const { shardId } of world.shards) {
      const pair = [world.subscribe(a, b, shardId, false), world.subscribe(b, a, shardId, false)]
      await drain(world)
      checkEnded(world)
      for (const channel of pair) {
        const { error, tally } = channel.pulling.session
        sent += count === null ? channel.sending.session.tally.sent : count(tally)
        world.divergences += tally.divergences
        if (error === null) continue
        // As the product does: what may work the next time is tried again, and then it has to.
        if (!(error instanceof SqliteVectorError) || !error.retryable) throw error
        sent += 1
      }
    }
  }
  return sent
}

/** Every pair syncs, round after round, until rows are equal again; only what was damaged is mended. */
async function mend(world: World, { lost, older }: Damage): Promise<void> {
  world.blind = true
  let mended = 0
  for (let round = 1; ; round += 1) {
    world.trace(`mending, round ${round}`)
    const before = world.divergences
    // By a comparison; what no version vector covers may come with the feed as well.
    mended += await syncAll(world, (tally) => tally.applied)
    if (world.divergences === before) break
    if (round === world.nodes.length + 3) {
      throw new Violation('damage is mended', `rows differ still after ${round} rounds`)
    }
  }
  world.blind = false
  world.counts.mended += mended
  // A lost row may come back as an older one first, from a node that had only that.
  if (older === 0 ? mended === lost : mended >= lost + older) return
  throw new Violation('what was damaged is mended, and only that', `${mended} of ${lost + older}`)
}

/** What must be true when everything has been exchanged. */
function check(world: World): void {
  for (const node of world.nodes) {
    observe(world.history, node)
    auditFile(node)
  }
  for (const shard of world.shards) {
    const views = new Map(
      world.nodes.map((node) => [node.name, shardViewOf(node.view, shard.shardId)]),
    )
    for (const view of views.values()) world.history.settle(view)
    world.history.checkNothingLost(shard.shardId, views)
    checkRest(
      shard.shardId,
      world.nodes.map((node) => ({
        node,
        strategy: shardViewOf(node.view, shard.shardId).strategy,
        audit: audit(node, shard),
      })),
    )
    for (const [a, b] of world.edges) checkNothingNew(a, b, shard)
  }
}
