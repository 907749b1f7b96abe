/**
 * Maximal marginal relevance: picks results that are near the query and unlike one another.
 *
 * Carbonell and Goldstein 1998, "The use of MMR": repeatedly the candidate with the largest lambda
 * × similarity(query) − (1 − lambda) × largest similarity to what is already picked. Similarity is
 * the shard's score (cosine: cosine similarity; l2: 1 / (1 + distance); dot: the dot product), for
 * both terms, so that they are on one scale. O(picked × candidates × dimension).
 */

/** A candidate, nearest first in its list. */
export interface MmrCandidate {
  readonly embedding: Float32Array
  /** Its score against the query. */
  readonly score: number
}

/**
 * Indexes of the picked candidates in the order they were picked, at most `k`. `lambda` 1 keeps the
 * given order, 0 minds variety alone. Equal worth: the earlier candidate.
 */
export function pickByMmr(
  candidates: readonly MmrCandidate[],
  k: number,
  lambda: number,
  similarity: (a: Float32Array, b: Float32Array) => number,
): number[] {
  const picked: number[] = []
  const nearest = new Float64Array(candidates.length).fill(-Infinity)
  const left = new Set(candidates.keys())
  while (picked.length < k && left.size > 0) {
    let best = -1
    let bestWorth = -Infinity
    for (const index of left) {
      const variety = picked.length === 0 ? 0 : (nearest[index] ?? 0)
      const worth = lambda * (candidates[index]?.score ?? 0) - (1 - lambda) * variety
      if (best === -1 || worth > bestWorth) {
        best = index
        bestWorth = worth
      }
    }
    const chosen = candidates[best]
    if (chosen === undefined) break
    picked.push(best)
    left.delete(best)
    for (const index of left) {
      const other = candidates[index]
      if (other === undefined) continue
      nearest[index] = Math.max(nearest[index] ?? 0, similarity(chosen.embedding, other.embedding))
    }
  }
  return picked
}
