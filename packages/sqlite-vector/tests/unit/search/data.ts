/**
 * Seeded vectors for search tests: clustered, isotropic, uncentred and badly scaled.
 */

/** A small seeded generator of numbers in [0, 1): mulberry32. Not for secrets. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A normal deviate by Box and Muller. */
export function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

/** `count` vectors of independent normal components: the hardest data for codes. */
export function isotropic(count: number, dimension: number, seed: number): Float32Array[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, () =>
    Float32Array.from({ length: dimension }, () => normal(random)),
  )
}

/** `count` vectors around `clusters` centres, as embeddings of text are. */
export function clustered(
  count: number,
  dimension: number,
  seed: number,
  clusters = 20,
  spread = 0.4,
): Float32Array[] {
  const random = seededRandom(seed)
  const centres = isotropic(clusters, dimension, seed + 1)
  return Array.from({ length: count }, () => {
    const centre = centres[Math.floor(random() * clusters)]
    return Float32Array.from(
      { length: dimension },
      (_, d) => (centre?.[d] ?? 0) + spread * normal(random),
    )
  })
}
