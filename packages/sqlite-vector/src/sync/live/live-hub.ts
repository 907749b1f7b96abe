/**
 * Wakes the live sessions of a shard when its feed moves, by a write of this or of another process.
 *
 *   our own write          senders push it at the next turn of the loop, so a flood makes batches
 *   a peer's write         others are told of it after HOLDS_DELAY_MS; relay-rules.ts passes it on
 *   another process        noticed by polling, then as our own and as a peer's: it may be either
 *   feeds we follow        are told to all peers, which leave us to those feeds
 *   nothing                every `checkIntervalMs` the side that began says what it has; the peer
 *                          compares, and sends what that lacks
 *
 * Decides when, never what: that is session/sender.ts. Invariants: memory is that of the links
 * (live-links.ts), whatever the traffic; relays of a shard are decided about every HOLDS_DELAY_MS
 * at most; without live sessions and watchers no timer runs.
 */
import { turns } from '#platform'

import { must } from '../../assert.ts'
import type { Clock } from '../../clock/types.ts'
import { FOREIGN_POLL_BUSY_MS, FOREIGN_POLL_IDLE_MS, HOLDS_DELAY_MS } from '../../limits.ts'
import type { PullSession, SendSession } from '../session/types.ts'
import type { ActorId } from '../../model/types.ts'
import { dominates, EMPTY_VECTOR } from '../../model/version-vector.ts'
import {
  isPushedToAll,
  type Link,
  type LiveShard,
  newLink,
  newsFor,
  newShard,
  pullerOf,
  relayNodeOf,
  senderOf,
  sourcesOf,
  stateOf,
} from './live-links.ts'
import {
  restartProgress,
  decideRelay,
  isFullyAnnounced,
  isSlow,
  isUnderWay,
  NO_PROGRESS,
  progressOf,
  type RelayNode,
} from './relay-rules.ts'
import { type CommitNotice } from '../../store/file/open-shard.ts'
import { type ReplicaStore } from '../../store/replica/types.ts'
import { type ShardState } from '../../model/records.ts'
import { type Running } from '../session/types.ts'

/** The parts of a hub. */
export interface HubSetup {
  readonly store: ReplicaStore
  readonly clock: Clock
  readonly relayDelayMs: number
  readonly checkIntervalMs: number
  /** Called with a failure of the store that no caller waits for. */
  readonly onError: (error: unknown) => void
}

/** The view that decisions about all peers of a shard share. */
interface Look {
  readonly state: ShardState
  readonly nowMs: number
  readonly sources: ReadonlySet<ActorId>
  readonly peers: readonly RelayNode[]
}

/** Live sessions by shard and peer. */
export class LiveHub {
  readonly #setup: HubSetup
  readonly #shards = new Map<string, LiveShard>()
  readonly #placed = new Map<Running, string>()
  readonly #followers = new Map<Running, Set<() => void>>()
  readonly #exposed = new Map<Running, () => void>()
  readonly #stopListening: () => void
  readonly #cancels = new Set<() => void>()
  #watchers = 0
  #polling = false
  #isPoll = false
  #isApplying = false
  #flushing = false
  #checking = false
  #foreignAtMs = -Infinity
  #closed = false

  constructor(setup: HubSetup) {
    this.#setup = setup
    this.#stopListening = setup.store.onCommit((notice) => this.#committed(notice))
  }

  /** Live sessions under way. */
  get count(): number {
    return this.#placed.size
  }

  /** Runs `fn`; what it commits came from a peer. */
  readonly whileApplying = <T>(fn: () => T): T => {
    this.#isApplying = true
    try {
      return fn()
    } finally {
      this.#isApplying = false
    }
  }

  /** After a step of any session: takes it up once it is live, lets go of it when it is closed. */
  readonly stepped = (running: Running, isOurs = false): void => {
    const { session } = running
    for (const listener of this.#followers.get(running) ?? []) listener()
    if (session.phase === 'closed') {
      this.drop(running)
      return
    }
    const isLive = session.role === 'puller' ? session.live : session.subscription?.live === true
    const placed = this.#placed.get(running)
    if (placed === undefined && isLive) this.#place(running, isOurs)
    const shardId = this.#placed.get(running)
    if (shardId === undefined) return
    if (session.role === 'sender') {
      this.#exposeTo(running, session, shardId)
      this.#heardBySender(session, shardId)
    } else if (placed !== undefined) this.#heardOf(session, placed)
  }

  /** The peer has room, holds more, or follows another feed: a waiting relay may be due. */
  #heardBySender({ peer }: SendSession, shardId: string): void {
    const shard = this.#shards.get(shardId)
    const lacking = shard?.links.get(peer)?.progress.lacking
    if (shard !== undefined && lacking !== undefined && lacking.size > 0) this.#lookSoon(shard)
  }

  /** From its first CAUGHT_UP on, the session sends every write of ours as it is made. */
  #exposeTo(running: Running, { own }: SendSession, shardId: string): void {
    if (own === null || this.#exposed.has(running)) return
    this.#exposed.set(running, this.#setup.store.expose(shardId))
  }

