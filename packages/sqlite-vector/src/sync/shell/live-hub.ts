/**
 * Who hears of a commit: wakes the live sessions of a shard when its feed moves, whoever moved it.
 *
 *   our own write          senders push it at the next turn of the event loop, so a flood makes batches
 *   a peer's write         others are told that we hold it after HOLDS_DELAY_MS; it is relayed after
 *                          `relayDelayMs` to those who by then neither sent nor announced it; the first time of
 *                          a writer and peer after five times as long
 *   another process        noticed by polling, then as our own and as a peer's: it may be either
 *   nothing                every `checkIntervalMs` the side that began the sync says what it has; the peer compares,
 *                          and sends what that lacks
 *
 * Decides when, never what: that is session-sender.ts. Invariants: a shard's queue holds at most RELAY_MARKS_MAX
 * marks, whatever the traffic; without live sessions and watchers there is no timer.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { must } from '../../assert.ts'
import type { Clock } from '../../clock/types.ts'
import {
  FOREIGN_POLL_BUSY_MS,
  FOREIGN_POLL_IDLE_MS,
  HOLDS_DELAY_MS,
  RELAY_MARKS_MAX,
  RELAY_PATIENCE_MS,
  RELAY_SETTLE_MS,
} from '../../limits.ts'
import type { CommitNotice, ReplicaStore, ShardState } from '../../store/types.ts'
import { stateOrNull } from '../driver.ts'
import type { PullSession, SendSession, Unacked } from '../session-types.ts'
import type { ActorId, VersionVector } from '../types.ts'
import { dominates, EMPTY_VECTOR, joinVectors } from '../version-vector.ts'
import type { Running } from './session-runner.ts'

/** How many times longer the first relay of somebody's writes to a peer waits: it may be about to get them elsewhere. */
const RELAY_LEARN_FACTOR = 5

/** How late a timer is in a process with time to spare, in milliseconds. */
const TIMER_SLACK_MS = 2

/** What a hub works with. */
export interface HubSetup {
  readonly store: ReplicaStore
  readonly clock: Clock
  readonly relayDelayMs: number
  readonly checkIntervalMs: number
  /** Called with a failure of the store that no caller waits for. */
  readonly onError: (error: unknown) => void
}

/** The live sessions with one peer about one shard. */
interface Link {
  sender: Running | null
  puller: Running | null
  /** Of whose writes the peer lacks some, up to where it has them, and since when it got none of them. */
  readonly lacking: Map<ActorId, { readonly counter: number; readonly sinceMs: number }>
  /** The oldest frame that the peer has not acknowledged, and since when it is the oldest. */
  oldest: { readonly frame: Unacked; readonly sinceMs: number } | null
  /** What HOLDS had told its sender when it was looked at last. */
  heard: VersionVector
  /** Whose writes the peer gets by another way, too. */
  readonly served: Set<ActorId>
  /** When the peer first lacked something of an actor: until it had time to show another way, that is not known. */
  readonly met: Map<ActorId, number>
  /** Whether we began one of the sessions: then the regular check is ours to make. */
  isOurs: boolean
  /** The newest CAUGHT_UP that the peer sent. */
  caughtUp: object | null
}

