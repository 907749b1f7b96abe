/**
 * The peers that a coordinator knows, kept in the database. A write follows the change at the next
 * turn of the event loop, many changes in one; `flush` makes it at once.
 *
 * Not here: talking to them. A status given at registration is replaced by the one observed.
 */
import { turns } from '#platform'

import type { Clock } from '../../clock/types.ts'
import type { PeerAddress } from '../../transport/types.ts'
import { PEER_SILENT_MS, REPLICA_RETENTION_DAYS } from '../../limits.ts'
import type { SyncTotals } from './statistics.ts'
import { type ReplicaStore } from '../../store/replica/types.ts'

/**
 * `online` and `offline`: as the newest contact showed, or as it was registered before the first.
 * `silent`: not heard of for a minute. `set-aside`: not heard of for `replicaRetentionMs`: it
 * holds no tombstones back, and is dialled only where it was registered.
 */
export type PeerStatus = 'online' | 'offline' | 'silent' | 'set-aside'

/** A peer as a caller registers it. */
export interface PeerInput {
  /** The peer's name; one peer per name. */
  readonly nodeId: string
  /** The address that the peer listens on, `host:port`. */
  readonly address: PeerAddress
  /** Shards to sync with it. @defaultValue every shard that is here */
  readonly shards?: readonly string[]
  /** Assumed until the peer is reached. @defaultValue `'offline'` */
  readonly status?: 'online' | 'offline'
}

/** A peer as the coordinator knows it. */
export interface PeerState {
  readonly nodeId: string
  readonly address: PeerAddress
  /** null: every shard that is here. */
  readonly shards: readonly string[] | null
  readonly status: PeerStatus
  /** Fingerprint; null before the first contact. */
  readonly peer: string | null
  /** Milliseconds since 1970; null before the first contact. */
  readonly lastSeenMs: number | null
  /** Of the newest health check that reached it. */
  readonly rttMs: number | null
  /** Registered here by a caller, or introduced by another peer. */
  readonly source: PeerSource
}

/** How a coordinator came to know a peer. */
export type PeerSource = 'registered' | 'introduced'

/** A node that others introduced. */
export interface IntroducedPeer {
  readonly nodeId: string
  readonly address: PeerAddress
  /** Fingerprint. */
  readonly peer: string
}

interface Entry {
  nodeId: string
  address: PeerAddress
  shards: readonly string[] | null
  status: 'online' | 'offline'
  peer: string | null
  lastSeenMs: number | null
  rttMs: number | null
  source: PeerSource
}

interface Saved {
  readonly version: 1
  readonly peers: readonly Entry[]
  readonly totals: Partial<SyncTotals>
}

const KEY = 'coordinator'

/** See the head of this file. */
export class PeerBook {
  readonly #store: ReplicaStore
  readonly #clock: Clock
  readonly #totals: () => SyncTotals
  readonly #retentionMs: number
  readonly #peers = new Map<string, Entry>()
  /** Sums of earlier runs. */
  readonly totalsBefore: Partial<SyncTotals>
  #isDirty = false
  #isSaving = false

  constructor(
    store: ReplicaStore,
    clock: Clock,
    totals: () => SyncTotals,
    retentionMs: number = REPLICA_RETENTION_DAYS * 86_400_000,
  ) {
    this.#store = store
    this.#clock = clock
    this.#totals = totals
    this.#retentionMs = retentionMs
    const text = store.syncState(KEY)
    const saved = text === null ? null : (JSON.parse(text) as Saved)
    this.totalsBefore = saved?.totals ?? {}
    for (const peer of saved?.peers ?? []) {
      // Files of earlier releases knew no other source.
      this.#peers.set(peer.nodeId, { ...peer, source: peer.source ?? 'registered' })
    }
  }

  /** Adds the peer, or changes where it is and what is synced with it. */
  put({ nodeId, address, shards, status }: PeerInput): void {
    const known = this.#peers.get(nodeId)
    const isSamePlace = known?.address === address
    this.#peers.set(nodeId, {
      nodeId,
      address,
      shards: shards === undefined ? null : [...new Set(shards)],
      status: isSamePlace ? known.status : (status ?? 'offline'),
      peer: isSamePlace ? known.peer : null,
      lastSeenMs: isSamePlace ? known.lastSeenMs : null,
      rttMs: isSamePlace ? known.rttMs : null,
      source: 'registered',
    })
    this.touch()
  }

  /** A node that we trust was introduced, or has another address now. */
  introduce({ nodeId, address, peer }: IntroducedPeer): void {
    const known = this.#peers.get(nodeId)
    if (known?.address === address) return
    const contact = known ?? { lastSeenMs: null, rttMs: null }
    this.#peers.set(nodeId, {
      nodeId,
      address,
      shards: null,
      status: 'offline',
      peer,
      lastSeenMs: contact.lastSeenMs,
      rttMs: contact.rttMs,
      source: 'introduced',
    })
    this.touch()
  }

  remove(nodeId: string): boolean {
    const removed = this.#peers.delete(nodeId)
    if (removed) this.touch()
    return removed
  }

  get(nodeId: string): PeerState | null {
    const entry = this.#peers.get(nodeId)
    return entry === undefined ? null : this.#stateOf(entry)
  }

  list(): readonly PeerState[] {
    return [...this.#peers.values()].map((entry) => this.#stateOf(entry))
  }

  /** The peer answered. */
  seen(nodeId: string, contact: { readonly peer?: string; readonly rttMs?: number }): void {
    const entry = this.#peers.get(nodeId)
    if (entry === undefined) return
    entry.status = 'online'
    entry.lastSeenMs = this.#clock.nowMs()
    if (contact.peer !== undefined) entry.peer = contact.peer
    if (contact.rttMs !== undefined) entry.rttMs = contact.rttMs
    this.touch()
  }

  /** The peer did not answer. */
  missed(nodeId: string): void {
    const entry = this.#peers.get(nodeId)
    if (entry === undefined || entry.status === 'offline') return
    entry.status = 'offline'
    this.touch()
  }

  /** Something that is kept has changed. */
  touch(): void {
    this.#isDirty = true
    if (this.#isSaving) return
    this.#isSaving = true
    void this.#saveSoon()
  }

  /** Writes what has changed, now. */
  flush(): void {
    if (!this.#isDirty) return
    const saved: Saved = { version: 1, peers: [...this.#peers.values()], totals: this.#totals() }
    this.#store.saveSyncState(KEY, JSON.stringify(saved))
    this.#isDirty = false
  }

  async #saveSoon(): Promise<void> {
    await turns.next()
    this.#isSaving = false
    this.flush()
  }

  #stateOf(entry: Entry): PeerState {
    return { ...entry, status: this.#statusOf(entry) }
  }

  #statusOf({ status, lastSeenMs }: Entry): PeerStatus {
    if (lastSeenMs === null || status === 'online') return status
    const silentMs = this.#clock.nowMs() - lastSeenMs
    if (silentMs >= this.#retentionMs) return 'set-aside'
    return silentMs >= PEER_SILENT_MS ? 'silent' : status
  }
}
