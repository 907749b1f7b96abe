/**
 * One seed, from nothing to rest: nodes write, sync, crash and lose touch as chance will have it, then
 * everything heals, and every invariant that must hold then is checked. The oracle (history.ts) watches
 * every step on the way.
 *
 * Deterministic: the seed is the whole history. Not here: what is checked of one node (inspect.ts), how
 * sessions run (network.ts, and the driver that ships), what users do (workload.ts).
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { ShardInfo } from '../../src/store/types.ts'
import { type FaultName, FAULTS, NO_FAULT } from './faults.ts'
import { History, shardViewOf, Violation } from './history.ts'
import { audit, auditFile, observe, observeShard } from './inspect.ts'
import { checkRest } from './rest.ts'
import { SimChannel } from './network.ts'
import { SimNode } from './node.ts'
import { drawProfile, type Profile, type Weights } from './profile.ts'
import { Random } from './random.ts'
import { VirtualTime } from './virtual-clock.ts'
import { OPERATION_WEIGHTS, work } from './workload.ts'

export interface SimulationOptions {
  readonly seed: number
  /** Steps before the healing; drawn from the seed when null. */
  readonly steps?: number | null
  readonly fault?: FaultName | null
  /** Told of every step. */
  readonly onTrace?: (line: string) => void
}

