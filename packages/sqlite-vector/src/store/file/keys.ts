/**
 * The small integers that stand for actors and peers in the tables, and the notes of pulled
 * cursors, cached per connection.
 *
 * Not here: the transactions around them (transaction.ts). Invariant: a cached key is in the file;
 * after a rollback {@link FileKeys.forget} drops the cache, because the transaction may have made
 * keys that are gone.
 */
import { stored } from './damage.ts'
import { must } from '../../assert.ts'
import { bytesToHex, hexToBytes } from '../../bytes.ts'
import type { ActorId } from '../../model/types.ts'
import type { Statements } from './statements.ts'

/** The cursor in a peer's feed, and when it was written down. */
export interface PulledNote {
  readonly logId: string
  readonly cursor: number
  readonly atMs: number
}

/** The keys of one open file. */
export class FileKeys {
  readonly #sql: Statements
  #actorByKey = new Map<number, ActorId>()
  #keyByActor = new Map<ActorId, number>()
  #keyByPeer = new Map<string, number>()
  #pulledNoted = new Map<string, PulledNote>()

  constructor(sql: Statements) {
    this.#sql = sql
  }

  /** The key of `actor`, made when missing. Inside a write transaction only. */
  actorKey(actor: ActorId): number {
    const known = this.#keyByActor.get(actor)
    if (known !== undefined) return known
    const bytes = hexToBytes(actor)
    const row = this.#sql.findActor.get(bytes) ?? this.#sql.addActor.get(bytes)
    const key = Number(must(row, 'an actor row')['actor'])
    this.#remember(key, actor)
    return key
  }

  /** The actor behind `key`. */
  actorOf(key: number): ActorId {
    const known = this.#actorByKey.get(key)
    if (known !== undefined) return known
    const row = stored(this.#sql.getActor.get(key), `actor ${key} is missing`)
    const actor = bytesToHex(row['actor_id'] as Uint8Array)
    this.#remember(key, actor)
    return actor
  }

  /**
   * The key of a peer's certificate fingerprint, made when missing. Inside a write transaction
   * only.
   */
  peerKey(fingerprint: string): number {
    const known = this.#keyByPeer.get(fingerprint)
    if (known !== undefined) return known
    const key = Number(must(this.#sql.addPeer.get(fingerprint), 'a row of peers')['peer'])
    this.#keyByPeer.set(fingerprint, key)
    return key
  }

  /**
   * The cursor that this connection last noted for a peer's feed of the shard, unless that was
   * undone.
   */
  pulledNote(peer: number, shard: number): PulledNote | undefined {
    return this.#pulledNoted.get(`${peer} ${shard}`)
  }

  /** Remembers a note that the running transaction writes. */
  notePulled(peer: number, shard: number, note: PulledNote): void {
    this.#pulledNoted.set(`${peer} ${shard}`, note)
  }

  /** Drops the notes: under a new identity some cursors start again. */
  forgetPulled(): void {
    this.#pulledNoted = new Map()
  }

  /** Drops everything; the rolled-back transaction may have made it. */
  forget(): void {
    this.#actorByKey = new Map()
    this.#keyByActor = new Map()
    this.#keyByPeer = new Map()
    this.#pulledNoted = new Map()
  }

  #remember(key: number, actor: ActorId): void {
    this.#actorByKey.set(key, actor)
    this.#keyByActor.set(actor, key)
  }
}