interface LiveShard {
  readonly shardId: string
  readonly links: Map<string, Link>
  /** Heads of the feed, and when they were reached: what came by a peer and may have to be relayed. */
  readonly marks: { readonly dueMs: number; head: number }[]
  wrote: boolean
  announcing: boolean
  relaying: boolean
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
  #lateMs = 0
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
      this.#noteUnacked(session, shardId)
    } else if (placed !== undefined) this.#heardOf(session, placed)
  }

  #noteUnacked({ peer, unacked }: SendSession, shardId: string): void {
    const link = this.#shards.get(shardId)?.links.get(peer)
    const [frame] = unacked
    if (link === undefined || link.oldest?.frame === frame) return
    link.oldest = frame === undefined ? null : { frame, sinceMs: this.#setup.clock.monotonicMs() }
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
    if (shard.links.size === 0) this.#shards.delete(shardId)
  }

  /** The live session with the peer about the shard in this role, or null. */
  find(shardId: string, peer: string, role: 'sender' | 'puller'): Running | null {
    return this.#shards.get(shardId)?.links.get(peer)?.[role] ?? null
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

  /** A peer that says what it has may lack something, or have missed to be told: looked at once things settle. */
  #heardOf({ peer, caughtUp, cursor, complete }: PullSession, shardId: string): void {
    const shard = this.#shards.get(shardId)
    const link = shard?.links.get(peer)
    if (shard === undefined || link === undefined || !complete || link.caughtUp === caughtUp) return
    link.caughtUp = caughtUp
    this.#mark(shard, cursor)
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

  #committed({ shardId, head }: CommitNotice): void {
    const shard = this.#shards.get(shardId)
    if (shard === undefined) return
    if (!this.#isApplying) {
      shard.wrote = true
      this.#flushSoon()
    }
    const isRelayed = this.#isApplying || this.#isPoll
    if (isRelayed) this.#mark(shard, head)
    // Our own writes need no announcement where they are pushed.
    if (isRelayed || !isPushedToAll(shard)) this.#announceSoon(shard)
  }

  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    void this.#flushNextTurn()
  }

  async #flushNextTurn(): Promise<void> {
    await nextTurn()
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

  /** Tells each peer what we hold by now, unless it knows. */
  #announce(shard: LiveShard): void {
    const state = this.#state(shard)
    if (state === null) return
    for (const { puller, sender } of shard.links.values()) {
      const session = puller?.session
      if (session?.role !== 'puller') continue
      const news = newsFor(session, sender?.session as SendSession | undefined, state)
      if (news.size > 0) puller?.tell({ type: 'moved', versionVector: news })
    }
  }

  #mark(shard: LiveShard, head: number): void {
    const { clock, relayDelayMs } = this.#setup
    // A busy process hears late of what peers got elsewhere: as late as its timers are, several times over.
    const busyMs = Math.min(RELAY_PATIENCE_MS, 4 * this.#lateMs)
    const dueMs = clock.monotonicMs() + relayDelayMs + busyMs
    const last = shard.marks.at(-1)
    // Marks that lie close together are one: the look at every peer is not free.
    const isOne = last !== undefined && dueMs - last.dueMs < HOLDS_DELAY_MS
    if (last !== undefined && (isOne || shard.marks.length >= RELAY_MARKS_MAX)) last.head = head
    else shard.marks.push({ dueMs, head })
    this.#relaySoon(shard)
  }

  #relaySoon(shard: LiveShard): void {
    const [first] = shard.marks
    if (shard.relaying || first === undefined) return
    shard.relaying = true
    this.#later(Math.max(1, first.dueMs - this.#setup.clock.monotonicMs()), () => {
      shard.relaying = false
      this.#noteLateness(first.dueMs)
      this.#relay(shard)
    })
  }

  /** Moving average of how late timers are. */
  #noteLateness(dueMs: number): void {
    const lateMs = Math.max(0, this.#setup.clock.monotonicMs() - dueMs - TIMER_SLACK_MS)
    this.#lateMs += (lateMs - this.#lateMs) / 4
  }

  /** Has senders pass on what has waited long enough. */
  #relay(shard: LiveShard): void {
    const nowMs = this.#setup.clock.monotonicMs()
    let until = 0
    while (shard.marks[0] !== undefined && shard.marks[0].dueMs <= nowMs) {
      until = must(shard.marks.shift(), 'a mark that is due').head
    }
    const state = this.#state(shard)
    if (state === null) return
    let isUnfinished = false
    for (const link of shard.links.values()) {
      if (this.#relayTo(link, state, until, nowMs)) isUnfinished = true
    }
    if (isUnfinished && shard.marks.length === 0) this.#mark(shard, state.head)
    this.#relaySoon(shard)
  }

  /** Has one peer's sender pass things on; true when the peer still lacks something that it can be sent. */
  #relayTo(link: Link, state: ShardState, until: number, nowMs: number): boolean {
    const { sender, puller } = link
    if (sender === null || sender.session.role !== 'sender') return false
    const theirs = puller?.session.role === 'puller' ? puller.session.theirs : null
    if (theirs !== null && !dominates(sender.session.known, theirs)) {
      sender.tell({ type: 'holds', versionVector: theirs })
    }
    const { known, said, sentThrough, unacked, complete } = sender.session
    const hasAll = dominates(known, state.versionVector) && state.settled
    // The vector may move while the feed does not: at the end of another transfer. That is to be said, too.
    const isSaid = dominates(joinVectors(known, said), state.versionVector)
    const isSent = sentThrough >= state.head && unacked.length === 0 && complete && isSaid
    if (hasAll || isSent) {
      link.lacking.clear()
      return false
    }
    const stuckMs = nowMs - stuckSince(link.lacking, known, state.versionVector, nowMs)
    noteServed(link.served, sender.session.heard, link.heard, theirs, state.versionVector)
    link.heard = sender.session.heard
    // Our own writes are pushed: that the last of them are on their way is no reason to relay those of others.
    const isPushing = sender.session.own !== null && unacked.length > 0
    const own = isPushing ? sender.session.actor : null
    if (isServed(link, own)) {
      // The way by which it gets these is open, as far as we know: what it lacks of them may come by it.
      if (stuckMs < RELAY_PATIENCE_MS) return true
      link.served.clear()
    }
    if (isUnknown(link, own, nowMs, RELAY_LEARN_FACTOR * this.#setup.relayDelayMs)) return true
    // Where commits never pause, the head is never reached by what has waited: then all of it goes.
    if (stuckMs >= RELAY_SETTLE_MS) {
      link.lacking.clear()
      sender.tell({ type: 'committed' })
    } else if (isDigesting(link, nowMs, this.#setup.relayDelayMs)) {
      // A peer that is slow to take what we write is slow to take what others do, and to say so.
      return true
    } else if (until > 0) {
      sender.tell({ type: 'relay', until })
    }
    return true
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

  #state({ shardId, links }: LiveShard): ShardState | null {
    return links.size === 0 ? null : stateOrNull(this.#setup.store, shardId)
  }

  #later(delayMs: number, callback: () => void): void {
    const cancel = this.#setup.clock.schedule(delayMs, () => {
      this.#cancels.delete(cancel)
      if (!this.#closed) this.#guarded(callback)
    })
    this.#cancels.add(cancel)
  }

  /** The store may be closed or its disk may fail while nobody waits for us: the owner is told. */
  #guarded(fn: () => void): void {
    try {
      fn()
    } catch (error) {
      this.#setup.onError(error)
    }
  }
}

