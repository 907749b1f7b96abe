/**
 * The vectors of one shard in WebAssembly memory: float32 rows, int8 codes and bits by slot.
 *
 * A copy of what SQLite holds and never the truth: it may be thrown away at any time. It stores, it
 * does not search (scan.ts) and does not decide what to hold (planner.ts).
 *
 * Invariants:
 *   I1  Slots 0 … count − 1 are taken, each by one record (slot-map.ts); a delete moves the last
 *       slot into the gap, so insert and delete are O(dimension) and a scan meets no holes.
 *   I2  A slot's float32 row is the record's embedding bit for bit; codes and bits are functions of
 *       it and of the quantizer.
 *   I3  Rows whose arithmetic could leave float32's range ("wild": not finite when squared, or no
 *       length under cosine) are counted; while there is one, scans are not to be trusted.
 *
 * Views over the memory are void after {@link Arena.set}: growing detaches the buffer.
 */
import { assert } from '../assert.ts'
import { bytesEqual, concatBytes } from '../bytes.ts'
import { CORRECTION_BYTES, type Kernels, type WasmMemory } from './kernels/kernels.ts'
import { createMemory, instantiateKernels } from './kernels/kernels.ts'
import { type ArenaRows, type MemoryLayout, memoryLayout, slotsMax } from './memory-layout.ts'
import { WASM_PAGE_BYTES, WASM_PAGES_MAX } from './memory-layout.ts'
import { type Quantizer, inverseNorm } from './quantizer.ts'
import { SlotMap } from './slot-map.ts'
import { type Metric } from '../model/records.ts'

/** Rows and queries up to this length keep every float32 sum of squares finite. */
const NORM_MAX = 1e15

/** Under cosine a row this short would lose its direction to underflow. */
const NORM_MIN = 1e-15

/** Components that are encoded in one step: some ten milliseconds. */
const ENCODED_COMPONENTS = 4_000_000

/** Fixed properties of an arena. */
export interface ArenaOptions {
  readonly dimension: number
  readonly metric: Metric
  readonly rows: ArenaRows
}

/** True when arithmetic on a vector of this length stays inside float32's range (I3). */
export function isTame(length: number, metric: Metric): boolean {
  return length <= NORM_MAX && (metric !== 'cosine' || length >= NORM_MIN)
}

export class Arena {
  readonly dimension: number
  readonly metric: Metric
  readonly rows: ArenaRows
  readonly layout: MemoryLayout
  readonly kernels: Kernels
  readonly #memory: WasmMemory
  readonly #slots = new SlotMap()
  readonly #wild = new Set<number>()
  #normMax = 0
  #removals = 0
  #quantizer: Quantizer | null = null
  /** While codes are being remade: those of the slots below are done. */
  #encoding = false
  #encoded = 0
  #bytes: Uint8Array
  #floats: Float32Array

