/**
 * Latent semantic analysis: passages as vectors, by a truncated SVD of their weighted word counts.
 *
 * Weights are log(1 + count) × inverse document frequency; rows are scaled to length 1 before the
 * SVD. The SVD is randomised with one power iteration: Halko, Martinsson and Tropp 2011, "Finding
 * structure with randomness" (arXiv 0909.4061), algorithms 4.3 and 5.1. Seeded, so that equal
 * passages give equal vectors.
 */
import { normal, seededRandom } from './random.ts'
import type { Passage } from './corpus.ts'

const VOCABULARY_MAX = 20_000
const OVERSAMPLING = 8

/** A fitted model: words become vectors of `dimension` components. */
export interface Lsa {
  readonly dimension: number
  /** The vector of some words; zeros when no word is known. Not scaled to length 1. */
  embed(words: readonly string[]): Float32Array
}

interface Sparse {
  readonly columns: Int32Array
  readonly values: Float64Array
}

/** Fits a model to passages. `seed` draws the random test matrix. */
export function fitLsa(passages: readonly Passage[], dimension: number, seed: number): Lsa {
  const vocabulary = vocabularyOf(passages)
  const rows = passages.map(({ words }) => weighted(words, vocabulary))
  const width = dimension + OVERSAMPLING
  const random = seededRandom(seed)
  let basis = Float64Array.from({ length: vocabulary.size * width }, () => normal(random))
  for (let pass = 0; pass < 2; pass += 1) {
    basis = Float64Array.from(gram(rows, basis, vocabulary.size, width))
    orthonormalise(basis, vocabulary.size, width)
  }
  const rotation = principalAxes(rows, basis, width)
  const axes = new Float64Array(vocabulary.size * dimension)
  for (let word = 0; word < vocabulary.size; word += 1) {
    for (let d = 0; d < dimension; d += 1) {
      let sum = 0
      for (let j = 0; j < width; j += 1) {
        sum += (basis[word * width + j] ?? 0) * (rotation[j * width + d] ?? 0)
      }
      axes[word * dimension + d] = sum
    }
  }
  const embed = (words: readonly string[]): Float32Array =>
    Float32Array.from(project(weighted(words, vocabulary), axes, dimension))
  return { dimension, embed }
}

type Vocabulary = ReadonlyMap<string, { readonly column: number; readonly weight: number }>

