/**
 * The data sets of the benchmark: each is one way in which real use differs from clustered noise.
 *
 * A case gives rows and queries, and may change the rows after the index was built. Everything is
 * seeded; the text comes from corpus.ts.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readPassages } from './corpus.ts'
import { fitLsa } from './lsa.ts'
import { normal, normals, seededRandom } from './random.ts'

export const DIMENSION = 256
const QUERIES = 200

export type Metric = 'cosine' | 'l2' | 'dot'

/** One data set and its queries. */
export interface Case {
  readonly metric: Metric
  /** The rows of the shard when the index is built. */
  readonly rows: readonly Float32Array[]
  /** Rows written afterwards, by index; the index is not told otherwise. */
  readonly changed?: ReadonlyMap<number, Float32Array>
  readonly queries: readonly Float32Array[]
  /** `searchMemoryBytes`; the library's default when left out. */
  readonly memoryBytes?: number
}

/** Makes the case of this name with about `count` rows. */
export type CaseMaker = (count: number) => Case

/** Passages as vectors of two unrelated models, and short and long queries. */
interface Text {
  readonly passages: readonly Float32Array[]
  readonly other: readonly Float32Array[]
  readonly long: readonly Float32Array[]
  readonly short: readonly Float32Array[]
}

export const CASES: Readonly<Record<string, CaseMaker>> = {
  passages: (count) => {
    const { passages, long } = textOf(count)
    return { metric: 'cosine', rows: passages, queries: long }
  },
  'short queries': (count) => {
    const { passages, short } = textOf(count)
    return { metric: 'cosine', rows: passages, queries: short }
  },
  mixtures: (count) => {
    const { passages, long } = textOf(count)
    const random = seededRandom(1)
    const queries = long.map((row) => mean(unit(row), unit(pick(long, random))))
    return { metric: 'cosine', rows: passages, queries }
  },
  'random queries': (count) => {
    const { passages } = textOf(count)
    const random = seededRandom(2)
    const queries = Array.from({ length: QUERIES }, () => normals(DIMENSION, random))
    return { metric: 'cosine', rows: passages, queries }
  },
  'dot products': (count) => {
    const { passages, long } = textOf(count)
    const random = seededRandom(3)
    const rows = passages.map((row) => scaled(row, Math.exp(0.5 * normal(random))))
    return { metric: 'dot', rows, queries: long }
  },
  'another model': (count) => {
    const { passages, other } = textOf(count)
    const queries = other.slice(count, count + QUERIES)
    return { metric: 'cosine', rows: passages, changed: numbered(other.slice(0, count)), queries }
  },
  'all replaced': (count) => {
    const { passages } = textOf(count)
    const all = clusters(count + QUERIES, 60, 4)
    const changed = numbered(all.slice(0, count))
    return { metric: 'cosine', rows: passages, changed, queries: all.slice(count) }
  },
  'a twentieth replaced': (count) => {
    const { passages } = textOf(count)
    const part = Math.floor(count / 20)
    const all = clusters(part + QUERIES, 5, 5)
    const changed = numbered(all.slice(0, part))
    return { metric: 'cosine', rows: passages, changed, queries: all.slice(part) }
  },
  drift: (count) => {
    const random = seededRandom(6)
    const [from, to] = [normals(DIMENSION, random), normals(DIMENSION, random)]
    const at = (share: number): Float32Array =>
      Float32Array.from(from, (v, d) => v * (1 - share) + (to[d] ?? 0) * share + normal(random) / 2)
    const rows = Array.from({ length: count }, (_, i) => at(i / count / 2))
    const half = Math.floor(count / 2)
    const changed = numbered(Array.from({ length: half }, (_, i) => at(0.5 + i / count)))
    const queries = Array.from({ length: QUERIES }, () => at(0.5 + random() / 2))
    return { metric: 'cosine', rows, changed, queries }
  },
  'near copies': (count) => {
    const random = seededRandom(7)
    const originals = Array.from({ length: 300 }, () => normals(DIMENSION, random))
    const rows = Array.from({ length: count }, (_, i) => noisy(originals[i % 300]!, 0.01, random))
    const queries = Array.from({ length: QUERIES }, () => normals(DIMENSION, random))
    return { metric: 'cosine', rows, queries }
  },
  'identical groups': (count) => {
    const { passages, long } = textOf(count)
    const random = seededRandom(8)
    // Groups of 1, 2, 4 … 4,096 identical rows.
    const rows: Float32Array[] = []
    for (let size = 1; rows.length < count; size = size >= 4_096 ? 1 : size * 2) {
      const row = pick(passages, random)
      for (let i = 0; i < size && rows.length < count; i += 1) rows.push(row)
    }
    return { metric: 'cosine', rows, queries: long }
  },
  'a minority': (count) => {
    const random = seededRandom(9)
    const { passages } = textOf(count)
    const away = normals(DIMENSION, random)
    const topic = (): Float32Array => noisy(away, 0.2, random)
    const rows = passages.map((row, i) => (i % 50 === 7 ? topic() : row))
    const queries = Array.from({ length: QUERIES }, topic)
    return { metric: 'cosine', rows, queries }
  },
  'heavy tails, codes in memory': (count) => {
    const random = seededRandom(10)
    const heavy = (): Float32Array =>
      Float32Array.from({ length: DIMENSION }, (_, d) => {
        const tail = d % 8 === 0 ? 1 / Math.max(0.02, Math.abs(normal(random))) : 1
        return normal(random) * tail
      })
    const rows = Array.from({ length: count }, heavy)
    const queries = Array.from({ length: QUERIES }, heavy)
    return { metric: 'cosine', rows, queries, memoryBytes: count * (DIMENSION + 60) }
  },
  'squared values, codes in memory': (count) => {
    const { passages, long } = textOf(count)
    const memoryBytes = count * (DIMENSION + 60)
    return { metric: 'l2', rows: passages.map(squared), queries: long.map(squared), memoryBytes }
  },
  'passages, bits in memory': (count) => {
    const { passages, long } = textOf(count)
    const memoryBytes = count * (DIMENSION / 8 + 12)
    return { metric: 'cosine', rows: passages, queries: long, memoryBytes }
  },
}

