/**
 * The compiled kernels as typed functions over one WebAssembly memory.
 *
 * Not a safe interface: arguments are addresses, and nothing is checked. The arena (../arena.ts) is
 * the only caller. Each function has a plain TypeScript reference in
 * tests/unit/search/kernel-reference.ts.
 */
import { base64ToBytes } from '../../bytes.ts'
import { KERNELS_BASE64 } from './kernels.wasm.ts'

/** An address in the memory, in bytes. */
export type Address = number

/** The kernels of one memory. Keys are float32, slots uint32, masks whole 64-bit words. */
export interface Kernels {
  /** A block is 2^shift slots in `bytes` bytes; holds for all list functions of this instance. */
  setLayout(shift: number, bytes: number): void

  /** Euclidean length of a float32 row, summed in float64. */
  rowNorm(row: Address, rowBytes: number): number
  dotRun(
    rows: Address,
    rowBytes: number,
    factors: Address,
    count: number,
    query: Address,
    out: Address,
  ): void
  dotList(
    rows: Address,
    rowBytes: number,
    factors: Address,
    list: Address,
    count: number,
    query: Address,
    out: Address,
  ): void
  squaredRun(rows: Address, rowBytes: number, count: number, query: Address, out: Address): void
  squaredList(
    rows: Address,
    rowBytes: number,
    list: Address,
    count: number,
    query: Address,
    out: Address,
  ): void
  int8Run(
    rows: Address,
    rowBytes: number,
    corrections: Address,
    count: number,
    query: Address,
    gain: number,
    out: Address,
  ): void
  int8List(
    rows: Address,
    rowBytes: number,
    corrections: Address,
    list: Address,
    count: number,
    query: Address,
    gain: number,
    out: Address,
  ): void
  bitsRun(rows: Address, rowBytes: number, count: number, query: Address, out: Address): void
  bitsList(
    rows: Address,
    rowBytes: number,
    list: Address,
    count: number,
    query: Address,
    out: Address,
  ): void

  heapReset(heap: Address, capacity: number): void
  selectRun(keys: Address, count: number, first: number, heap: Address): void
  selectList(keys: Address, list: Address, count: number, heap: Address): void
  withinRun(keys: Address, count: number, first: number, limit: number, out: Address): number
  withinList(keys: Address, list: Address, count: number, limit: number, out: Address): number
  maskToList(mask: Address, words: number, first: number, out: Address): number

  encodeBits(
    row: Address,
    thresholds: Address,
    components: number,
    scale: number,
    out: Address,
  ): void
  encodeInt8(
    row: Address,
    centre: Address,
    inverse: Address,
    step: Address,
    components: number,
    scale: number,
    slack: number,
    squares: boolean,
    out: Address,
    correction: Address,
  ): void

  certifyQuery(l2: boolean, base: number, weight: number, slope: number, gamma: number): void
  listReset(list: Address, capacity: number): void
  certifyRun(
    keys: Address,
    corrections: Address,
    count: number,
    first: number,
    heap: Address,
    list: Address,
  ): void
  certifyList(
    keys: Address,
    corrections: Address,
    slots: Address,
    count: number,
    heap: Address,
    list: Address,
  ): void
}

/** Bytes of an int8 row's correction: scale, offset, distance to the row; float32 each. */
export const CORRECTION_BYTES = 12

/** Bytes of a heap before its entries; an entry is a float32 key and a uint32 slot. */
export const HEAP_HEADER_BYTES = 16

/** Bytes of one entry of a heap. */
export const HEAP_ENTRY_BYTES = 8

/** A WebAssembly memory; its buffer is replaced when it grows. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer
  /** Adds pages of 64 KiB. @throws RangeError beyond the maximum or when the system refuses */
  grow(pages: number): number
}

/** The part of the global `WebAssembly` that is used: its types come only with a browser's. */
interface WasmNamespace {
  readonly Memory: new (size: { initial: number; maximum: number }) => WasmMemory
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (
    module: object,
    imports: { readonly env: { readonly memory: WasmMemory } },
  ) => { readonly exports: unknown }
}

const wasm = (globalThis as unknown as { readonly WebAssembly: WasmNamespace }).WebAssembly

let compiled: object | undefined

/** A memory of `initial` pages of 64 KiB that may grow to `maximum`. */
export function createMemory(initial: number, maximum: number): WasmMemory {
  return new wasm.Memory({ initial, maximum })
}

/** The kernels over `memory`. Compiles the module (3 KB) at the first call of the process. */
export function instantiateKernels(memory: WasmMemory): Kernels {
  compiled ??= new wasm.Module(base64ToBytes(KERNELS_BASE64))
  return new wasm.Instance(compiled, { env: { memory } }).exports as Kernels
}
