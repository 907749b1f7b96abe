/**
 * The nodes that this one has heard of, each by its own newest signed record, kept in the database.
 *
 * Not here: checking records and passing them on (membership.ts), and dialling (coordinator.ts). A
 * record in the book has been checked. Invariants: per node the record with the largest sequence
 * counts; at most MEMBERS_MAX nodes, of which at most MEMBERS_UNTRUSTED_MAX that we do not trust:
 * anyone can generate keys.
 */
import { bytesToBase64, base64ToBytes } from '../../bytes.ts'
import type { Clock } from '../../clock/types.ts'
import {
  MEMBER_SILENT_MS,
  MEMBERS_MAX,
  MEMBERS_UNTRUSTED_MAX,
  REPLICA_RETENTION_DAYS,
} from '../../limits.ts'
import type { PeerAddress } from '../../transport/types.ts'
import { decodeRecord, decodeStatement, type PeerStatement } from '../wire/peer-record.ts'
import { type ReplicaStore } from '../../store/replica/types.ts'

/**
 * `online`, `offline` (closed, and may come back) and `left` as the node said itself; `silent`: not
 * heard of for a quarter of an hour; `set-aside`: not heard of for `replicaRetentionMs`.
 */
export type MemberStatus = 'online' | 'offline' | 'left' | 'silent' | 'set-aside'

/** A node that has introduced itself, or was introduced. */
export interface Member {
  /** Fingerprint. */
  readonly peer: string
  /** The name that it gives itself; a claim, as names are. */
  readonly nodeId: string
  /** The address that it says it listens on; null when it cannot be dialled. */
  readonly address: PeerAddress | null
  readonly status: MemberStatus
  /** True when we trust it: an introduction creates no trust. */
  readonly trusted: boolean
  /** Fingerprint of the peer that passed its newest record on; its own when it came itself. */
  readonly introducedBy: string
  /** Milliseconds since 1970. */
  readonly lastHeardMs: number
}

/** A record that was checked. */
export interface CheckedRecord {
  readonly peer: string
  readonly bytes: Uint8Array
  readonly statement: PeerStatement
  readonly trusted: boolean
}

interface Entry extends Omit<CheckedRecord, 'trusted'> {
  trusted: boolean
  readonly introducedBy: string
  heardMs: number
}

interface Saved {
  readonly version: 1
  readonly sequence: number
  readonly members: readonly {
    readonly peer: string
    readonly record: string
    readonly introducedBy: string
    readonly heardMs: number
    readonly trusted: boolean
  }[]
}

const KEY = 'members'
const SAVE_DELAY_MS = 1_000

/** See the head of this file. */
export class MemberBook {
  readonly #store: ReplicaStore
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #retentionMs: number
  readonly #entries = new Map<string, Entry>()
  #sequence = 0
  #isDirty = false
  #cancelSave: (() => void) | null = null

  constructor(
    store: ReplicaStore,
    clock: Clock,
    onError: (error: unknown) => void,
    retentionMs: number = REPLICA_RETENTION_DAYS * 86_400_000,
  ) {
    this.#store = store
    this.#clock = clock
    this.#onError = onError
    this.#retentionMs = retentionMs
    const text = store.syncState(KEY)
    if (text !== null) this.#restore(JSON.parse(text) as Saved)
  }

  /** A sequence for our own next record, above every one before. */
  nextSequence(): number {
    this.#sequence = Math.max(this.#sequence + 1, this.#clock.nowMs())
    this.#touch()
    return this.#sequence
  }