function vocabularyOf(passages: readonly Passage[]): Vocabulary {
  const documents = new Map<string, number>()
  for (const { words } of passages) {
    for (const word of new Set(words)) documents.set(word, (documents.get(word) ?? 0) + 1)
  }
  const kept = [...documents]
    .filter(([, count]) => count >= 3 && count < passages.length / 4)
    .toSorted((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .slice(0, VOCABULARY_MAX)
  return new Map(
    kept.map(([word, count], column) => [
      word,
      { column, weight: Math.log(passages.length / count) },
    ]),
  )
}

function weighted(words: readonly string[], vocabulary: Vocabulary): Sparse {
  const counts = new Map<number, number>()
  const weights = new Map<number, number>()
  for (const word of words) {
    const known = vocabulary.get(word)
    if (known === undefined) continue
    counts.set(known.column, (counts.get(known.column) ?? 0) + 1)
    weights.set(known.column, known.weight)
  }
  const columns = Int32Array.from(counts.keys())
  const values = Float64Array.from(
    columns,
    (column) => Math.log(1 + (counts.get(column) ?? 0)) * (weights.get(column) ?? 0),
  )
  const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
  return { columns, values: values.map((value) => value / (length || 1)) }
}

/** row × matrix, where the matrix has `width` columns. */
function project({ columns, values }: Sparse, matrix: Float64Array, width: number): Float64Array {
  const out = new Float64Array(width)
  for (let i = 0; i < columns.length; i += 1) {
    const from = (columns[i] ?? 0) * width
    const value = values[i] ?? 0
    for (let d = 0; d < width; d += 1) out[d] = (out[d] ?? 0) + value * (matrix[from + d] ?? 0)
  }
  return out
}

/** Aᵀ A × basis, row by row of A. */
function gram(
  rows: readonly Sparse[],
  basis: Float64Array,
  words: number,
  width: number,
): Float64Array {
  const out = new Float64Array(words * width)
  for (const row of rows) {
    const image = project(row, basis, width)
    for (let i = 0; i < row.columns.length; i += 1) {
      const to = (row.columns[i] ?? 0) * width
      const value = row.values[i] ?? 0
      for (let d = 0; d < width; d += 1) out[to + d] = (out[to + d] ?? 0) + value * (image[d] ?? 0)
    }
  }
  return out
}

/** Modified Gram-Schmidt over the columns, in place. */
function orthonormalise(matrix: Float64Array, rows: number, width: number): void {
  for (let column = 0; column < width; column += 1) {
    for (let other = 0; other < column; other += 1) {
      let dot = 0
      for (let r = 0; r < rows; r += 1) {
        dot += (matrix[r * width + column] ?? 0) * (matrix[r * width + other] ?? 0)
      }
      for (let r = 0; r < rows; r += 1) {
        const at = r * width + column
        matrix[at] = (matrix[at] ?? 0) - dot * (matrix[r * width + other] ?? 0)
      }
    }
    let square = 0
    for (let r = 0; r < rows; r += 1) square += (matrix[r * width + column] ?? 0) ** 2
    const scale = 1 / Math.sqrt(square || 1)
    for (let r = 0; r < rows; r += 1) {
      const at = r * width + column
      matrix[at] = (matrix[at] ?? 0) * scale
    }
  }
}

/** Eigenvectors of (A basis)ᵀ (A basis), the largest first, as columns: Jacobi's method. */
function principalAxes(rows: readonly Sparse[], basis: Float64Array, width: number): Float64Array {
  const square = new Float64Array(width * width)
  for (const row of rows) {
    const image = project(row, basis, width)
    for (let i = 0; i < width; i += 1) {
      const value = image[i] ?? 0
      for (let j = i; j < width; j += 1) {
        square[i * width + j] = (square[i * width + j] ?? 0) + value * (image[j] ?? 0)
      }
    }
  }
  for (let i = 0; i < width; i += 1) {
    for (let j = 0; j < i; j += 1) square[i * width + j] = square[j * width + i] ?? 0
  }
  const vectors = new Float64Array(width * width)
  for (let i = 0; i < width; i += 1) vectors[i * width + i] = 1
  for (let sweep = 0; sweep < 6; sweep += 1) jacobiSweep(square, vectors, width)
  const order = Array.from({ length: width }, (_, i) => i).toSorted(
    (a, b) => (square[b * width + b] ?? 0) - (square[a * width + a] ?? 0),
  )
  const sorted = new Float64Array(width * width)
  for (const [to, from] of order.entries()) {
    for (let i = 0; i < width; i += 1) sorted[i * width + to] = vectors[i * width + from] ?? 0
  }
  return sorted
}

function jacobiSweep(matrix: Float64Array, vectors: Float64Array, width: number): void {
  for (let p = 0; p < width; p += 1) {
    for (let q = p + 1; q < width; q += 1) {
      const apq = matrix[p * width + q] ?? 0
      if (Math.abs(apq) < 1e-14) continue
      const theta = ((matrix[q * width + q] ?? 0) - (matrix[p * width + p] ?? 0)) / (2 * apq)
      const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
      const c = 1 / Math.sqrt(t * t + 1)
      rotate(matrix, width, p, q, c, t * c)
      for (let i = 0; i < width; i += 1) {
        const a = vectors[i * width + p] ?? 0
        const b = vectors[i * width + q] ?? 0
        vectors[i * width + p] = c * a - t * c * b
        vectors[i * width + q] = t * c * a + c * b
      }
    }
  }
}

/** Applies one plane rotation from both sides. */
function rotate(m: Float64Array, width: number, p: number, q: number, c: number, s: number): void {
  for (let i = 0; i < width; i += 1) {
    const a = m[i * width + p] ?? 0
    const b = m[i * width + q] ?? 0
    m[i * width + p] = c * a - s * b
    m[i * width + q] = s * a + c * b
  }
  for (let i = 0; i < width; i += 1) {
    const a = m[p * width + i] ?? 0
    const b = m[q * width + i] ?? 0
    m[p * width + i] = c * a - s * b
    m[q * width + i] = s * a + c * b
  }
}
