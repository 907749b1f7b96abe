/**
 * The replicated data model as plain types; imports types only.
 *
 * A record is a multi-value register: the set of writes that no other known write superseded (its
 * siblings, normally one) and a causal context. See DESIGN in ARCHITECTURE.md, and Preguiça et al.
 * 2010 / 2012, "Dotted Version Vectors".
 */
import type { Hlc } from '../clock/hlc.ts'

/** Writing identity of one database file: 16 random bytes as 32 lowercase hexadecimal digits. */
export type ActorId = string

/** Names one write of one shard: the actor and its number of the write, from 1. */
export interface Dot {
  readonly actor: ActorId
  readonly counter: number
}

/** Per actor, the highest counter covered. An absent actor counts as 0. */
export type VersionVector = ReadonlyMap<ActorId, number>

/** The value that a put wrote. */
export interface RecordValue {
  /**
   * `dimension` little-endian float32 components; null when left out of a delta (the peer has it).
   */
  readonly embedding: Float32Array | null
  /**
   * The write that brought the embedding: the sibling's own dot unless it changed metadata only.
   */
  readonly embeddingDot: Dot
  /** A JSON object as canonical text: the exact characters are what replicates. */
  readonly metadata: string
  readonly text: string | null
}

/** One write that no other known write superseded. `value` null is a delete (a tombstone). */
export interface Sibling {
  readonly dot: Dot
  readonly stamp: Hlc
  readonly value: RecordValue | null
}

/**
 * The replicated state of one record: what merges, and what travels.
 *
 * `siblings` is never empty and is sorted by dot (actor, then counter). `context` covers the dots
 * of all siblings and everything they superseded; null is short for "exactly the dots of the
 * siblings".
 */
export interface RecordState {
  readonly siblings: readonly Sibling[]
  readonly context: VersionVector | null
}

/** The latest state of one record as it travels. */
export interface Change extends RecordState {
  readonly id: string
}

/**
 * How the visible record is chosen from siblings; a pure view that never changes replicated state.
 */
export type ConflictStrategyName = 'last-write-wins' | 'first-write-wins' | 'merge' | 'manual'
