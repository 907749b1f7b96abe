/**
 * Truncated singular value decomposition of a sparse matrix: its largest right singular vectors.
 *
 * Randomized subspace iteration (Halko, Martinsson and Tropp 2011, "Finding structure with
 * randomness", algorithm 4.4), then Jacobi rotations on the small symmetric matrix (Golub and Van
 * Loan, section 8.5). Deterministic: the start is drawn from a fixed seed. Lets the event loop run
 * between slices of work.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Rows of a sparse matrix: row `r` has the entries `starts[r]` to `starts[r + 1]`. */
export interface SparseMatrix {
  readonly rows: number
  readonly columns: number
  readonly starts: Uint32Array
  readonly indexes: Uint32Array
  readonly values: Float64Array
}

const POWER_ITERATIONS = 4
const OVERSAMPLING = 12
/** Multiplications between two turns of the event loop: some 20 ms. */
const SLICE_OPERATIONS = 8_000_000

/**
 * `columns × rank` numbers, a column's components side by side; rank is at most that of the matrix.
 */
export interface RightVectors {
  readonly rank: number
  readonly vectors: Float64Array
}

/** The right singular vectors of the `rankMax` largest singular values, in their order. */
export async function rightSingularVectors(
  matrix: SparseMatrix,
  rankMax: number,
): Promise<RightVectors> {
  const width = Math.min(rankMax + OVERSAMPLING, matrix.rows, matrix.columns)
  const left = gaussian(matrix.rows * width)
  await orthonormalize(left, matrix.rows, width)
  let right = await timesTransposed(matrix, left, width)
  for (let pass = 0; pass < POWER_ITERATIONS; pass += 1) {
    const forward = await times(matrix, right, width)
    await orthonormalize(forward, matrix.rows, width)
    left.set(forward)
    right = await timesTransposed(matrix, left, width)
  }
  // right = Aᵀ Q; the right vectors of A are those of Qᵀ A = rightᵀ: right = V Σ Wᵀ.
  const gram = await gramOf(right, matrix.columns, width)
  const { values, vectors } = jacobi(gram, width)
  const order = [...values.keys()].toSorted((a, b) => (values[b] ?? 0) - (values[a] ?? 0))
  const largest = values[order[0] ?? 0] ?? 0
  const kept = order.filter((index) => (values[index] ?? 0) > largest * 1e-10).slice(0, rankMax)
  const rank = kept.length
  const found = new Float64Array(matrix.columns * rank)
  for (let column = 0; column < matrix.columns; column += 1) {
    for (const [place, index] of kept.entries()) {
      let sum = 0
      for (let i = 0; i < width; i += 1) {
        sum += (right[column * width + i] ?? 0) * (vectors[i * width + index] ?? 0)
      }
      found[column * rank + place] = sum / Math.sqrt(values[index] ?? 1)
    }
    if (column % rowsOfSlice(width * rank) === 0) await nextTurn()
  }
  return { rank, vectors: found }
}

function rowsOfSlice(operationsOfRow: number): number {
  return Math.max(1, Math.floor(SLICE_OPERATIONS / Math.max(1, operationsOfRow)))
}

async function times(a: SparseMatrix, x: Float64Array, width: number): Promise<Float64Array> {
  const y = new Float64Array(a.rows * width)
  const slice = rowsOfSlice((width * a.values.length) / Math.max(1, a.rows))
  for (let row = 0; row < a.rows; row += 1) {
    for (let at = a.starts[row] ?? 0; at < (a.starts[row + 1] ?? 0); at += 1) {
      const value = a.values[at] ?? 0
      const from = (a.indexes[at] ?? 0) * width
      for (let i = 0; i < width; i += 1) {
        y[row * width + i] = (y[row * width + i] ?? 0) + value * (x[from + i] ?? 0)
      }
    }
    if (row % slice === slice - 1) await nextTurn()
  }
  return y
}

async function timesTransposed(
  a: SparseMatrix,
  x: Float64Array,
  width: number,
): Promise<Float64Array> {
  const y = new Float64Array(a.columns * width)
  const slice = rowsOfSlice((width * a.values.length) / Math.max(1, a.rows))
  for (let row = 0; row < a.rows; row += 1) {
    for (let at = a.starts[row] ?? 0; at < (a.starts[row + 1] ?? 0); at += 1) {
      const value = a.values[at] ?? 0
      const to = (a.indexes[at] ?? 0) * width
      for (let i = 0; i < width; i += 1) {
        y[to + i] = (y[to + i] ?? 0) + value * (x[row * width + i] ?? 0)
      }
    }
    if (row % slice === slice - 1) await nextTurn()
  }
  return y
}

