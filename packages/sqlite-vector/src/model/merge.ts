/**
 * Conflicts: how two states of one record merge, and which record is visible. Pure.
 *
 * The merge is that of dotted version vector sets (Preguiça et al. 2010, "Dotted Version Vectors:
 * Logical Clocks for Optimistic Replication"; Almeida et al. 2014): commutative, associative and
 * idempotent, so delivery may repeat, reorder and interleave. A strategy is a view of the siblings;
 * it never changes the replicated state, so replicas converge whatever the strategy.
 */
import { compareHlc } from '../clock/hlc.ts'
import type { RecordState, Sibling, VersionVector } from './types.ts'
import { compareDots, covers, joinVectors, sameDot } from './version-vector.ts'

/** The causal context of `state`, with its short form written out. */
export function contextOf(state: RecordState): VersionVector {
  if (state.context !== null) return state.context
  const context = new Map<string, number>()
  for (const { dot } of state.siblings) {
    if ((context.get(dot.actor) ?? 0) < dot.counter) context.set(dot.actor, dot.counter)
  }
  return context
}

/**
 * The join of two states of one record. Returns `local` itself when `remote` adds nothing, so a
 * caller can tell by identity that there is nothing to write.
 */
export function mergeRegister(local: RecordState, remote: RecordState): RecordState {
  const plain = mergePlain(local, remote)
  if (plain !== null) return plain
  const localContext = contextOf(local)
  const remoteContext = contextOf(remote)
  const kept = local.siblings.filter(
    (sibling) =>
      !covers(remoteContext, sibling.dot) ||
      remote.siblings.some((other) => sameDot(sibling.dot, other.dot)),
  )
  const gained = remote.siblings.filter(
    (sibling) =>
      !covers(localContext, sibling.dot) &&
      !local.siblings.some((other) => sameDot(sibling.dot, other.dot)),
  )
  const context = joinVectors(localContext, remoteContext)
  if (gained.length === 0 && kept.length === local.siblings.length && context === localContext) {
    return local
  }
  const siblings = [...kept, ...gained].sort((a, b) => compareDots(a.dot, b.dot))
  if (siblings.length > 0) return { siblings, context }
  // Each says that it superseded all of the other, which no history brings about: damage, or a lie.
  // A record without a write cannot be, so the last one stays, whichever side is asked.
  return { siblings: [lastWrite([...local.siblings, ...remote.siblings])], context }
}

/** {@link mergeRegister} of two single writes that saw nothing, which most are; null for others. */
function mergePlain(local: RecordState, remote: RecordState): RecordState | null {
  if (local.context !== null || remote.context !== null) return null
  const [ours, second] = local.siblings
  const [theirs, third] = remote.siblings
  if (ours === undefined || theirs === undefined || second !== undefined || third !== undefined) {
    return null
  }
  const a = ours.dot
  const b = theirs.dot
  if (a.actor === b.actor) return b.counter > a.counter ? remote : local
  return { siblings: a.actor < b.actor ? [ours, theirs] : [theirs, ours], context: null }
}

/**
 * {@link mergeRegister} for a replica that holds the shard's version vector `known`: a remote write
 * that `known` covers and `local` lacks was superseded here (invariant V), also where the record's
 * own context has forgotten it because the tombstone that said so was collected. So it must not
 * come back. A delete is another matter: one that `known` covers and the record's own context does
 * not was collected, not superseded, and beside a write it has not met it counts. `local` null: the
 * replica has no such record. Returns null when nothing is left to keep.
 */
export function mergeKnown(
  local: RecordState | null,
  remote: RecordState,
  known: VersionVector,
): RecordState | null {
  if (remote.siblings.every(({ dot }) => !covers(known, dot))) {
    return local === null ? remote : mergeRegister(local, remote)
  }
  if (local === null) {
    const news = remote.siblings.some(({ dot }) => !covers(known, dot))
    if (!news) return null
    const siblings = remote.siblings.filter(
      ({ dot, value }) => value === null || !covers(known, dot),
    )
    return { siblings, context: contextOf(remote) }
  }
  const siblings = remote.siblings.filter(
    (sibling) =>
      sibling.value === null ||
      !covers(known, sibling.dot) ||
      local.siblings.some((other) => sameDot(sibling.dot, other.dot)),
  )
  return mergeRegister(local, { siblings, context: contextOf(remote) })
}

/**
 * True when the siblings need a decision: there are several, and a put is among them. Concurrent
 * deletes agree. All of them stay in the state, because a put may have seen one and not the other.
 */
export function isConflict(siblings: readonly { readonly value: unknown }[]): boolean {
  return siblings.length > 1 && siblings.some(({ value }) => value !== null)
}

/**
 * Orders siblings by (stamp, actor): a total order, as one actor never stamps two siblings alike.
 */
export function compareSiblings(a: Sibling, b: Sibling): number {
  return compareHlc(a.stamp, b.stamp) || compareDots(a.dot, b.dot)
}

/** The `last-write-wins` view: the sibling with the largest (stamp, actor). */
export function lastWrite(siblings: readonly Sibling[]): Sibling {
  return siblings.reduce((best, sibling) => (compareSiblings(sibling, best) > 0 ? sibling : best))
}

/** The `first-write-wins` view: the sibling with the smallest (stamp, actor). */
export function firstWrite(siblings: readonly Sibling[]): Sibling {
  return siblings.reduce((best, sibling) => (compareSiblings(sibling, best) < 0 ? sibling : best))
}
