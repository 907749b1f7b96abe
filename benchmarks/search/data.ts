/**
 * The vectors of the search benchmark, made once per size and shared by all engines through files.
 *
 * Generator: `count / 100` centres (at least 100) with independent normal components; a vector is a
 * random centre plus half as much normal noise, scaled to length 1. Queries are drawn alike, with
 * another seed. Records have a `group` from 0 to 49, so that one group is 2 %.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const DIMENSION = 384
export const GROUPS = 50
export const K = 10

/**
 * The 2 % that the filtered search for a query looks in: another one for each query, so that
 * nothing can be kept.
 */
export function groupOf(queryIndex: number): number {
  return (queryIndex * 7) % GROUPS
}

export interface Dataset {
  readonly count: number
  readonly base: Float32Array
  readonly queries: Float32Array
  readonly queryCount: number
  /**
   * Per query, the true distances (1 − cosine) to its 10 nearest, ascending; all records, and its
   * group alone.
   */
  readonly truth: readonly (readonly number[])[]
  readonly groupTruth: readonly (readonly number[])[]
}

/** Row `index` of a block of vectors. */
export function row(block: Float32Array, index: number): Float32Array {
  return block.subarray(index * DIMENSION, (index + 1) * DIMENSION)
}

/** Makes the data set in `folder`, or finds it there. */
export function makeDataset(folder: string, count: number, queryCount: number): Dataset {
  const path = join(folder, `clustered2-${count}-${queryCount}`)
  if (!existsSync(`${path}.json`)) {
    mkdirSync(folder, { recursive: true })
    const base = clustered(count, count, 1)
    const queries = clustered(queryCount, count, 2)
    const truth = trueDistances(base, queries, queryCount, () => true)
    const groupTruth = trueDistances(base, queries, queryCount, (i, q) => i % GROUPS === groupOf(q))
    writeWhole(`${path}.base`, base)
    writeWhole(`${path}.queries`, queries)
    // Last: where it is, the others are.
    writeWhole(`${path}.json`, JSON.stringify({ truth, groupTruth }))
  }
  const { truth, groupTruth } = JSON.parse(readFileSync(`${path}.json`, 'utf8')) as Dataset
  const base = floats(`${path}.base`)
  const queries = floats(`${path}.queries`)
  return { count, base, queries, queryCount, truth, groupTruth }
}

/** 1 − cosine of two vectors, in float64. */
export function cosineDistance(a: Float32Array, b: Float32Array): number {
  let dot = 0
  let aa = 0
  let bb = 0
  for (let i = 0; i < DIMENSION; i += 1) {
    const x = a[i] ?? 0
    const y = b[i] ?? 0
    dot += x * y
    aa += x * x
    bb += y * y
  }
  return 1 - dot / Math.sqrt(aa * bb)
}

/** Whole or not at all: a run that was broken off must not leave half a data set to the next. */
function writeWhole(path: string, content: string | Float32Array): void {
  const partial = `${path}.${process.pid}.partial`
  writeFileSync(partial, content)
  renameSync(partial, path)
}

function floats(path: string): Float32Array {
  const bytes = readFileSync(path)
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
}

function clustered(rows: number, count: number, seed: number): Float32Array {
  const centres = normals(Math.max(100, Math.floor(count / 100)) * DIMENSION, 99)
  const random = seededRandom(seed)
  const vectors = new Float32Array(rows * DIMENSION)
  for (let i = 0; i < rows; i += 1) {
    const centre = Math.floor((random() * centres.length) / DIMENSION) * DIMENSION
    let square = 0
    for (let d = 0; d < DIMENSION; d += 1) {
      const value = (centres[centre + d] ?? 0) + 0.5 * normal(random)
      vectors[i * DIMENSION + d] = value
      square += value * value
    }
    const scale = 1 / Math.sqrt(square)
    for (let d = 0; d < DIMENSION; d += 1) {
      vectors[i * DIMENSION + d] = (vectors[i * DIMENSION + d] ?? 0) * scale
    }
  }
  return vectors
}

function normals(count: number, seed: number): Float32Array {
  const random = seededRandom(seed)
  return Float32Array.from({ length: count }, () => normal(random))
}

/** A normal deviate by Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

/** mulberry32. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

function trueDistances(
  base: Float32Array,
  queries: Float32Array,
  queryCount: number,
  among: (index: number, query: number) => boolean,
): number[][] {
  return Array.from({ length: queryCount }, (_, q) => {
    const query = row(queries, q)
    const nearest: number[] = []
    for (let i = 0; i < base.length / DIMENSION; i += 1) {
      if (!among(i, q)) continue
      const distance = cosineDistance(row(base, i), query)
      if (nearest.length === K && distance >= (nearest[K - 1] ?? Infinity)) continue
      nearest.push(distance)
      nearest.sort((a, b) => a - b)
      nearest.length = Math.min(nearest.length, K)
    }
    return nearest
  })
}
