/**
 * The hub's state of a shard and its peers, as data, and the questions it answers.
 *
 * Not here: when anything happens (live-hub.ts). Invariant: a link without sessions is not kept.
 */
import { SOURCES_MAX } from '../../limits.ts'
import { stateOrNull } from '../session/driver.ts'
import type { PullSession, SendSession } from '../session/types.ts'
import type { ActorId, VersionVector } from '../../model/types.ts'
import { EMPTY_VECTOR } from '../../model/version-vector.ts'
import { NO_PROGRESS, type Progress, type RelayNode } from './relay-rules.ts'
import { type ReplicaStore } from '../../store/replica/types.ts'
import { type ShardState } from '../../model/records.ts'
import { type Running } from '../session/types.ts'

/** The live sessions with one peer about one shard. */
export interface Link {
  sender: Running | null
  puller: Running | null
  /** How the peer fared when it was looked at last. */
  progress: Progress
  /** True when we began one of the sessions: the regular check is ours to make then. */
  isOurs: boolean
  /** The newest CAUGHT_UP that the peer sent. */
  caughtUp: object | null
  /** Which of our sources the peer was told, and by which session. */
  told: { readonly puller: Running; readonly sources: readonly ActorId[] } | null
}

/** Phases in which a sender serves its peer. */
const SENDING: ReadonlySet<SendSession['phase']> = new Set([
  'reading',
  'pushing',
  'waiting',
  'caughtUp',
])

/** A shard with live sessions. */
export interface LiveShard {
  readonly shardId: string
  readonly links: Map<string, Link>
  /** Actors whose feeds we follow live, in order; the same object while they stay the same. */
  sources: readonly ActorId[]
  /** True when writes of our own wait to be pushed. */
  wrote: boolean
  announcing: boolean
  /** When it was last decided about relays, and when it will be next. */
  lookedMs: number
  look: { readonly dueMs: number; readonly cancel: () => void } | null
}

export function newShard(shardId: string): LiveShard {
  return {
    shardId,
    links: new Map(),
    sources: [],
    wrote: false,
    announcing: false,
    lookedMs: -Infinity,
    look: null,
  }
}

export function newLink(): Link {
  return {
    sender: null,
    puller: null,
    progress: NO_PROGRESS,
    isOurs: false,
    caughtUp: null,
    told: null,
  }
}

/** The session that sends to the peer, once it was welcomed and as long as it lasts. */
export function senderOf({ sender }: Link): SendSession | null {
  if (sender?.session.role !== 'sender') return null
  return SENDING.has(sender.session.phase) ? sender.session : null
}

export function pullerOf({ puller }: Link): PullSession | null {
  return puller?.session.role === 'puller' ? puller.session : null
}

/** The shard's present state; null without a live session, or without the shard. */
export function stateOf({ shardId, links }: LiveShard, store: ReplicaStore): ShardState | null {
  return links.size === 0 ? null : stateOrNull(store, shardId)
}

/** True when every peer of the shard is sent our own writes as they are made. */
export function isPushedToAll({ links }: LiveShard): boolean {
  for (const link of links.values()) {
    const sender = senderOf(link)
    if (sender === null || sender.own === null) return false
  }
  return true
}

/** Actors whose feeds we follow: each pushes its own writes to us once it has caught us up. */
export function sourcesOf({ links }: LiveShard): readonly ActorId[] {
  const actors = new Set<ActorId>()
  for (const link of links.values()) {
    const puller = pullerOf(link)
    if (puller?.complete === true && puller.peerActor !== null) actors.add(puller.peerActor)
  }
  return [...actors].toSorted().slice(0, SOURCES_MAX)
}

/** Entries of our vector that the sender at the other end was not told. */
export function newsFor(
  { advertised }: PullSession,
  ours: SendSession | null,
  { versionVector }: ShardState,
): VersionVector {
  const news = new Map<ActorId, number>()
  for (const [actor, counter] of versionVector) {
    // Our own writes are pushed to that peer, so they need no announcement.
    const isPushed = ours?.actor === actor && ours.own !== null
    if (counter > (advertised.get(actor) ?? 0) && !isPushed) news.set(actor, counter)
  }
  return news
}

/** The peer, as the rules of relays see it. */
export function relayNodeOf(link: Link): RelayNode {
  const [sender, puller] = [senderOf(link), pullerOf(link)]
  const sources = sender?.sources ?? null
  return {
    actor: sender?.peerActor ?? puller?.peerActor ?? null,
    offers: puller?.peerVector ?? EMPTY_VECTOR,
    sources: sources === null ? null : new Set(sources),
  }
}
