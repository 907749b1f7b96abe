/**
 * The layout of the arena's WebAssembly memory. Pure arithmetic.
 *
 * ```
 * 0      scratch: query (float32, int16, bits), quantizer, staging row, keys, lists, heap, band
 * first  block 0 │ float32 rows │ factors │ int8 rows │ corrections │ bit rows │
 *        block 1 │ …
 * ```
 *
 * Blocks of 2^shift slots, so that growing appends and no row moves. A region that is laid out but
 * not yet written costs address space only: the system gives memory to pages when they are touched.
 */
import { CORRECTION_BYTES, HEAP_ENTRY_BYTES, HEAP_HEADER_BYTES } from './kernels/kernels.ts'
import { type Metric } from '../model/records.ts'

/** Which kinds of row the arena holds. */
export interface ArenaRows {
  readonly float32: boolean
  readonly int8: boolean
  readonly bits: boolean
}

/** Most candidates that one scan can select. */
export const CANDIDATES_MAX = 65_536

/** Bytes of one page of WebAssembly memory. */
export const WASM_PAGE_BYTES = 65_536

/** Largest 32-bit WebAssembly memory, in pages: 4 GiB. */
export const WASM_PAGES_MAX = 65_536

/** Bytes of the heap, and of the band of rows that can be among the nearest. */
const HEAP_BYTES = HEAP_HEADER_BYTES + CANDIDATES_MAX * HEAP_ENTRY_BYTES

/** A block stays near this size, so that a small shard with large vectors does not reserve much. */
const BLOCK_BYTES_TARGET = 4_194_304

const SLOTS_PER_BLOCK_MAX = 4_096
const SLOTS_PER_BLOCK_MIN = 64

/** Addresses and sizes, in bytes. Region addresses are those of block 0. */
export interface MemoryLayout {
  readonly shift: number
  readonly slotsPerBlock: number
  readonly blockBytes: number
  readonly firstBlock: number
  /** Bytes of rows per slot, all kinds together. */
  readonly slotBytes: number

  readonly float32Bytes: number
  readonly int8Bytes: number
  readonly bitsBytes: number
  readonly float32: number
  readonly factors: number
  readonly int8: number
  readonly corrections: number
  readonly bits: number

  /** Components padded to a multiple of 64. */
  readonly padded: number
  readonly query: number
  readonly query16: number
  readonly queryBits: number
  readonly staging: number
  readonly thresholds: number
  readonly centre: number
  readonly inverse: number
  readonly step: number
  readonly mask: number
  readonly keys: number
  readonly list: number
  readonly found: number
  readonly heap: number
  readonly band: number
}

/** Lays out the memory of an arena. */
export function memoryLayout(dimension: number, metric: Metric, rows: ArenaRows): MemoryLayout {
  const padded = roundUp(dimension, 64)
  const float32Bytes = roundUp(dimension, 4) * 4
  const int8Bytes = roundUp(dimension, 16)
  const bitsBytes = padded / 8
  const factorBytes = rows.float32 && metric !== 'l2' ? 4 : 0
  const int8RowBytes = rows.int8 ? int8Bytes + CORRECTION_BYTES : 0
  const float32RowBytes = rows.float32 ? float32Bytes + factorBytes : 0
  const slotBytes = float32RowBytes + int8RowBytes + (rows.bits ? bitsBytes : 0)
  const slotsPerBlock = slotsFor(slotBytes)

  let at = 1_024
  const take = (bytes: number): number => {
    const address = at
    at = roundUp(at + bytes, 64)
    return address
  }
  const query = take(padded * 4)
  const query16 = take(padded * 2)
  const queryBits = take(bitsBytes)
  const staging = take(padded * 4)
  const thresholds = take(padded * 4)
  const centre = take(padded * 4)
  const inverse = take(padded * 4)
  const step = take(padded * 4)
  const mask = take(slotsPerBlock / 8)
  const keys = take(slotsPerBlock * 4)
  const list = take(slotsPerBlock * 4)
  const found = take(slotsPerBlock * 4)
  const heap = take(HEAP_BYTES)
  const band = take(HEAP_BYTES)
  const firstBlock = roundUp(at, WASM_PAGE_BYTES)

  at = firstBlock
  const float32 = take(rows.float32 ? slotsPerBlock * float32Bytes : 0)
  const factors = take(slotsPerBlock * factorBytes)
  const int8 = take(rows.int8 ? slotsPerBlock * int8Bytes : 0)
  const corrections = take(rows.int8 ? slotsPerBlock * CORRECTION_BYTES : 0)
  const bits = take(rows.bits ? slotsPerBlock * bitsBytes : 0)
  const blockBytes = at - firstBlock

  return {
    shift: Math.log2(slotsPerBlock),
    slotsPerBlock,
    blockBytes,
    firstBlock,
    slotBytes,
    float32Bytes,
    int8Bytes,
    bitsBytes,
    float32,
    factors,
    int8,
    corrections,
    bits,
    padded,
    query,
    query16,
    queryBits,
    staging,
    thresholds,
    centre,
    inverse,
    step,
    mask,
    keys,
    list,
    found,
    heap,
    band,
  }
}

/** Most slots that fit the largest memory. */
export function slotsMax(layout: MemoryLayout): number {
  const room = WASM_PAGES_MAX * WASM_PAGE_BYTES - layout.firstBlock
  return Math.floor(room / layout.blockBytes) * layout.slotsPerBlock
}

/** The kinds of row by which `count` vectors fit into `bytesMax`; null when not even bits do. */
export function fittingRows(
  count: number,
  dimension: number,
  metric: Metric,
  bytesMax: number,
): ArenaRows | null {
  const choices: readonly ArenaRows[] = [
    { float32: true, int8: true, bits: true },
    { float32: false, int8: true, bits: true },
    { float32: false, int8: false, bits: true },
  ]
  const fitting = choices.find((rows) => {
    const layout = memoryLayout(dimension, metric, rows)
    return count * layout.slotBytes <= bytesMax && count <= slotsMax(layout)
  })
  return fitting ?? null
}

function slotsFor(slotBytes: number): number {
  let slots = SLOTS_PER_BLOCK_MAX
  while (slots > SLOTS_PER_BLOCK_MIN && slots * slotBytes > BLOCK_BYTES_TARGET) slots /= 2
  return slots
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple
}
