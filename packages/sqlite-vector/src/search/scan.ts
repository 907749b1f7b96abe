/**
 * Runs a kernel over slots of an arena and keeps the smallest keys, or all within a limit.
 *
 * The query is written into the arena's scratch memory first ({@link loadQuery}); block by block,
 * keys are computed into a buffer and chosen from. Keys order rows, smaller is nearer; they are not
 * distances.
 */
import { assert } from '../assert.ts'
import type { Arena } from './arena.ts'
import { HEAP_ENTRY_BYTES, HEAP_HEADER_BYTES } from './kernels/kernels.ts'
import { CANDIDATES_MAX } from './memory-layout.ts'
import { inverseNorm, quantizeQuery, queryBits } from './quantizer.ts'

/** The kind of row a scan reads. */
export type RowKind = 'float32' | 'int8' | 'bits'

/** Which slots a scan looks at. */
export type Selection =
  | { readonly type: 'all' }
  /** The slots whose bit is set; as many 32-bit words as the arena's slots need, in whole pairs. */
  | { readonly type: 'mask'; readonly words: Uint32Array; readonly count: number }
  /** Just these, each at most once. */
  | { readonly type: 'list'; readonly slots: Uint32Array }

/** Every slot. */
export const EVERYTHING: Selection = { type: 'all' }

/** Slots with their keys, in no order. */
export interface Candidates {
  readonly slots: Uint32Array
  readonly keys: Float32Array
}

/** A query in the arena's scratch memory, until the next one is loaded. */
export interface LoadedQuery {
  readonly vector: Float32Array
  readonly int8Gain: number
  /**
   * Bounds of int8 keys are in units of the distance minus this: of 1 minus cosine similarity, of
   * the Euclidean distance, or of minus the dot product.
   */
  readonly origin: number
}

/** Slots that can be among the nearest, with lower bounds of their distances, in no order. */
export interface Band {
  readonly slots: Uint32Array
  /** In units of the distance minus {@link LoadedQuery.origin}. */
  readonly lower: Float32Array
}

/** Slots in a selection. */
export function selectionCount(arena: Arena, selection: Selection): number {
  if (selection.type === 'all') return arena.count
  return selection.type === 'mask' ? selection.count : selection.slots.length
}

/** The slots of a selection, ascending unless it is a list. O(count). */
export function selectionSlots(arena: Arena, selection: Selection): Uint32Array {
  if (selection.type === 'list') return selection.slots
  if (selection.type === 'all') return Uint32Array.from({ length: arena.count }, (_, slot) => slot)
  const slots = new Uint32Array(selection.count)
  let at = 0
  for (let i = 0; i < selection.words.length; i += 1) {
    for (let word = selection.words[i] ?? 0; word !== 0; word &= word - 1) {
      slots[at] = i * 32 + 31 - Math.clz32(word & -word)
      at += 1
    }
  }
  return slots
}

/**
 * Writes a query of the arena's dimension into its scratch memory, for all kinds of row it holds.
 */
export function loadQuery(arena: Arena, vector: Float32Array): LoadedQuery {
  assert(vector.length === arena.dimension, 'a query has the dimension of its arena')
  const { layout, memory, quantizer, metric } = arena
  new Float32Array(memory.buffer, layout.query, layout.padded).fill(0)
  new Float32Array(memory.buffer, layout.query, vector.length).set(vector)
  if (quantizer === null) return { vector, int8Gain: 0, origin: 0 }
  const scale = metric === 'cosine' ? inverseNorm(vector) : 1
  const int8 = quantizeQuery(quantizer, metric, vector, scale)
  new Int16Array(memory.buffer, layout.query16, layout.padded).fill(0)
  new Int16Array(memory.buffer, layout.query16, vector.length).set(int8.codes)
  memory.set(queryBits(quantizer, vector, scale), layout.queryBits)
  const { base, origin, weight, slope } = int8
  const gamma = (layout.padded / 8 + 16) * 2 ** -23
  arena.kernels.certifyQuery(metric === 'l2', base, weight, slope, gamma)
  return { vector, int8Gain: int8.gain, origin }
}

/**
 * Every slot of the selection that can be among the `k` nearest, by the bounds of its int8 codes,
 * and perhaps some more. Null when they are too many to hold: more than CANDIDATES_MAX.
 */
