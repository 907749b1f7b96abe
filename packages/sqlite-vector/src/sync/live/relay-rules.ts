/**
 * When a node passes on to a peer what others wrote. Pure: what is known goes in, what to do comes
 * out.
 *
 * Every node sends its own writes itself, at once. The feeds that a peer follows decide how it gets
 * what it lacks:
 *
 *   the actor itself       it is on its way: left to the actor, unless none of it comes for
 *                          RELAY_PATIENCE_MS, or twice as long as it took lately (on a busy machine
 *                          all is late, and relays would make it later); and while the peer is slow
 *                          to take our writes, as it is then as slow to take those of others
 *   others, nearer to it   one relay is enough: each of them comes first, by `relayDelayMs`
 *   no other so near       only we bring it: it goes at once
 *   it has not said        others have `relayDelayMs` to be first
 *
 * Passing on takes all that the peer is not known to hold, so it waits `relayDelayMs` for what is
 * about to come by itself. Progress meanwhile restarts the wait, per actor: a route that works is
 * not overtaken.
 *
 * Not here: reading, sending, and what a frame carries (session/sender.ts); timers (live-hub.ts).
 * Invariant: a peer that takes what it is sent is passed all that it lacks after
 * RELAY_PATIENCE_MS_MAX at the latest, whatever peers say.
 */
import { PUSHES_UNACKED_MAX, RELAY_PATIENCE_MS, RELAY_PATIENCE_MS_MAX } from '../../limits.ts'
import type { SendSession } from '../session/types.ts'
import type { ActorId, VersionVector } from '../../model/types.ts'
import { dominates, joinVectors } from '../../model/version-vector.ts'
import { type ShardState } from '../../model/records.ts'

/** A peer, as far as we know. */
export interface RelayNode {
  /** null: not known yet. */
  readonly actor: ActorId | null
  /** The vector that its CAUGHT_UP and PUSH have offered us. */
  readonly offers: VersionVector
  /** Actors whose feeds it follows; null before it has said so. */
  readonly sources: ReadonlySet<ActorId> | null
}

/** How far a peer has an actor's writes, and the time since when. */
export interface Lack {
  readonly counter: number
  readonly sinceMs: number
}

/** How a peer comes by what others write. */
export interface Progress {
  /** Of whose writes it lacks some. */
  readonly lacking: ReadonlyMap<ActorId, Lack>
  /** How long it takes, lately, until it has more of what it lacked. */
  readonly lagMs: number
}

/** The inputs of a decision about one peer. */
export interface RelayView {
  /** Ourselves: who we are, and whose feeds we follow. */
  readonly self: { readonly actor: ActorId | null; readonly sources: ReadonlySet<ActorId> }
  readonly peer: RelayNode
  /** All peers of ours, this one among them. */
  readonly peers: readonly RelayNode[]
  readonly progress: Progress
  /** True while it lets our own writes wait. */
  readonly isSlow: boolean
  readonly relayDelayMs: number
}

/** A decision: pass on now, look again then, or rest until an event. */
export type RelayDecision =
  | { readonly type: 'pass-on' }
  | { readonly type: 'wait'; readonly untilMs: number }
  | { readonly type: 'rest' }

/** Of a peer that was not looked at yet, or lacks nothing. */
export const NO_PROGRESS: Progress = { lacking: new Map(), lagMs: 0 }

/** How much a lag that is shorter than those before counts. */
const LAG_WEIGHT = 1 / 8

/** How a peer fares by now, given how it did when that was looked at last. */
export function progressOf(
  { lacking: before, lagMs: lagBefore }: Progress,
  theirs: VersionVector,
  ours: VersionVector,
  nowMs: number,
): Progress {
  const lacking = new Map<ActorId, Lack>()
  let lagMs = lagBefore
  for (const [actor, held] of ours) {
    const counter = theirs.get(actor) ?? 0
    const known = before.get(actor)
    if (known !== undefined && counter > known.counter) {
      const sampleMs = nowMs - known.sinceMs
      lagMs = Math.max(sampleMs, lagMs + (sampleMs - lagMs) * LAG_WEIGHT)
    }
    if (counter >= held) continue
    lacking.set(actor, known?.counter === counter ? known : { counter, sinceMs: nowMs })
  }
  return { lacking, lagMs }
}