  /** A peer showed a record of ours: from a file that was set back since. Ours goes above it. */
  raiseSequence(sequence: number): boolean {
    if (sequence <= this.#sequence) return false
    this.#sequence = sequence
    this.#touch()
    return true
  }

  sequenceOf(peer: string): number {
    return this.#entries.get(peer)?.statement.sequence ?? -1
  }

  get(peer: string): Member | null {
    const entry = this.#entries.get(peer)
    return entry === undefined ? null : this.#memberOf(entry)
  }

  list(): readonly Member[] {
    return [...this.#entries.values()].map((entry) => this.#memberOf(entry))
  }

  /** The record of a node, as it signed it. */
  record(peer: string): CheckedRecord | null {
    return this.#entries.get(peer) ?? null
  }

  /** Every record that is still passed on: those of nodes that were set aside are not. */
  records(): readonly CheckedRecord[] {
    return [...this.#entries.values()].filter(
      (entry) => this.#clock.nowMs() - entry.heardMs < this.#retentionMs,
    )
  }

  /** Takes a record newer than the one here; false for an older one, and when the book is full. */
  put(record: CheckedRecord, introducedBy: string): boolean {
    const known = this.#entries.get(record.peer)
    if (known !== undefined && known.statement.sequence >= record.statement.sequence) return false
    if (known === undefined && !this.#makeRoom(record.trusted)) return false
    this.#entries.set(record.peer, { ...record, introducedBy, heardMs: this.#clock.nowMs() })
    this.#touch()
    this.#attempt(() => {
      this.#store.notePeerLeft(record.peer, record.statement.status === 'left')
    })
    return true
  }

  /** Checks trust again; returns the peers whose trust changed. */
  judge(isTrusted: (certificate: Uint8Array) => boolean): readonly string[] {
    const changed: string[] = []
    for (const entry of this.#entries.values()) {
      const trusted = isTrusted(decodeRecord(entry.bytes).certificate)
      if (trusted === entry.trusted) continue
      entry.trusted = trusted
      changed.push(entry.peer)
    }
    if (changed.length > 0) this.#touch()
    return changed
  }

  /** The node itself is connected. */
  heard(peer: string): void {
    const entry = this.#entries.get(peer)
    if (entry === undefined) return
    entry.heardMs = this.#clock.nowMs()
    this.#touch()
  }

  /** Writes what has changed, now; a failure is told. */
  flush(): void {
    this.#cancelSave?.()
    this.#cancelSave = null
    if (this.#isDirty) this.#attempt(() => this.#save())
  }

  /** Writes have no caller that waits: the owner is told of a failure. */
  #attempt(task: () => void): void {
    try {
      task()
    } catch (error) {
      this.#onError(error)
    }
  }

  #save(): void {
    const saved: Saved = {
      version: 1,
      sequence: this.#sequence,
      members: [...this.#entries.values()].map(
        ({ peer, bytes, introducedBy, heardMs, trusted }) => ({
          peer,
          record: bytesToBase64(bytes),
          introducedBy,
          heardMs,
          trusted,
        }),
      ),
    }
    this.#store.saveSyncState(KEY, JSON.stringify(saved))
    this.#isDirty = false
  }

  #restore({ sequence, members }: Saved): void {
    this.#sequence = sequence
    for (const { peer, record, introducedBy, heardMs, trusted } of members) {
      const bytes = base64ToBytes(record)
      const statement = decodeStatement(decodeRecord(bytes).statement)
      this.#entries.set(peer, { peer, bytes, statement, trusted, introducedBy, heardMs })
    }
  }

  /** Drops the one that was not heard of for longest, of those that count for less. */
  #makeRoom(isTrusted: boolean): boolean {
    const all = [...this.#entries.values()]
    const untrusted = all.filter(({ trusted }) => !trusted)
    const isFull = all.length >= MEMBERS_MAX
    if (!isFull && (isTrusted || untrusted.length < MEMBERS_UNTRUSTED_MAX)) return true
    const gone = all.filter((entry) => this.#memberOf(entry).status === 'set-aside')
    const candidates = untrusted.length > 0 ? untrusted : gone
    const [first, ...rest] = candidates
    if (first === undefined) return false
    const oldest = rest.reduce((a, b) => (b.heardMs < a.heardMs ? b : a), first)
    return this.#entries.delete(oldest.peer)
  }

  #memberOf({ peer, statement, trusted, introducedBy, heardMs }: Entry): Member {
    const { nodeId, address, status } = statement
    const silentMs = this.#clock.nowMs() - heardMs
    return {
      peer,
      nodeId,
      address,
      status: statusOf(status, silentMs, this.#retentionMs),
      trusted,
      introducedBy,
      lastHeardMs: heardMs,
    }
  }

  #touch(): void {
    this.#isDirty = true
    this.#cancelSave ??= this.#clock.schedule(SAVE_DELAY_MS, () => this.flush())
  }
}

function statusOf(
  said: PeerStatement['status'],
  silentMs: number,
  retentionMs: number,
): MemberStatus {
  if (said === 'left') return 'left'
  if (silentMs >= retentionMs) return 'set-aside'
  if (said === 'offline') return 'offline'
  return silentMs >= MEMBER_SILENT_MS ? 'silent' : 'online'
}