export function scanBand(
  arena: Arena,
  query: LoadedQuery,
  selection: Selection,
  k: number,
): Band | null {
  assert(k >= 1 && k <= CANDIDATES_MAX, 'k in range')
  const { kernels, layout } = arena
  const { keys, corrections, heap, band } = layout
  kernels.heapReset(heap, k)
  kernels.listReset(band, CANDIDATES_MAX)
  forEachKeys(arena, 'int8', query, selection, (count, first, list) => {
    if (list !== 0) kernels.certifyList(keys, corrections, list, count, heap, band)
    else {
      const from = corrections + (first >>> layout.shift) * layout.blockBytes
      kernels.certifyRun(keys, from, count, first, heap, band)
    }
  })
  const { buffer } = arena.memory
  const [count = 0, , lost = 0] = new Uint32Array(buffer, band, 3)
  if (lost !== 0) return null
  const bound = new Float32Array(buffer, heap, 3)[2] ?? Infinity
  return readBand(arena, count, bound)
}

/** Keys of single slots, in their order. */
export function keysOfSlots(
  arena: Arena,
  kind: RowKind,
  query: LoadedQuery,
  slots: Uint32Array,
): Float32Array {
  const keys = new Float32Array(slots.length)
  let at = 0
  forEachKeys(arena, kind, query, { type: 'list', slots }, (count) => {
    keys.set(new Float32Array(arena.memory.buffer, arena.layout.keys, count), at)
    at += count
  })
  return keys
}

/**
 * The `capacity` smallest keys of the selection, in no order. `capacity` is 1 to CANDIDATES_MAX.
 */
export function scanSmallest(
  arena: Arena,
  kind: RowKind,
  query: LoadedQuery,
  selection: Selection,
  capacity: number,
): Candidates {
  assert(capacity >= 1 && capacity <= CANDIDATES_MAX, 'a capacity in range')
  const { kernels, layout } = arena
  kernels.heapReset(layout.heap, capacity)
  forEachKeys(arena, kind, query, selection, (count, first, list) => {
    if (list === 0) kernels.selectRun(layout.keys, count, first, layout.heap)
    else kernels.selectList(layout.keys, list, count, layout.heap)
  })
  return readHeap(arena)
}

/** All slots of the selection whose key is at most `limit`, ascending within a mask or a run. */
export function scanWithin(
  arena: Arena,
  kind: RowKind,
  query: LoadedQuery,
  selection: Selection,
  limit: number,
): Uint32Array {
  const { kernels, layout } = arena
  // The kernel compares float32: a limit rounded down would lose rows that are exactly at it.
  const bound = roundUpToFloat32(limit)
  const found: number[] = []
  forEachKeys(arena, kind, query, selection, (count, first, list) => {
    const hits =
      list === 0
        ? kernels.withinRun(layout.keys, count, first, bound, layout.found)
        : kernels.withinList(layout.keys, list, count, bound, layout.found)
    const slots = new Uint32Array(arena.memory.buffer, layout.found, hits)
    for (let i = 0; i < hits; i += 1) found.push(slots[i] ?? 0)
  })
  return Uint32Array.from(found)
}

/** A mask of slots in the form that {@link Selection} wants, empty. */
export function emptyMask(arena: Arena): Uint32Array {
  return new Uint32Array(Math.ceil(arena.count / 64) * 2)
}

type KeysReader = (count: number, first: number, list: number) => void

/**
 * Computes keys block by block; `read` finds them at layout.keys, of a run (list 0) or of a list.
 */
function forEachKeys(
  arena: Arena,
  kind: RowKind,
  query: LoadedQuery,
  selection: Selection,
  read: KeysReader,
): void {
  const { layout, kernels } = arena
  const { slotsPerBlock } = layout
  assert(kind === 'float32' || arena.quantizer !== null, 'codes and bits are filled')
  assert(arena.rows[kind], 'the arena holds rows of this kind')
  if (selection.type === 'list') {
    for (let at = 0; at < selection.slots.length; at += slotsPerBlock) {
      const part = selection.slots.subarray(at, at + slotsPerBlock)
      new Uint32Array(arena.memory.buffer, layout.list, part.length).set(part)
      keysOfList(arena, kind, query, part.length)
      read(part.length, 0, layout.list)
    }
    return
  }
  for (let first = 0; first < arena.count; first += slotsPerBlock) {
    const count = Math.min(slotsPerBlock, arena.count - first)
    if (selection.type === 'all') {
      keysOfRun(arena, kind, query, first, count)
      read(count, first, 0)
      continue
    }
    const words = selection.words.subarray(first >>> 5, (first + slotsPerBlock) >>> 5)
    new Uint32Array(arena.memory.buffer, layout.mask, words.length).set(words)
    const hits = kernels.maskToList(layout.mask, words.length >>> 1, first, layout.list)
    if (hits === 0) continue
    keysOfList(arena, kind, query, hits)
    read(hits, first, layout.list)
  }
}

