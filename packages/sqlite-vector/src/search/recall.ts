/**
 * Recall: the share of the true nearest neighbours that a search found.
 *
 * A result exactly as far as the k-th true neighbour counts as found: among equals, any is right.
 */

/** Results of one query that are as near as the `k` true ones, and how many could be. */
export interface RecallCount {
  readonly found: number
  readonly possible: number
}

/** Compares the distances of a search with those of an exact search for the same query and `k`. */
export function countRecalled(
  distances: readonly number[],
  exactDistances: readonly number[],
): RecallCount {
  const farthest = exactDistances.at(-1)
  if (farthest === undefined) return { found: 0, possible: 0 }
  const near = distances.filter((distance) => distance <= farthest).length
  return { found: Math.min(near, exactDistances.length), possible: exactDistances.length }
}

/** Recall over many queries, 0 to 1; 1 when there was nothing to find. */
export function recallOf(counts: readonly RecallCount[]): number {
  const found = counts.reduce((sum, count) => sum + count.found, 0)
  const possible = counts.reduce((sum, count) => sum + count.possible, 0)
  return possible === 0 ? 1 : found / possible
}

/** Mean recall of the tenth of the queries that fare worst, 0 to 1; 1 without queries. */
export function worstDecileOf(counts: readonly RecallCount[]): number {
  const shares = counts.map((count) => recallOf([count])).sort((a, b) => a - b)
  const worst = shares.slice(0, Math.ceil(shares.length / 10))
  return worst.length === 0 ? 1 : worst.reduce((sum, share) => sum + share, 0) / worst.length
}
