/**
 * Distances between vectors: plain loops over float32 components with float64 sums. Pure.
 *
 * Smaller is nearer in all three. The order of additions is fixed, so two replicas that hold the
 * same rows compute the same distances to the last bit.
 *
 * Not here: the SIMD kernels (kernels/), which must agree with these within rounding.
 */
import { unreachable } from '../assert.ts'
import { type Metric } from '../model/records.ts'

/** The distance from one query to a vector of the same dimension. */
export type DistanceTo = (vector: Float32Array) => number

/** Sum of the squares of the components. */
export function squaredNorm(vector: Float32Array): number {
  let sum = 0
  for (let index = 0; index < vector.length; index += 1) {
    const component = vector[index] as number
    sum += component * component
  }
  return sum
}

/** Sum of the products of the components. */
export function dotProduct(a: Float32Array, b: Float32Array): number {
  let sum = 0
  for (let index = 0; index < a.length; index += 1) {
    sum += (a[index] as number) * (b[index] as number)
  }
  return sum
}

/** Sum of the squared differences of the components. */
export function squaredDistance(a: Float32Array, b: Float32Array): number {
  let sum = 0
  for (let index = 0; index < a.length; index += 1) {
    const difference = (a[index] as number) - (b[index] as number)
    sum += difference * difference
  }
  return sum
}

/**
 * The distance function of `metric` from `query`. cosine: 1 − cosine similarity, 0 to 2, neither
 * side all zero; l2: Euclidean; dot: minus the dot product.
 */
export function distanceFrom(metric: Metric, query: Float32Array): DistanceTo {
  switch (metric) {
    case 'cosine':
      return cosineFrom(query)
    case 'l2':
      return (vector) => Math.sqrt(squaredDistance(query, vector))
    case 'dot':
      return (vector) => -dotProduct(query, vector)
    default:
      return unreachable(metric)
  }
}

/** How well a record at `distance` fits; larger is nearer. */
export function distanceToScore(metric: Metric, distance: number): number {
  switch (metric) {
    case 'cosine':
      return 1 - distance
    case 'l2':
      return 1 / (1 + distance)
    case 'dot':
      // Not -distance alone: that would turn 0 into -0.
      return 0 - distance
    default:
      return unreachable(metric)
  }
}

function cosineFrom(query: Float32Array): DistanceTo {
  const queryNorm = Math.sqrt(squaredNorm(query))
  return (vector) => {
    let dot = 0
    let square = 0
    for (let index = 0; index < vector.length; index += 1) {
      const component = vector[index] as number
      dot += (query[index] as number) * component
      square += component * component
    }
    const distance = 1 - dot / (queryNorm * Math.sqrt(square))
    // Rounding may leave the range by a few units in the last place.
    return distance < 0 ? 0 : Math.min(distance, 2)
  }
}