/** Gram–Schmidt, twice, because once leaves rounding behind. A column that vanishes stays zero. */
async function orthonormalize(q: Float64Array, rows: number, width: number): Promise<void> {
  const columns = Array.from({ length: width }, (_, column) => {
    const values = new Float64Array(rows)
    for (let row = 0; row < rows; row += 1) values[row] = q[row * width + column] ?? 0
    return values
  })
  for (const [index, column] of columns.entries()) {
    const before = norm(column)
    for (let pass = 0; pass < 2; pass += 1) {
      for (let other = 0; other < index; other += 1) {
        subtractProjection(column, columns[other] ?? column)
      }
    }
    const length = norm(column)
    const scale = length > before * 1e-12 && length > 0 ? 1 / length : 0
    for (let row = 0; row < rows; row += 1) {
      column[row] = (column[row] ?? 0) * scale
      q[row * width + index] = column[row] ?? 0
    }
    if ((index * rows) % SLICE_OPERATIONS < rows * 8) await nextTurn()
  }
}

function norm(values: Float64Array): number {
  let sum = 0
  for (let i = 0; i < values.length; i += 1) sum += (values[i] ?? 0) ** 2
  return Math.sqrt(sum)
}

function subtractProjection(column: Float64Array, unit: Float64Array): void {
  let dot = 0
  for (let i = 0; i < column.length; i += 1) dot += (column[i] ?? 0) * (unit[i] ?? 0)
  for (let i = 0; i < column.length; i += 1) column[i] = (column[i] ?? 0) - dot * (unit[i] ?? 0)
}

/** `xᵀ x`, a `width × width` matrix. */
async function gramOf(x: Float64Array, rows: number, width: number): Promise<Float64Array> {
  const gram = new Float64Array(width * width)
  const slice = rowsOfSlice((width * width) / 2)
  for (let row = 0; row < rows; row += 1) {
    for (let i = 0; i < width; i += 1) {
      const a = x[row * width + i] ?? 0
      if (a === 0) continue
      for (let j = i; j < width; j += 1) {
        gram[i * width + j] = (gram[i * width + j] ?? 0) + a * (x[row * width + j] ?? 0)
      }
    }
    if (row % slice === slice - 1) await nextTurn()
  }
  for (let i = 0; i < width; i += 1) {
    for (let j = 0; j < i; j += 1) gram[i * width + j] = gram[j * width + i] ?? 0
  }
  return gram
}

/** Eigenvalues and eigenvectors (in columns) of a symmetric matrix, which is overwritten. */
function jacobi(
  a: Float64Array,
  n: number,
): { readonly values: Float64Array; readonly vectors: Float64Array } {
  const v = new Float64Array(n * n)
  for (let i = 0; i < n; i += 1) v[i * n + i] = 1
  for (let sweep = 0; sweep < 30; sweep += 1) {
    let off = 0
    let diagonal = 0
    for (let i = 0; i < n; i += 1) {
      diagonal += (a[i * n + i] ?? 0) ** 2
      for (let j = 0; j < i; j += 1) off += (a[i * n + j] ?? 0) ** 2
    }
    if (off <= diagonal * 1e-22) break
    for (let p = 0; p < n - 1; p += 1) {
      for (let q = p + 1; q < n; q += 1) rotate(a, v, n, p, q)
    }
  }
  const values = new Float64Array(n)
  for (let i = 0; i < n; i += 1) values[i] = Math.max(0, a[i * n + i] ?? 0)
  return { values, vectors: v }
}

function rotate(a: Float64Array, v: Float64Array, n: number, p: number, q: number): void {
  const apq = a[p * n + q] ?? 0
  if (apq === 0) return
  const theta = ((a[q * n + q] ?? 0) - (a[p * n + p] ?? 0)) / (2 * apq)
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
  const c = 1 / Math.sqrt(t * t + 1)
  const s = t * c
  for (let i = 0; i < n; i += 1) {
    turn(a, i * n + p, i * n + q, c, s)
  }
  for (let i = 0; i < n; i += 1) {
    turn(a, p * n + i, q * n + i, c, s)
    turn(v, i * n + p, i * n + q, c, s)
  }
}

function turn(m: Float64Array, i: number, j: number, c: number, s: number): void {
  const x = m[i] ?? 0
  const y = m[j] ?? 0
  m[i] = c * x - s * y
  m[j] = s * x + c * y
}

/** Normal numbers from a fixed seed (mulberry32, then Box and Muller). */
function gaussian(count: number): Float64Array {
  let state = 0x9e3779b9
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const values = new Float64Array(count)
  for (let i = 0; i < count; i += 1) {
    values[i] = Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
  }
  return values
}