/** It is passed on now: what comes of that says nothing about other ways. */
export function restartProgress({ lacking, lagMs }: Progress, nowMs: number): Progress {
  const anew = [...lacking].map(
    ([actor, { counter }]) => [actor, { counter, sinceMs: nowMs }] as const,
  )
  return { lacking: new Map(anew), lagMs }
}

/**
 * True when the peer was sent and told all that we have; it could not take the rest. A vector that
 * moved while the feed did not, as at the end of another transfer, must be announced, too.
 */
export function isFullyAnnounced(
  { known, announced, sentThrough }: SendSession,
  state: ShardState,
): boolean {
  return sentThrough >= state.head && dominates(joinVectors(known, announced), state.versionVector)
}

/**
 * One passing at a time: the next takes what came meanwhile, so batches grow as the peer is slower.
 */
export function isUnderWay({ phase, behind, unacked }: SendSession): boolean {
  const isAtRest = phase === 'caughtUp' || phase === 'pushing'
  return !isAtRest || behind === 'all' || unacked.some(({ caughtUp }) => caughtUp)
}

/** True when so many frames are unacknowledged that our own writes wait. */
export function isSlow({ unacked }: SendSession): boolean {
  return unacked.length >= PUSHES_UNACKED_MAX
}

/** Decides if what a peer lacks is passed on to it. */
export function decideRelay(view: RelayView, nowMs: number): RelayDecision {
  const { progress } = view
  const patienceMs = patienceOf(progress)
  const delayMs = Math.min(view.relayDelayMs, patienceMs)
  let untilMs = Infinity
  let comesByItself = false
  let firstMs = Infinity
  for (const [actor, { counter, sinceMs }] of progress.lacking) {
    const isFollowed = isFollowedBy(view, actor)
    if (!isFollowed) firstMs = Math.min(firstMs, sinceMs)
    // Our own writes are never sent twice: what is passed on leaves out what is pushed.
    else if (actor !== view.self.actor) comesByItself = true
    // A peer that is slow to take what we write is slow to take what others do.
    if (isFollowed && view.isSlow) continue
    const waitMs = isFollowed ? patienceMs : turnOf(view, actor, counter) * delayMs
    untilMs = Math.min(untilMs, sinceMs + Math.min(waitMs, patienceMs))
  }
  if (untilMs === Infinity) return { type: 'rest' }
  if (comesByItself && firstMs !== Infinity) untilMs = Math.max(untilMs, firstMs + delayMs)
  return nowMs >= untilMs ? { type: 'pass-on' } : { type: 'wait', untilMs }
}

/**
 * Twice as long as the peer takes when things go as they should: on a machine that is busy,
 * everything is late.
 */
function patienceOf({ lagMs }: Progress): number {
  return Math.min(Math.max(RELAY_PATIENCE_MS, 2 * lagMs), RELAY_PATIENCE_MS_MAX)
}

/** True when the actor itself sends the peer its writes, as we do. */
function isFollowedBy({ self, peer }: RelayView, actor: ActorId): boolean {
  return actor === self.actor || peer.sources?.has(actor) === true
}

/**
 * How many come before us to bring the peer this: those it follows that are nearer to the actor
 * than we are.
 */
function turnOf({ self, peer, peers }: RelayView, actor: ActorId, counter: number): number {
  const { sources } = peer
  if (sources === null) return 1
  const isNear = self.sources.has(actor)
  return peers.filter((other) => {
    if (other.actor === null || !sources.has(other.actor)) return false
    const isOtherNear = other.sources?.has(actor) === true
    // Of those who have it from the actor itself, every one knows the order.
    if (isNear) return isOtherNear && other.actor < (self.actor ?? '')
    return isOtherNear || (other.offers.get(actor) ?? 0) > counter
  }).length
}
