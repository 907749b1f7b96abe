/**
 * Reciprocal rank fusion: one ranking from several, by ranks alone, so that scores of different
 * kinds never have to be put on one scale.
 *
 * Cormack, Clarke and Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet": score = Σ 1 /
 * (60 + rank), ranks from
 * 1. Differs from the paper: each ranking has a weight.
 */
import { compareUtf8 } from '../bytes.ts'

/** The constant of the paper: how much the first ranks count above the later ones. */
export const RRF_CONSTANT = 60

/** One ranking: ids, best first, and how much it counts. */
export interface WeightedRanking {
  readonly ids: readonly string[]
  readonly weight: number
}

/** An id with its fused score; larger is better. */
export interface Fused {
  readonly id: string
  readonly score: number
}

/** All ids of the rankings, best first, ties by id. */
export function fuseRankings(rankings: readonly WeightedRanking[]): Fused[] {
  const scores = new Map<string, number>()
  for (const { ids, weight } of rankings) {
    for (const [index, id] of ids.entries()) {
      scores.set(id, (scores.get(id) ?? 0) + weight / (RRF_CONSTANT + index + 1))
    }
  }
  return [...scores]
    .map(([id, score]) => ({ id, score }))
    .sort((a, b) => b.score - a.score || compareUtf8(a.id, b.id))
}