function keysOfRun(
  arena: Arena,
  kind: RowKind,
  query: LoadedQuery,
  first: number,
  count: number,
): void {
  const { kernels, layout } = arena
  const offset = (first >>> layout.shift) * layout.blockBytes
  if (kind === 'bits') {
    const rows = layout.bits + offset
    kernels.bitsRun(rows, layout.bitsBytes, count, layout.queryBits, layout.keys)
  } else if (kind === 'int8') {
    const rows = layout.int8 + offset
    const corrections = layout.corrections + offset
    const { int8Gain } = query
    const { int8Bytes, query16, keys } = layout
    kernels.int8Run(rows, int8Bytes, corrections, count, query16, int8Gain, keys)
  } else if (arena.metric === 'l2') {
    const rows = layout.float32 + offset
    kernels.squaredRun(rows, layout.float32Bytes, count, layout.query, layout.keys)
  } else {
    const rows = layout.float32 + offset
    const factors = layout.factors + offset
    kernels.dotRun(rows, layout.float32Bytes, factors, count, layout.query, layout.keys)
  }
}

function keysOfList(arena: Arena, kind: RowKind, query: LoadedQuery, count: number): void {
  const { kernels, layout } = arena
  const { list, keys } = layout
  if (kind === 'bits') {
    kernels.bitsList(layout.bits, layout.bitsBytes, list, count, layout.queryBits, keys)
  } else if (kind === 'int8') {
    const { int8, int8Bytes, corrections, query16 } = layout
    kernels.int8List(int8, int8Bytes, corrections, list, count, query16, query.int8Gain, keys)
  } else if (arena.metric === 'l2') {
    kernels.squaredList(layout.float32, layout.float32Bytes, list, count, layout.query, keys)
  } else {
    const { float32, float32Bytes, factors } = layout
    kernels.dotList(float32, float32Bytes, factors, list, count, layout.query, keys)
  }
}

function readHeap(arena: Arena): Candidates {
  const { buffer } = arena.memory
  const { heap } = arena.layout
  const count = new Uint32Array(buffer, heap, 1)[0] ?? 0
  const words = (count * HEAP_ENTRY_BYTES) / 4
  const slotWords = new Uint32Array(buffer, heap + HEAP_HEADER_BYTES, words)
  const keyWords = new Float32Array(buffer, heap + HEAP_HEADER_BYTES, words)
  const slots = new Uint32Array(count)
  const keys = new Float32Array(count)
  for (let i = 0; i < count; i += 1) {
    keys[i] = keyWords[2 * i] ?? 0
    slots[i] = slotWords[2 * i + 1] ?? 0
  }
  return { slots, keys }
}

/** The entries of the band whose lower bound is not above `bound`. */
function readBand(arena: Arena, count: number, bound: number): Band {
  const from = arena.layout.band + HEAP_HEADER_BYTES
  const bounds = new Float32Array(arena.memory.buffer, from, count * 2)
  const numbers = new Uint32Array(arena.memory.buffer, from, count * 2)
  const slots = new Uint32Array(count)
  const lower = new Float32Array(count)
  let kept = 0
  for (let i = 0; i < count; i += 1) {
    const value = bounds[2 * i] ?? 0
    if (value > bound) continue
    lower[kept] = value
    slots[kept] = numbers[2 * i + 1] ?? 0
    kept += 1
  }
  return { slots: slots.subarray(0, kept), lower: lower.subarray(0, kept) }
}

/** The smallest float32 that is not below `value`. */
function roundUpToFloat32(value: number): number {
  const rounded = Math.fround(value)
  if (rounded >= value || !Number.isFinite(value)) return rounded
  const view = new DataView(new ArrayBuffer(4))
  view.setFloat32(0, rounded)
  const bits = view.getInt32(0)
  // The next float32 upwards: a larger magnitude above zero, a smaller one below.
  view.setInt32(0, rounded === 0 ? 1 : bits + Math.sign(bits))
  return view.getFloat32(0)
}