/** What happened, counted. */
export interface SimulationResult {
  readonly seed: number
  readonly nodes: number
  readonly steps: number
  readonly writes: number
  readonly subscriptions: number
  readonly batches: number
  readonly torn: number
  readonly crashes: number
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

const TAIL_LINES = 25
const CHANNELS_MAX = 8

/** Runs one seed. @throws SimulationFailure */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const { seed, steps = null, fault = null, onTrace } = options
  const directory = mkdtempSync(join(memoryDirectory(), 'sqlite-vector-sim-'))
  const tail: string[] = []
  const random = new Random(seed)
  const world = new World(random, drawProfile(random.fork(), steps), directory, fault, (line) => {
    tail.push(line)
    if (tail.length > TAIL_LINES) tail.shift()
    onTrace?.(line)
  })
  try {
    await world.run()
    return { seed, ...world.counts() }
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

class World {
  step = 0
  readonly #random: Random
  readonly #profile: Profile
  readonly #trace: (line: string) => void
  readonly #time = new VirtualTime()
  readonly #history = new History()
  readonly #nodes: SimNode[]
  readonly #shards: readonly ShardInfo[]
  readonly #partitioned = new Set<string>()
  #channels: SimChannel[] = []
  #recorded: SimChannel | null = null
  #counts = { subscriptions: 0, batches: 0, torn: 0, crashes: 0 }

  constructor(
    random: Random,
    profile: Profile,
    directory: string,
    fault: FaultName | null,
    trace: (line: string) => void,
  ) {
    this.#random = random
    this.#profile = profile
    this.#trace = (line) => {
      trace(`${String(this.step).padStart(4)} ${line}`)
    }
    const { dimension, metric } = profile
    this.#shards = Array.from({ length: profile.shardCount }, (_, index) => ({
      shardId: `shard-${index + 1}`,
      dimension,
      metric,
      modelId: null,
    }))
    this.#nodes = Array.from({ length: profile.nodeCount }, (_, index) => {
      const node = new SimNode({
        name: `n${index + 1}`,
        fingerprint: String(index + 1).repeat(64),
        directory,
        random: random.fork(),
        time: this.#time,
        wrap: fault === null ? NO_FAULT : FAULTS[fault],
      })
      node.onCommit = (shardId) => {
        this.#committed(node, shardId)
      }
      return node
    })
  }

  async run(): Promise<void> {
    const { nodeCount, edges, metric, dimension, steps, strategies } = this.#profile
    this.#trace(
      `${nodeCount} nodes ${edges.map(([a, b]) => `n${a + 1}-n${b + 1}`).join(' ')}, ` +
        `${dimension} x ${metric}, ${strategies.join(' ')}, ${steps} steps`,
    )
    for (const node of this.#nodes) {
      await node.open()
      for (const shard of this.#shards) {
        // Some nodes learn of a shard from a peer.
        if (node !== this.#nodes[0] && this.#random.chance(0.3)) continue
        const { shardId } = shard
        node.db.createShard(shardId, { dimension, metric })
      }
    }
    while (this.step < steps) {
      this.step += 1
      this.#time.advance(
        this.#random.weighted([
          [6, 0],
          [6, 3],
          [3, 200],
          [1, 30_000],
        ]),
      )
      await this.#happen()
    }
    this.#heal()
    this.#checkRest()
  }

  close(): void {
    for (const node of this.#nodes) node.close()
  }

  counts(): Omit<SimulationResult, 'seed'> {
    return {
      nodes: this.#nodes.length,
      steps: this.step,
      writes: this.#history.writeCount,
      ...this.#counts,
    }
  }

  async #happen(): Promise<void> {
    const { weights } = this.#profile
    const moves = this.#moves()
    const what = this.#random.weighted<keyof Weights>([
      [weights.write, 'write'],
      [moves.length === 0 ? 0 : weights.move, 'move'],
      [this.#channels.length >= CHANNELS_MAX ? 0 : weights.subscribe, 'subscribe'],
      [this.#channels.length === 0 ? 0 : weights.tear, 'tear'],
      [this.#recorded === null ? 0 : weights.replay, 'replay'],
      [weights.crash, 'crash'],
      [weights.restart, 'restart'],
      [weights.clock, 'clock'],
      [weights.partition, 'partition'],
      [weights.audit, 'audit'],
    ])
    switch (what) {
      case 'write':
        return this.#write()
      case 'move':
        return this.#move(moves)
      case 'subscribe':
        return this.#subscribe()
      case 'tear':
        return this.#tear(this.#random.pick(this.#channels))
      case 'replay':
        return this.#replay()
      case 'crash':
        return this.#crash()
      case 'restart':
        return this.#restart()
      case 'clock':
        return this.#clock()
      case 'partition':
        return this.#partition()
      case 'audit':
        return this.#audit()
    }
  }

  async #write(): Promise<void> {
    const node = this.#random.pick(this.#nodes)
    const shards = node.db.shards()
    if (shards.length === 0) return
    const shard = this.#random.pick(shards)
    const operation = this.#random.weighted(OPERATION_WEIGHTS)
    const place = { history: this.#history, node, shard, random: this.#random }
    this.#trace(`${node.name}: ${await work(place, operation)} in ${shard.shardId}`)
  }

  #moves(): readonly (readonly [number, SimChannel])[] {
    return this.#channels
      .filter((channel) => channel.moves(this.#reachable(channel)).length > 0)
      .map((channel) => [channel.speed, channel])
  }

  #move(moves: readonly (readonly [number, SimChannel])[]): void {
    const channel = this.#random.weighted(moves)
    const move = this.#random.pick(channel.moves(this.#reachable(channel)))
    this.#trace(`${channel.name}: ${move}`)
    const node = channel.move(move)
    if (node !== null) observeShard(this.#history, node, channel.subscription.shardId, 'sync')
    this.#sweep()
  }

  #subscribe(): void {
    const [a, b] = this.#random.pick(this.#profile.edges)
    const [puller, sender] = this.#random.chance(0.5) ? [a, b] : [b, a]
    const shardId = this.#random.pick(this.#shards).shardId
    const channel = this.#open(
      this.#nodes[puller] as SimNode,
      this.#nodes[sender] as SimNode,
      shardId,
      this.#random.chance(this.#profile.liveChance),
    )
    this.#trace(`${channel.name}: subscribe${channel.subscription.live ? ' live' : ''}`)
  }

  #open(puller: SimNode, sender: SimNode, shardId: string, live: boolean): SimChannel {
    const batchSize = this.#random.between(1, this.#profile.batchSizeMax)
    const channel = new SimChannel(
      { puller, sender, shardId, live, batchSize },
      this.#random.pick([1, 1, 1, 0.1]),
    )
    this.#channels.push(channel)
    this.#counts.subscriptions += 1
    return channel
  }

  #tear(channel: SimChannel): void {
    this.#trace(`${channel.name}: torn`)
    this.#counts.torn += 1
    channel.abort()
    this.#recorded = channel
    // What a side was about to do, it does, or it does not come to it.
    if (this.#random.chance(0.5)) this.#forget(channel)
  }

  /** Somebody on the path repeats what a puller once sent; nobody hears the answer. */
  #replay(): void {
    const original = this.#recorded
    if (original === null) return
    const { puller, sender, shardId, live, batchSize } = original.subscription
    const channel = new SimChannel({ puller, sender, shardId, live, batchSize }, 1)
    const { recorded } = original
    const count = this.#random.between(1, Math.max(1, recorded.length))
    this.#trace(`${channel.name}: ${count} frames replayed`)
    channel.haunt(recorded.slice(0, count))
    this.#channels.push(channel)
  }

  async #crash(): Promise<void> {
    const node = this.#random.pick(this.#nodes)
    const reboot = this.#random.chance(0.3)
    this.#trace(`${node.name}: ${reboot ? 'machine goes down' : 'killed'}`)
    this.#counts.crashes += 1
    this.#disconnect(node)
    await node.crash(reboot)
    observe(this.#history, node)
  }

  async #restart(): Promise<void> {
    const node = this.#random.pick(this.#nodes)
    this.#trace(`${node.name}: closed and opened`)
    this.#disconnect(node)
    await node.restart()
    observe(this.#history, node)
  }

  /** The node is gone: the other ends learn that their channels are torn, sooner or later. */
  #disconnect(node: SimNode): void {
    for (const channel of this.#channels.filter((each) => each.touches(node))) {
      this.#forget(channel)
      const { puller, sender, shardId } = channel.subscription
      const [survivor, driver] =
        puller === node ? [sender, channel.sending] : [puller, channel.pulling]
      if (this.#random.chance(0.5)) {
        while (driver.busy) driver.advance()
      }
      observeShard(this.#history, survivor, shardId, 'sync')
    }
  }

  #clock(): void {
    const node = this.#random.pick(this.#nodes)
    const change = this.#random.pick(['skew', 'jump', 'stop', 'resume', 'right'] as const)
    const sign = this.#random.chance(0.5) ? 1 : -1
    switch (change) {
      case 'skew':
        node.clock.skewMs = sign * this.#random.below(5_000)
        break
      case 'jump':
        node.clock.skewMs = sign * this.#random.pick([60_000, 3_600_000, 864_000_000])
        break
      case 'stop':
        node.clock.stop()
        break
      case 'resume':
        node.clock.resume()
        break
      case 'right':
        node.clock.skewMs = 0
        break
    }
    this.#trace(`${node.name}: clock ${change} (${node.clock.skewMs} ms)`)
  }

  #partition(): void {
    const [a, b] = this.#random.pick(this.#profile.edges)
    const pair = pairName(this.#nodes[a] as SimNode, this.#nodes[b] as SimNode)
    if (this.#partitioned.delete(pair)) {
      this.#trace(`${pair}: together again`)
    } else {
      this.#partitioned.add(pair)
      this.#trace(`${pair}: apart`)
    }
  }

  #audit(): void {
    const node = this.#random.pick(this.#nodes)
    for (const shard of node.db.shards()) audit(node, shard, this.#strategyOf(node))
  }

  #reachable(channel: SimChannel): boolean {
    const { puller, sender } = channel.subscription
    return !this.#partitioned.has(pairName(puller, sender))
  }

  #committed(node: SimNode, shardId: string): void {
    for (const channel of this.#channels) {
      const { subscription } = channel
      if (subscription.sender !== node || subscription.shardId !== shardId) continue
      channel.sending.tell({ type: 'committed' })
    }
  }

  #sweep(): void {
    for (const channel of this.#channels.filter(({ over }) => over)) {
      this.#recorded = channel
      this.#forget(channel)
    }
  }

  #forget(channel: SimChannel): void {
    this.#channels = this.#channels.filter((other) => other !== channel)
    this.#counts.batches += channel.batchFrames
  }

  #strategyOf(node: SimNode): Profile['strategies'][number] {
    return this.#profile.strategies[this.#nodes.indexOf(node)] ?? 'last-write-wins'
  }

  /** Everything is in reach again; what is under way ends, and then every pair syncs until it is quiet. */
  #heal(): void {
    this.#partitioned.clear()
    for (const node of this.#nodes) node.clock.resume()
    this.#trace('heals')
    for (const channel of this.#channels) {
      if (channel.haunted) this.#forget(channel)
      else if (channel.subscription.live) channel.pulling.tell({ type: 'stop' })
    }
    this.#drain()
    const roundsMax = this.#nodes.length + 3
    for (let round = 1; ; round += 1) {
      const sent = this.#syncAll(round)
      if (sent === 0) return
      if (round === roundsMax) {
        throw new Violation(
          'a network at rest has nothing to send',
          `${sent} after ${round} rounds`,
        )
      }
    }
  }

  /** Lets every channel come to its end. */
  #drain(): void {
    for (;;) {
      this.#sweep()
      const moves = this.#moves()
      if (moves.length === 0) break
      this.#move(moves)
    }
    const [stuck] = this.#channels
    if (stuck === undefined) return
    throw new Violation(
      'every session ends',
      `${stuck.name}: puller ${stuck.pulling.session.phase}, sender ${stuck.sending.session.phase}`,
    )
  }

  /** Every pair syncs both ways; the number of changes that were sent. */
  #syncAll(round: number): number {
    let sent = 0
    this.#trace(`round ${round}`)
    for (const [a, b] of this.#profile.edges) {
      for (const { shardId } of this.#shards) {
        const pair = [
          this.#open(this.#nodes[a] as SimNode, this.#nodes[b] as SimNode, shardId, false),
          this.#open(this.#nodes[b] as SimNode, this.#nodes[a] as SimNode, shardId, false),
        ]
        this.#drain()
        for (const channel of pair) {
          sent += channel.sending.session.tally.sent
          const { error } = channel.pulling.session
          if (error !== null) throw error
        }
      }
    }
    return sent
  }

  #checkRest(): void {
    for (const node of this.#nodes) {
      observe(this.#history, node)
      auditFile(node)
    }
    for (const shard of this.#shards) {
      const views = new Map(
        this.#nodes.map((node) => [node.name, shardViewOf(node.view, shard.shardId)]),
      )
      this.#history.checkNothingLost(shard.shardId, views)
      checkRest(
        shard.shardId,
        this.#nodes.map((node) => ({
          node,
          strategy: this.#strategyOf(node),
          audit: audit(node, shard, this.#strategyOf(node)),
        })),
      )
    }
  }
}

function pairName(a: SimNode, b: SimNode): string {
  return [a.name, b.name].sort().join('-')
}