function newLink(): Link {
  return {
    sender: null,
    puller: null,
    lacking: new Map(),
    oldest: null,
    heard: EMPTY_VECTOR,
    served: new Set(),
    met: new Map(),
    isOurs: false,
    caughtUp: null,
  }
}

/** Whether every peer of the shard is sent our own writes as they are made. */
function isPushedToAll({ links }: LiveShard): boolean {
  for (const { sender } of links.values()) {
    if (sender?.session.role !== 'sender' || sender.session.own === null) return false
  }
  return true
}

function newShard(shardId: string): LiveShard {
  return {
    shardId,
    links: new Map(),
    marks: [],
    wrote: false,
    announcing: false,
    relaying: false,
  }
}

/** What we hold and the sender at the other end has not heard of. */
function newsFor(
  { told }: PullSession,
  ours: SendSession | undefined,
  { versionVector }: ShardState,
): VersionVector {
  const news = new Map<ActorId, number>()
  for (const [actor, counter] of versionVector) {
    // What we write ourselves is pushed to that peer: it need not be told first.
    const isPushed = ours?.actor === actor && ours.own !== null
    if (counter > (told.get(actor) ?? 0) && !isPushed) news.set(actor, counter)
  }
  return news
}

/**
 * Since when the peer has got nothing of the writes of somebody of whose writes it lacks some: the longest such time
 * counts, and any progress with an actor's writes begins it anew.
 */
function stuckSince(
  lacking: Link['lacking'],
  known: VersionVector,
  ours: VersionVector,
  nowMs: number,
): number {
  let since = nowMs
  for (const [actor, counter] of ours) {
    const theirs = known.get(actor) ?? 0
    if (theirs >= counter) {
      lacking.delete(actor)
      continue
    }
    const before = lacking.get(actor)
    if (before?.counter === theirs) since = Math.min(since, before.sinceMs)
    else lacking.set(actor, { counter: theirs, sinceMs: nowMs })
  }
  return since
}

/** Whether it is not known yet by which way the peer gets any of what it lacks that it is not known to get elsewhere. */
function isUnknown(
  { lacking, served, met }: Link,
  own: ActorId | null,
  nowMs: number,
  learnMs: number,
): boolean {
  let isAnyNew = false
  for (const actor of lacking.keys()) {
    if (actor === own || served.has(actor)) continue
    const sinceMs = met.get(actor)
    if (sinceMs === undefined) met.set(actor, nowMs)
    else if (nowMs - sinceMs >= learnMs) return false
    isAnyNew = true
  }
  return isAnyNew
}

/** Whether the peer has had a frame of ours for longer than a relay waits, and has not acknowledged it. */
function isDigesting({ oldest }: Link, nowMs: number, relayDelayMs: number): boolean {
  return oldest !== null && nowMs - oldest.sinceMs > relayDelayMs
}

/** Notes whose writes the peer heard of from others since we looked last, of those that we have too. */
function noteServed(
  served: Set<ActorId>,
  heard: VersionVector,
  before: VersionVector,
  theirs: VersionVector | null,
  ours: VersionVector,
): void {
  if (heard === before) return
  for (const [actor, counter] of heard) {
    if (counter <= (before.get(actor) ?? 0) || counter <= (theirs?.get(actor) ?? 0)) continue
    if (counter <= (ours.get(actor) ?? 0)) served.add(actor)
  }
}

/** Whether all that the peer lacks was written by those whose writes it gets from others, or by us. */
function isServed({ lacking, served }: Link, own: ActorId | null): boolean {
  for (const actor of lacking.keys()) {
    if (actor !== own && !served.has(actor)) return false
  }
  return true
}
