/**
 * Version vectors: which writes of which actors are covered.
 *
 * Parker et al. 1983, "Detection of Mutual Inconsistency in Distributed Systems". Pure functions
 * over immutable maps; a function that changes nothing returns its argument.
 *
 * Encoding, canonical (equal vectors give equal bytes), sorted by actor:
 *
 * | bytes | field   | encoding                                  |
 * | ----- | ------- | ----------------------------------------- |
 * | 1–5   | count   | varint (unsigned LEB128)                  |
 * | 16    | actor   | raw, count times, each followed by        |
 * | 1–8   | counter | varint (unsigned LEB128), from 1          |
 */
import { assert } from '../assert.ts'
import { hexAt, writeHex } from '../bytes.ts'
import { COUNTER_MAX, VERSION_VECTOR_ACTORS_MAX } from '../limits.ts'
import { readVarint, writeVarint } from '../varint.ts'
import type { ActorId, Change, Dot, VersionVector } from './types.ts'

/** Covers nothing. */
export const EMPTY_VECTOR: VersionVector = new Map()

const ACTOR_BYTES = 16

/** True when `vector` covers the write that `dot` names. */
export function covers(vector: VersionVector, dot: Dot): boolean {
  return (vector.get(dot.actor) ?? 0) >= dot.counter
}

/** True when `a` covers everything that `b` covers. */
export function dominates(a: VersionVector, b: VersionVector): boolean {
  if (a === b) return true
  for (const [actor, counter] of b) {
    if ((a.get(actor) ?? 0) < counter) return false
  }
  return true
}

/** True when both cover the same writes. */
export function vectorsEqual(a: VersionVector, b: VersionVector): boolean {
  return dominates(a, b) && dominates(b, a)
}

/** The least vector that covers both. */
export function joinVectors(a: VersionVector, b: VersionVector): VersionVector {
  if (dominates(a, b)) return a
  if (dominates(b, a)) return b
  const joined = new Map(a)
  for (const [actor, counter] of b) {
    if ((joined.get(actor) ?? 0) < counter) joined.set(actor, counter)
  }
  return joined
}

/** `vector` extended to cover `dot`. */
export function withDot(vector: VersionVector, dot: Dot): VersionVector {
  if (covers(vector, dot)) return vector
  const extended = new Map(vector)
  extended.set(dot.actor, dot.counter)
  return extended
}

/**
 * `vector` extended to what `actor` shows by these changes to have written: who wrote holds all
 * that it wrote before.
 */
export function withWritesOf(
  actor: ActorId | null,
  changes: readonly Change[],
  vector: VersionVector,
): VersionVector {
  if (actor === null) return vector
  let counter = 0
  for (const { siblings } of changes) {
    for (const { dot } of siblings) {
      if (dot.actor === actor && dot.counter > counter) counter = dot.counter
    }
  }
  return counter === 0 ? vector : withDot(vector, { actor, counter })
}

/** The greatest vector that both cover: per actor, the smaller counter. */
export function meetVectors(a: VersionVector, b: VersionVector): VersionVector {
  const met = new Map<ActorId, number>()
  for (const [actor, counter] of a) {
    const smaller = Math.min(counter, b.get(actor) ?? 0)
    if (smaller > 0) met.set(actor, smaller)
  }
  return met
}

/** `vector` without actors that `known` does not name. */
export function restrictVector(vector: VersionVector, known: VersionVector): VersionVector {
  const entries = [...vector].filter(([actor]) => known.has(actor))
  return entries.length === vector.size ? vector : new Map(entries)
}

/** The entries of `a` that cover more than `b` does. */
export function beyond(a: VersionVector, b: VersionVector): VersionVector {
  const entries = [...a].filter(([actor, counter]) => counter > (b.get(actor) ?? 0))
  if (entries.length === a.size) return a
  return entries.length === 0 ? EMPTY_VECTOR : new Map(entries)
}

/** True when both name the same write. */
export function sameDot(a: Dot, b: Dot): boolean {
  return a.counter === b.counter && a.actor === b.actor
}

/** Orders dots by actor, then counter. */
export function compareDots(a: Dot, b: Dot): number {
  if (a.actor !== b.actor) return a.actor < b.actor ? -1 : 1
  return a.counter - b.counter
}

/** Canonical bytes of `vector`. */
export function encodeVector(vector: VersionVector): Uint8Array {
  const entries = [...vector].filter(([, counter]) => counter > 0)
  assert(entries.length <= VERSION_VECTOR_ACTORS_MAX, 'a version vector within its limit')
  entries.sort(([a], [b]) => (a < b ? -1 : 1))
  const bytes = new Uint8Array(5 + entries.length * (ACTOR_BYTES + 8))
  let offset = writeVarint(bytes, 0, entries.length)
  for (const [actor, counter] of entries) {
    writeHex(bytes, offset, actor)
    offset += ACTOR_BYTES
    offset = writeVarint(bytes, offset, counter)
  }
  return bytes.slice(0, offset)
}

/**
 * The vector that `bytes` encode, or null when they are not a canonical vector: a peer's bytes are
 * input. Costs no more than the bytes' own length.
 */
export function decodeVector(bytes: Uint8Array): VersionVector | null {
  const position = { at: 0 }
  const count = readVarint(bytes, position, bytes.length)
  if (count < 0 || count > VERSION_VECTOR_ACTORS_MAX) return null
  const vector = new Map<ActorId, number>()
  let previous = ''
  for (let index = 0; index < count; index += 1) {
    if (position.at + ACTOR_BYTES > bytes.length) return null
    const actor = hexAt(bytes, position.at, position.at + ACTOR_BYTES)
    position.at += ACTOR_BYTES
    const counter = readVarint(bytes, position, bytes.length)
    if (counter < 1 || counter > COUNTER_MAX || actor <= previous) return null
    vector.set(actor, counter)
    previous = actor
  }
  return position.at === bytes.length ? vector : null
}