const texts = new Map<number, Text>()

/** Passages embedded once and kept in a file between runs: the SVD takes half a minute. */
function textOf(count: number): Text {
  const known = texts.get(count)
  if (known !== undefined) return known
  const folder = join(tmpdir(), 'sqlite-vector-search-real')
  const path = join(folder, `lsa1-${count}-${DIMENSION}.f32`)
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true })
    const partial = `${path}.${process.pid}`
    writeFileSync(partial, makeText(count))
    renameSync(partial, path)
  }
  const bytes = readFileSync(path)
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
  const rows = Array.from({ length: values.length / DIMENSION }, (_, i) =>
    values.slice(i * DIMENSION, (i + 1) * DIMENSION),
  )
  const own = rows.slice(0, count + QUERIES)
  const other = rows.slice(count + QUERIES, 2 * (count + QUERIES))
  const short = rows.slice(2 * (count + QUERIES))
  const text = { passages: own.slice(0, count), long: own.slice(count), other, short }
  texts.set(count, text)
  return text
}

function makeText(count: number): Float32Array {
  const found = readPassages(2 * (count + 2 * QUERIES))
  if (found.length < count + 2 * QUERIES) {
    throw new Error(`the documentation here gives ${found.length} passages, ${count} are wanted`)
  }
  const random = seededRandom(12)
  const passages = found.toSorted(() => random() - 0.5).slice(0, count + 2 * QUERIES)
  const model = fitLsa(passages.slice(0, Math.min(count, 20_000)), DIMENSION, 1)
  const other = fitLsa(passages.slice(-Math.min(count, 8_000)), DIMENSION, 2)
  const block = passages.slice(0, count + QUERIES)
  // Passages that no word of the model is in have no direction; a trace of noise stands for one.
  const shown = (row: Float32Array): Float32Array =>
    row.map((value) => value + 1e-4 * normal(random))
  const short = passages.slice(count + QUERIES).map(({ words }) => {
    const from = Math.floor(random() * words.length)
    return shown(model.embed(words.slice(from, from + 1 + Math.floor(random() * 3))))
  })
  const all = [
    ...block.map(({ words }) => shown(model.embed(words))),
    ...block.map(({ words }) => shown(other.embed(words))),
    ...short,
  ]
  const values = new Float32Array(all.length * DIMENSION)
  for (const [i, row] of all.entries()) values.set(row, i * DIMENSION)
  return values
}

function clusters(count: number, centres: number, seed: number): Float32Array[] {
  const random = seededRandom(seed)
  const middles = Array.from({ length: centres }, () => normals(DIMENSION, random))
  return Array.from({ length: count }, () => noisy(pick(middles, random), 0.4, random))
}

function noisy(row: Float32Array, noise: number, random: () => number): Float32Array {
  return row.map((value) => value + noise * normal(random))
}

function pick<T>(from: readonly T[], random: () => number): T {
  const found = from[Math.floor(random() * from.length)]
  if (found === undefined) throw new Error('nothing to pick from')
  return found
}

function numbered(rows: readonly Float32Array[]): ReadonlyMap<number, Float32Array> {
  return new Map(rows.map((row, i) => [i, row]))
}

function unit(row: Float32Array): Float32Array {
  return scaled(row, 1 / Math.sqrt(row.reduce((sum, value) => sum + value * value, 0)))
}

function scaled(row: Float32Array, factor: number): Float32Array {
  return row.map((value) => value * factor)
}

function squared(row: Float32Array): Float32Array {
  return row.map((value) => value * Math.abs(value) * 100)
}

function mean(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, d) => (value + (b[d] ?? 0)) / 2)
}