  /** Calls `listener` after every step of the session, the last one too; the result ends that. */
  follow(running: Running, listener: () => void): () => void {
    const listeners = this.#followers.get(running) ?? new Set()
    this.#followers.set(running, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.#followers.delete(running)
    }
  }

  /** Forgets a session. */
  drop(running: Running): void {
    const shardId = this.#placed.get(running)
    if (shardId === undefined) return
    this.#placed.delete(running)
    this.#exposed.get(running)?.()
    this.#exposed.delete(running)
    const shard = this.#shards.get(shardId)
    const { peer, role } = running.session
    const link = shard?.links.get(peer)
    if (shard === undefined || link === undefined || link[role] !== running) return
    link[role] = this.#latest(shardId, peer, role)
    if (link.sender === null && link.puller === null) shard.links.delete(peer)
    if (shard.links.size === 0) {
      shard.look?.cancel()
      this.#shards.delete(shardId)
    } else this.#noteSources(shard)
  }

  /** The live session with the peer about the shard in this role, or null. */
  find(shardId: string, peer: string, role: 'sender' | 'puller'): Running | null {
    return this.#shards.get(shardId)?.links.get(peer)?.[role] ?? null
  }

  /** Has live peers say what they hold: of a push they say only that they took it. */
  confirm(shardId: string): void {
    const shard = this.#shards.get(shardId)
    if (shard !== undefined) {
      for (const { sender } of shard.links.values()) sender?.tell({ type: 'committed' })
    }
  }

  /** Polls for commits of other processes also while no session is live; the result ends that. */
  watch(): () => void {
    this.#watchers += 1
    this.#keepPolling()
    let isOver = false
    return () => {
      if (!isOver) this.#watchers -= 1
      isOver = true
    }
  }

  close(): void {
    this.#closed = true
    this.#stopListening()
    for (const cancel of this.#cancels) cancel()
    this.#cancels.clear()
    for (const end of this.#exposed.values()) end()
    this.#exposed.clear()
  }

  /** A peer that says what it has may lack something, or have missed to be told. */
  #heardOf({ peer, caughtUp, complete }: PullSession, shardId: string): void {
    const shard = this.#shards.get(shardId)
    const link = shard?.links.get(peer)
    if (shard === undefined || link === undefined || !complete || link.caughtUp === caughtUp) return
    link.caughtUp = caughtUp
    this.#noteSources(shard)
    this.#lookSoon(shard)
  }

  #noteSources(shard: LiveShard): void {
    const sources = sourcesOf(shard)
    if (sources.join() !== shard.sources.join()) shard.sources = sources
    for (const link of shard.links.values()) {
      if (pullerOf(link)?.complete === true && !knowsSources(link, shard)) this.#announceSoon(shard)
    }
  }

  #place(running: Running, isOurs: boolean): void {
    const { session } = running
    const shardId =
      session.role === 'puller'
        ? session.shardId
        : must(session.subscription, 'a live sender was subscribed to').shardId
    const shard = this.#shards.get(shardId) ?? newShard(shardId)
    this.#shards.set(shardId, shard)
    const link = shard.links.get(session.peer) ?? newLink()
    shard.links.set(session.peer, link)
    // A peer that comes back may be here before we notice that it went: the newer session counts.
    link[session.role] = running
    link.isOurs ||= isOurs
    this.#placed.set(running, shardId)
    this.#keepPolling()
    this.#keepChecking()
  }

  /** The newest of several: when it ends, one that it took the place of may still be there. */
  #latest(shardId: string, peer: string, role: 'sender' | 'puller'): Running | null {
    let latest: Running | null = null
    for (const [running, placedIn] of this.#placed) {
      const { session } = running
      if (placedIn === shardId && session.peer === peer && session.role === role) latest = running
    }
    return latest
  }

  #committed({ shardId }: CommitNotice): void {
    const shard = this.#shards.get(shardId)
    if (shard === undefined) return
    if (!this.#isApplying) {
      shard.wrote = true
      this.#flushSoon()
    }
    const isRelayed = this.#isApplying || this.#isPoll
    if (isRelayed) this.#lookSoon(shard)
    // Our own writes need no announcement where they are pushed.
    if (isRelayed || !isPushedToAll(shard)) this.#announceSoon(shard)
  }

  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    void this.#flushNextTurn()
  }

  async #flushNextTurn(): Promise<void> {
    await turns.next()
    this.#flushing = false
    if (!this.#closed) this.#guarded(() => this.#flush())
  }

  #flush(): void {
    for (const shard of this.#shards.values()) {
      if (!shard.wrote) continue
      shard.wrote = false
      for (const { sender } of shard.links.values()) sender?.tell({ type: 'wrote' })
    }
  }

  #announceSoon(shard: LiveShard): void {
    if (shard.announcing) return
    shard.announcing = true
    this.#later(HOLDS_DELAY_MS, () => {
      shard.announcing = false
      this.#announce(shard)
    })
  }

  /** Tells each peer what we hold and which feeds we follow by now, unless it knows. */
  #announce(shard: LiveShard): void {
    const state = stateOf(shard, this.#setup.store)
    if (state === null) return
    const { sources } = shard
    for (const link of shard.links.values()) {
      const [puller, session] = [link.puller, pullerOf(link)]
      if (puller === null || session === null || !session.complete) continue
      const versionVector = newsFor(session, senderOf(link), state)
      const isNews = !knowsSources(link, shard)
      if (isNews) link.told = { puller, sources }
      if (isNews) puller.tell({ type: 'moved', versionVector, sources })
      else if (versionVector.size > 0) puller.tell({ type: 'moved', versionVector })
    }
  }

  /** Decides about relays after `delayMs`, if that was not to happen sooner. */
  #lookSoon(shard: LiveShard, delayMs = 0): void {
    const nowMs = this.#setup.clock.monotonicMs()
    const dueMs = Math.max(nowMs + delayMs, shard.lookedMs + HOLDS_DELAY_MS)
    if (shard.look !== null && shard.look.dueMs <= dueMs) return
    shard.look?.cancel()
    const cancel = this.#later(dueMs - nowMs, () => {
      shard.look = null
      this.#look(shard)
    })
    shard.look = { dueMs, cancel }
  }

  /** Has senders pass on what is due. */
  #look(shard: LiveShard): void {
    const nowMs = this.#setup.clock.monotonicMs()
    shard.lookedMs = nowMs
    const state = stateOf(shard, this.#setup.store)
    if (state === null) return
    const peers = new Map<Link, RelayNode>()
    for (const link of shard.links.values()) peers.set(link, relayNodeOf(link))
    const look = { state, nowMs, sources: new Set(shard.sources), peers: [...peers.values()] }
    let nextMs = Infinity
    for (const [link, peer] of peers) nextMs = Math.min(nextMs, this.#passOn(link, peer, look))
    if (nextMs < Infinity) this.#lookSoon(shard, nextMs - nowMs)
  }

  /**
   * Has one peer's sender pass on what is due; when to look again, unless something happens before.
   */
  #passOn(link: Link, peer: RelayNode, { state, nowMs, sources, peers }: Look): number {
    const [sender, before] = [link.sender, senderOf(link)]
    if (sender === null || before === null) return Infinity
    const peerVector = pullerOf(link)?.peerVector ?? EMPTY_VECTOR
    if (!dominates(before.known, peerVector))
      sender.tell({ type: 'holds', versionVector: peerVector })
    const session = senderOf(link) ?? before
    link.progress = isFullyAnnounced(session, state)
      ? { ...NO_PROGRESS, lagMs: link.progress.lagMs }
      : progressOf(link.progress, session.known, state.versionVector, nowMs)
    if (link.progress.lacking.size === 0 || isUnderWay(session)) return Infinity
    const { progress } = link
    const self = { actor: session.actor, sources }
    const { relayDelayMs } = this.#setup
    const view = { self, peer, peers, progress, isSlow: isSlow(session), relayDelayMs }
    const decision = decideRelay(view, nowMs)
    if (decision.type !== 'pass-on') return decision.type === 'wait' ? decision.untilMs : Infinity
    link.progress = restartProgress(progress, nowMs)
    sender.tell({ type: 'committed' })
    return Infinity
  }

  #keepChecking(): void {
    if (this.#checking) return
    this.#checking = true
    this.#later(this.#setup.checkIntervalMs, () => {
      this.#checking = false
      if (this.#placed.size === 0) return
      for (const shard of this.#shards.values()) {
        for (const { sender, isOurs } of shard.links.values()) {
          if (isOurs) sender?.tell({ type: 'committed' })
        }
        this.#announce(shard)
      }
      this.#keepChecking()
    })
  }

  #keepPolling(): void {
    if (this.#polling || (this.#placed.size === 0 && this.#watchers === 0)) return
    this.#polling = true
    const { clock, store } = this.#setup
    const isBusy = clock.monotonicMs() - this.#foreignAtMs < 2_000
    this.#later(isBusy ? FOREIGN_POLL_BUSY_MS : FOREIGN_POLL_IDLE_MS, () => {
      this.#polling = false
      this.#isPoll = true
      try {
        if (store.poll() > 0) this.#foreignAtMs = clock.monotonicMs()
      } finally {
        this.#isPoll = false
        this.#keepPolling()
      }
    })
  }

  #later(delayMs: number, callback: () => void): () => void {
    const unschedule = this.#setup.clock.schedule(delayMs, () => {
      this.#cancels.delete(cancel)
      if (!this.#closed) this.#guarded(callback)
    })
    const cancel = (): void => {
      this.#cancels.delete(cancel)
      unschedule()
    }
    this.#cancels.add(cancel)
    return cancel
  }

  /** A store that is closed or fails while no caller waits is told to the owner. */
  #guarded(fn: () => void): void {
    try {
      fn()
    } catch (error) {
      this.#setup.onError(error)
    }
  }
}

/** True when the session that pulls from the peer has told it which feeds we follow by now. */
function knowsSources({ puller, told }: Link, { sources }: LiveShard): boolean {
  return told !== null && told.puller === puller && told.sources === sources
}
