/**
 * The world of one seed: its nodes, the channels between them, the oracle, and how anything at all
 * happens on a channel. What may go wrong is accidents.ts; what happens when, simulation.ts.
 */
import { must } from '../../src/assert.ts'
import { type Fault, type FaultName, FAULTS } from './faults.ts'
import { History, Violation } from './history.ts'
import { observeShard } from './inspect.ts'
import { SimChannel } from './network.ts'
import { SimNode } from './node.ts'
import type { Profile } from './profile.ts'
import type { Random } from './random.ts'
import type { SimStrategy } from './reference-view.ts'
import { VirtualTime } from './virtual-clock.ts'
import { type ShardInfo } from '../../src/model/records.ts'

/** What happened, counted. */
export interface Counts {
  subscriptions: number
  batches: number
  torn: number
  crashes: number
  damaged: number
  locked: number
  restored: number
  cloned: number
  collected: number
  quarantined: number
  discarded: number
  mended: number
}

export class World {
  step = 0
  readonly random: Random
  readonly profile: Profile
  readonly time = new VirtualTime()
  readonly history: History = new History(() => this.nodes.map(({ view }) => view))
  readonly nodes: SimNode[]
  readonly shards: readonly ShardInfo[]
  /** Pairs of nodes that can talk; a clone brings more. */
  readonly edges: (readonly [SimNode, SimNode])[]
  /** Pairs out of reach at present, by {@link pairName}. */
  readonly partitioned = new Set<string>()
  channels: SimChannel[] = []
  /** Set while files are damaged: nothing can be expected of them then. */
  blind = false
  /** Times that rows differed where they had to be equal, since all was healed. */
  divergences = 0
  /** Times that quarantine was emptied at the end. */
  discardRounds = 0
  /** The last channel that ended: somebody may have recorded it. */
  recorded: SimChannel | null = null
  readonly counts: Counts = {
    subscriptions: 0,
    batches: 0,
    torn: 0,
    crashes: 0,
    damaged: 0,
    locked: 0,
    restored: 0,
    cloned: 0,
    collected: 0,
    quarantined: 0,
    discarded: 0,
    mended: 0,
  }
  readonly #directory: string
  readonly #fault: Fault
  readonly #trace: (line: string) => void

  constructor(
    random: Random,
    profile: Profile,
    directory: string,
    fault: FaultName | null,
    trace: (line: string) => void,
  ) {
    this.random = random
    this.profile = profile
    this.#directory = directory
    this.#fault = fault === null ? {} : FAULTS[fault]
    this.#trace = trace
    const { dimension, metric } = profile
    this.shards = Array.from({ length: profile.shardCount }, (_, index) => ({
      shardId: `shard-${index + 1}`,
      dimension,
      metric,
      modelId: null,
    }))
    this.nodes = []
    for (let index = 0; index < profile.nodeCount; index += 1) this.addNode()
    this.edges = profile.edges.map(
      ([a, b]) => [this.nodes[a] as SimNode, this.nodes[b] as SimNode] as const,
    )
  }

  trace(line: string): void {
    this.#trace(`${String(this.step).padStart(4)} ${line}`)
  }

  /** A node that is not open yet. */
  addNode(): SimNode {
    const number = this.nodes.length + 1
    const node = new SimNode({
      name: `n${number}`,
      fingerprint: number.toString(16).padStart(2, '0').repeat(32),
      directory: this.#directory,
      random: this.random.fork(),
      time: this.time,
      wrap: this.#fault.store ?? ((store) => store),
      shows: this.#fault.shows?.() ?? null,
    })
    this.nodes.push(node)
    return node
  }

  close(): void {
    for (const node of this.nodes) node.close()
  }

  /** `puller` subscribes to the shard of `sender`; live, each to the other's, as the product does. */
  subscribe(puller: SimNode, sender: SimNode, shardId: string, live: boolean): SimChannel {
    if (live) this.#open(sender, puller, shardId, true, puller)
    return this.#open(puller, sender, shardId, live, puller)
  }

  #open(
    puller: SimNode,
    sender: SimNode,
    shardId: string,
    live: boolean,
    opener: SimNode,
  ): SimChannel {
    const batchSize = this.random.between(1, this.profile.batchSizeMax)
    const channel = new SimChannel(
      { puller, sender, shardId, live, batchSize, opener },
      this.random.pick([1, 1, 1, 0.1]),
    )
    this.channels.push(channel)
    this.counts.subscriptions += 1
    return channel
  }

  reachable(channel: SimChannel): boolean {
    const { puller, sender } = channel.subscription
    return !this.partitioned.has(pairName(puller, sender))
  }

  /** Channels on which something can happen now, with their weights. */
  movable(): readonly (readonly [number, SimChannel])[] {
    return this.channels
      .filter((channel) => channel.moves(this.reachable(channel)).length > 0)
      .map((channel) => [channel.speed, channel])
  }

  /** Something happens on the channel. */
  move(channel: SimChannel): void {
    const move = this.random.pick(channel.moves(this.reachable(channel)))
    const before = channel.pulling.session.tally
    const node = channel.move(move)
    const { pulling, sending } = channel
    const { counts } = this
    this.trace(
      `${channel.name}: ${move} ${channel.note} (${pulling.session.phase}, ${sending.session.phase})`,
    )
    counts.quarantined += pulling.session.tally.quarantined - before.quarantined
    if (node !== null && !this.blind) {
      const { shardId } = channel.subscription
      const changed = observeShard(this.history, node, shardId, 'sync')
      const after = channel.pulling.session.tally
      const applied = after.applied - before.applied
      if (after.batches > before.batches && changed !== null && changed !== applied) {
        throw new Violation(
          'counts are earned',
          `${node.name} says ${applied} records were applied, ${changed} changed`,
        )
      }
    }
    this.sweep()
  }

  /** Lets go of channels that came to their end. */
  sweep(): void {
    for (const channel of this.channels.filter(({ over }) => over)) {
      if (!channel.haunted) this.recorded = channel
      this.forget(channel)
    }
  }

  forget(channel: SimChannel): void {
    channel.close()
    this.channels = this.channels.filter((other) => other !== channel)
    this.counts.batches += channel.batchFrames
  }

  /** The node is gone: the other ends learn that their channels are torn, sooner or later. */
  disconnect(node: SimNode): void {
    for (const channel of this.channels.filter((each) => each.touches(node))) {
      this.forget(channel)
      const { puller, sender, shardId } = channel.subscription
      const [survivor, driver] =
        puller === node ? [sender, channel.sending] : [puller, channel.pulling]
      if (channel.haunted && survivor === puller) continue
      if (this.random.chance(0.5)) {
        while (driver.busy) driver.advance()
      }
      observeShard(this.history, survivor, shardId, 'sync')
    }
  }

  /** What the profile wants the node to show conflicts by. */
  strategyOf(node: SimNode): SimStrategy {
    const { strategies } = this.profile
    return must(strategies[this.nodes.indexOf(node) % strategies.length], 'a strategy')
  }
}

export function pairName(a: SimNode, b: SimNode): string {
  return [a.name, b.name].sort().join('-')
}