  constructor(options: ArenaOptions) {
    this.dimension = options.dimension
    this.metric = options.metric
    this.rows = options.rows
    this.layout = memoryLayout(options.dimension, options.metric, options.rows)
    this.#memory = createMemory(this.layout.firstBlock / WASM_PAGE_BYTES, WASM_PAGES_MAX)
    this.kernels = instantiateKernels(this.#memory)
    this.kernels.setLayout(this.layout.shift, this.layout.blockBytes)
    this.#bytes = new Uint8Array(this.#memory.buffer)
    this.#floats = new Float32Array(this.#memory.buffer)
  }

  /** Records held. */
  get count(): number {
    return this.#slots.count
  }

  /** Records whose numbers are outside the range in which scans may be trusted (I3). */
  get wildCount(): number {
    return this.#wild.size
  }

  /** No row is longer than this; never falls while rows are held. */
  get normMax(): number {
    return this.#normMax
  }

  /** Rises whenever a slot may have got another record. */
  get removals(): number {
    return this.#removals
  }

  /** Most records that fit. */
  get capacity(): number {
    return slotsMax(this.layout)
  }

  /** The quantizer of codes and bits; null while they are not filled. */
  get quantizer(): Quantizer | null {
    return this.#quantizer
  }

  /** Bytes of the rows held, of the tables beside them and of the working space. */
  get bytes(): number {
    return this.count * this.layout.slotBytes + this.#slots.bytes + this.layout.firstBlock
  }

  /** The whole memory; void after {@link set}. */
  get memory(): Uint8Array {
    return this.#bytes
  }

  has(record: number): boolean {
    return this.#slots.slotOf(record) >= 0
  }

  /** The slot of `record`, or −1. */
  slotOf(record: number): number {
    return this.#slots.slotOf(record)
  }

  /** The record in `slot`. */
  recordAt(slot: number): number {
    return this.#slots.recordAt(slot)
  }

  /**
   * Puts `record`, new or known, with the bytes of its embedding: `dimension` float32,
   * little-endian. False when the arena held the same embedding already; without float32 rows,
   * the same codes.
   */
  set(record: number, embedding: Uint8Array): boolean {
    assert(
      embedding.byteLength === this.dimension * 4,
      'an embedding of the dimension of its arena',
    )
    let slot = this.#slots.slotOf(record)
    const known = slot >= 0
    if (!known) {
      this.reserve(this.#slots.count + 1)
      slot = this.#slots.add(record)
    }
    const { layout, kernels } = this
    const encoded = this.#quantizer !== null || this.#encoding
    let row: number = layout.staging
    let before: Uint8Array | null = null
    if (this.rows.float32) {
      row = this.address(layout.float32, slot, layout.float32Bytes)
      if (known && bytesEqual(this.#bytes.subarray(row, row + embedding.length), embedding)) {
        return false
      }
      if (encoded) this.#bytes.set(embedding, layout.staging)
    } else if (known && encoded) before = this.codesOf(record)
    this.#bytes.set(embedding, row)
    const length = kernels.rowNorm(row, layout.float32Bytes)
    if (!isTame(length, this.metric)) this.#wild.add(record)
    else if (this.#wild.size > 0) this.#wild.delete(record)
    if (length > this.#normMax) this.#normMax = length
    const scale = this.metric === 'cosine' && length > 0 ? 1 / length : 1
    if (this.rows.float32 && this.metric !== 'l2') {
      this.#floats[this.address(layout.factors, slot, 4) / 4] = scale
    }
    if (encoded) this.#encode(slot, scale)
    return before === null || !bytesEqual(before, this.codesOf(record))
  }

  /** Takes `record` out; false when it was not held. */
  delete(record: number): boolean {
    const move = this.#slots.remove(record)
    if (move === null) return false
    this.#removals += 1
    this.#wild.delete(record)
    if (move.from !== move.to) this.#copyRows(move.from, move.to)
    // The row that moved down had no codes yet, and its turn is over.
    if (this.#encoding && move.to < this.#encoded && move.from >= this.#encoded) {
      this.#encodeRow(move.to)
    }
    if (this.#encoding) this.#encoded = Math.min(this.#encoded, this.count)
    return true
  }

  clear(): void {
    this.#slots.clear()
    this.#wild.clear()
    this.#normMax = 0
    this.#removals += 1
  }

  /**
   * Gives the slots from 0 on to `records`, whose codes are then to be written into {@link
   * codeViews}: the content of an earlier arena without float32 rows and without wild ones. False
   * when they are not a set of rowids.
   */
  adopt(records: Float64Array): boolean {
    assert(this.count === 0 && !this.rows.float32, 'an empty arena of codes')
    this.reserve(records.length)
    for (const record of records) {
      if (!Number.isSafeInteger(record) || record < 0 || this.has(record)) return false
      this.#slots.add(record)
    }
    return true
  }

  /**
   * The codes of the first `count` slots, in pieces: int8 rows by slot, then their corrections,
   * then bits. The address of a piece is looked up when it is read, and is void after {@link set}.
   */
  *codeViews(count: number): Generator<() => Uint8Array> {
    const { slotsPerBlock } = this.layout
    for (const [region, rowBytes] of this.#codeRegions()) {
      for (let slot = 0; slot < count; slot += slotsPerBlock) {
        const bytes = Math.min(slotsPerBlock, count - slot) * rowBytes
        const from = this.address(region, slot, rowBytes)
        yield () => this.#bytes.subarray(from, from + bytes)
      }
    }
  }

  /** A copy that holds the codes and bits alone; no row may be wild, and codes must be filled. */
  withoutFloat32(): Arena {
    const { dimension, metric, rows, count } = this
    assert(this.#quantizer !== null && this.wildCount === 0, 'codes that stand for all rows')
    const copy = new Arena({ dimension, metric, rows: { ...rows, float32: false } })
    copy.quantize(this.#quantizer)
    const adopted = copy.adopt(
      Float64Array.from({ length: count }, (_, slot) => this.recordAt(slot)),
    )
    assert(adopted, 'records of an arena are rowids')
    const [from, to] = [this.#codeRegions(), copy.#codeRegions()]
    const slots = Math.min(this.layout.slotsPerBlock, copy.layout.slotsPerBlock)
    for (const [i, [region, rowBytes]] of from.entries()) {
      const target = to[i]?.[0] ?? 0
      for (let slot = 0; slot < count; slot += slots) {
        const start = this.address(region, slot, rowBytes)
        const bytes = Math.min(slots, count - slot) * rowBytes
        copy.#bytes.set(
          this.#bytes.subarray(start, start + bytes),
          copy.address(target, slot, rowBytes),
        )
      }
    }
    return copy
  }

  /** The embedding in `slot` as a view; only where float32 rows are held. */
  float32At(slot: number): Float32Array {
    assert(this.rows.float32, 'float32 rows are held')
    const address = this.address(this.layout.float32, slot, this.layout.float32Bytes)
    return this.#floats.subarray(address / 4, address / 4 + this.dimension)
  }

  /** A copy of the codes of `record`, which must be held. */
  codesOf(record: number): Uint8Array {
    const slot = this.slotOf(record)
    assert(slot >= 0, 'a record that is held')
    const pieces = this.#codeRegions().map(([region, rowBytes]) => {
      const from = this.address(region, slot, rowBytes)
      return this.#bytes.subarray(from, from + rowBytes)
    })
    return concatBytes(pieces)
  }

  /** Address of the row of `slot` in a region of the layout. */
  address(region: number, slot: number, rowBytes: number): number {
    const { shift, slotsPerBlock, blockBytes } = this.layout
    return region + (slot >>> shift) * blockBytes + (slot & (slotsPerBlock - 1)) * rowBytes
  }

  /**
   * Uses `quantizer` from now on. Codes and bits of rows already held are remade from their float32
   * rows; an arena without those must be empty. O(count × dimension).
   */
  quantize(quantizer: Quantizer): void {
    for (const _ of this.requantize(quantizer));
  }

  /**
   * As {@link quantize}, some rows a step, with writes and float32 scans in between. There is no
   * quantizer, and codes are not to be read, until the last step.
   */
  *requantize(quantizer: Quantizer): Generator<void, void> {
    assert(this.rows.float32 || this.count === 0, 'codes are remade from float32 rows')
    assert(quantizer.step.length === this.dimension, 'a quantizer of the same dimension')
    const { layout } = this
    const put = (values: Float32Array, address: number): void => {
      this.#floats.fill(0, address / 4, address / 4 + layout.padded)
      this.#floats.set(values, address / 4)
    }
    put(quantizer.thresholds, layout.thresholds)
    put(quantizer.centre, layout.centre)
    put(quantizer.step, layout.step)
    put(
      quantizer.step.map((step) => 1 / step),
      layout.inverse,
    )
    this.#quantizer = null
    this.#encoding = true
    this.#encoded = 0
    while (this.#encoded < this.count) {
      const end = Math.min(
        this.count,
        this.#encoded + Math.ceil(ENCODED_COMPONENTS / this.dimension),
      )
      for (; this.#encoded < end; this.#encoded += 1) this.#encodeRow(this.#encoded)
      if (this.#encoded < this.count) yield
    }
    this.#encoding = false
    this.#quantizer = quantizer
  }

  /** Makes the codes of a slot from its float32 row. */
  #encodeRow(slot: number): void {
    const row = this.float32At(slot)
    this.#floats.set(row, this.layout.staging / 4)
    this.#encode(slot, this.metric === 'cosine' ? inverseNorm(row) : 1)
  }

  #encode(slot: number, scale: number): void {
    const { layout, kernels, rows } = this
    if (rows.bits) {
      const out = this.address(layout.bits, slot, layout.bitsBytes)
      kernels.encodeBits(layout.staging, layout.thresholds, layout.padded, scale, out)
    }
    if (rows.int8) {
      kernels.encodeInt8(
        layout.staging,
        layout.centre,
        layout.inverse,
        layout.step,
        layout.int8Bytes,
        scale,
        // Rounding of `scale` moves a row of length 1 by less than this.
        this.metric === 'cosine' ? 4e-6 : 0,
        this.metric === 'l2',
        this.address(layout.int8, slot, layout.int8Bytes),
        this.address(layout.corrections, slot, CORRECTION_BYTES),
      )
    }
  }

  #codeRegions(): (readonly [address: number, rowBytes: number])[] {
    const { layout, rows } = this
    const regions: (readonly [address: number, rowBytes: number])[] = []
    if (rows.int8)
      regions.push([layout.int8, layout.int8Bytes], [layout.corrections, CORRECTION_BYTES])
    if (rows.bits) regions.push([layout.bits, layout.bitsBytes])
    return regions
  }

  #copyRows(from: number, to: number): void {
    const { layout, rows } = this
    const copy = (region: number, rowBytes: number): void => {
      const source = this.address(region, from, rowBytes)
      this.#bytes.copyWithin(this.address(region, to, rowBytes), source, source + rowBytes)
    }
    if (rows.float32) copy(layout.float32, layout.float32Bytes)
    if (rows.float32 && this.metric !== 'l2') copy(layout.factors, 4)
    if (rows.int8) copy(layout.int8, layout.int8Bytes)
    if (rows.int8) copy(layout.corrections, CORRECTION_BYTES)
    if (rows.bits) copy(layout.bits, layout.bitsBytes)
  }

  /** Makes room for `count` slots; by an eighth at least, so that growing is rare. */
  reserve(count: number): void {
    const { slotsPerBlock, blockBytes, firstBlock } = this.layout
    const blocks = Math.ceil(count / slotsPerBlock)
    const needed = Math.ceil((firstBlock + blocks * blockBytes) / WASM_PAGE_BYTES)
    const present = this.#memory.buffer.byteLength / WASM_PAGE_BYTES
    if (needed <= present) return
    const generous = Math.min(WASM_PAGES_MAX, Math.max(needed, present + (present >>> 3)))
    this.#memory.grow(generous - present)
    this.#bytes = new Uint8Array(this.#memory.buffer)
    this.#floats = new Float32Array(this.#memory.buffer)
  }
}
