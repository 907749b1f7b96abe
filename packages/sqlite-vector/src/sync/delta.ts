/**
 * Delta: changes of one shard as one BATCH frame, or as RECORDS, which is the same in answer to
 * NEED. Pure; knows no session and no store. The way back is delta-decode.ts.
 *
 * | bytes | field          | encoding |
 * | ----- | -------------- | -------- |
 * | 8     | head           | frame.ts; type BATCH, checksum over everything |
 * | …     | header         | MessagePack array: through, dimension, changes, siblings, contexts, |
 * |       |                | embeddings, ms base, bytes of ids, of metadata, of texts, actors |
 * |       |                | (binary, 16 bytes each) |
 * | …     | columns        | varints (varint.ts), each column whole before the next: |
 * |       |                | 1 per actor: counter base |
 * |       |                | 2 per change: siblings (1 to 32) |
 * |       |                | 3 per change: entries of the context; 0: the siblings' dots |
 * |       |                | 4 per sibling: 1 put, 2 embedding here, 4 embedding dot, 8 text |
 * |       |                | 5 per sibling: actor (index) |
 * |       |                | 6 per sibling: counter above the actor's base |
 * |       |                | 7 per sibling: ms above the base |
 * |       |                | 8 per sibling: logical |
 * |       |                | 9 per flag 4: actor, counter above its base |
 * |       |                | 10 per context entry: actor, counter above its base |
 * |       |                | 11 per change: id; 12 per put: metadata; 13 per flag 8: text, each |
 * |       |                | as its length in UTF-16 units |
 * | …     | ids            | UTF-8, one after the other |
 * | …     | metadata       | UTF-8, JSON objects |
 * | …     | texts          | UTF-8 |
 * | 0–7   | padding        | zero, to a multiple of 8 from the frame's start |
 * | …     | embeddings     | float32 little-endian, dimension × embeddings, to the frame's end |
 *
 * Lengths count UTF-16 units so that each block is decoded once and cut in memory. Decoding is
 * total: any bytes give changes or `SYNC_FRAME_CORRUPT`, and it allocates no more than in
 * proportion to the frame's length. Embeddings are views of the frame.
 */
import { utf8ByteLength, writeHex, writeUtf8 } from '../bytes.ts'
import { assert } from '../assert.ts'
import { HLC_MS_MAX } from '../clock/hlc.ts'
import { contextOf } from '../model/merge.ts'
import { FRAME_HEAD_BYTES, sealFrame } from './wire/frame.ts'
import { encodeArray } from './wire/messagepack.ts'
import type { ActorId, Change, Dot, RecordValue, Sibling, VersionVector } from '../model/types.ts'
import { VarintWriter } from './wire/varint.ts'
import { sameDot, vectorsEqual } from '../model/version-vector.ts'

/** Changes of one shard in the order of the sender's feed. */
export interface Delta {
  /** The sender's change_id up to which the reader has everything, once these are applied. */
  readonly through: number
  readonly changes: readonly Change[]
}

/** Bits of the flags column. */
export const FLAGS = { put: 1, embeddingHere: 2, embeddingDot: 4, text: 8 } as const

/** Bytes of an actor on the wire. */
export const ACTOR_BYTES = 16

// Kept between calls: encoding is synchronous, and each call begins at length 0.
const columns = new VarintWriter()

/** Actors of one delta, each with its smallest counter, so that columns hold small differences. */
class ActorTable {
  readonly actors: ActorId[] = []
  readonly bases: number[] = []
  readonly #indexes = new Map<ActorId, number>()
  #last = -1

  /** The index of the dot's actor; its base is at most the dot's counter afterwards. */
  add(dot: Dot): number {
    return this.addCounter(dot.actor, dot.counter)
  }

  addCounter(actor: ActorId, counter: number): number {
    let index = this.#last
    if (index < 0 || this.actors[index] !== actor) {
      index = this.#indexes.get(actor) ?? -1
      if (index < 0) {
        index = this.actors.length
        this.#indexes.set(actor, index)
        this.actors.push(actor)
        this.bases.push(counter)
      }
      this.#last = index
    }
    if (counter < (this.bases[index] as number)) this.bases[index] = counter
    return index
  }

  index(actor: ActorId): number {
    return this.actors[this.#last] === actor ? this.#last : (this.#indexes.get(actor) as number)
  }

  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.actors.length * ACTOR_BYTES)
    for (let index = 0; index < this.actors.length; index += 1) {
      const actor = this.actors[index] ?? ''
      assert(actor.length === ACTOR_BYTES * 2, 'an actor is 32 hexadecimal digits')
      writeHex(bytes, index * ACTOR_BYTES, actor)
    }
    return bytes
  }
}

/**
 * `delta` as one BATCH or RECORDS frame. O(bytes). The frame can be larger than FRAME_BYTES_MAX
 * when there is more than one change: the caller reads fewer, then.
 */
export function encodeDelta(
  delta: Delta,
  dimension: number,
  type: 'batch' | 'records' = 'batch',
): Uint8Array {
  const { changes } = delta
  const siblings: Sibling[] = []
  const contexts: (VersionVector | null)[] = []
  const embeddings: Float32Array[] = []
  const table = new ActorTable()
  let msBase = HLC_MS_MAX
  for (const change of changes) {
    for (const sibling of change.siblings) {
      siblings.push(sibling)
      table.add(sibling.dot)
      if (sibling.stamp.ms < msBase) msBase = sibling.stamp.ms
      const { value } = sibling
      if (value === null) continue
      if (value.embedding !== null) embeddings.push(value.embedding)
      if (!isOwn(value, sibling)) table.add(value.embeddingDot)
    }
    contexts.push(change.context === null ? null : contextToSend(change, table))
  }
  if (siblings.length === 0) msBase = 0
  columns.length = 0
  for (const base of table.bases) columns.put(base)
  putChangeColumns(changes, contexts)
  putSiblingColumns(siblings, table, msBase)
  putDotColumns(siblings, contexts, table)
  const strings = collectStrings(changes, siblings)
  const sizes = strings.map((text) => utf8ByteLength(text))
  const header = encodeArray([
    delta.through,
    dimension,
    changes.length,
    siblings.length,
    contexts.reduce((sum, context) => sum + (context?.size ?? 0), 0),
    embeddings.length,
    msBase,
    ...sizes,
    table.toBytes(),
  ])
  return sealFrame(type, assemble(header, strings, sizes, embeddings, dimension))
}

function assemble(
  header: Uint8Array,
  strings: readonly string[],
  sizes: readonly number[],
  embeddings: readonly Float32Array[],
  dimension: number,
): Uint8Array {
  const stringBytes = sizes.reduce((sum, bytes) => sum + bytes, 0)
  const columnsAt = FRAME_HEAD_BYTES + header.byteLength
  const embeddingsFrom = columnsAt + columns.length + stringBytes
  const embeddingsAt = alignedTo8(embeddingsFrom)
  const frame = new Uint8Array(embeddingsAt + embeddings.length * dimension * 4)
  frame.set(header, FRAME_HEAD_BYTES)
  frame.set(columns.bytes.subarray(0, columns.length), columnsAt)
  let at = columnsAt + columns.length
  for (const text of strings) at += writeUtf8(frame, at, text)
  assert(at === embeddingsFrom, 'strings take the bytes they were measured to take')
  const floats = new Float32Array(frame.buffer, embeddingsAt, embeddings.length * dimension)
  for (let index = 0; index < embeddings.length; index += 1) {
    const embedding = embeddings[index] as Float32Array
    assert(embedding.length === dimension, 'an embedding has the dimension of its shard')
    floats.set(embedding, index * dimension)
  }
  return frame
}

function putChangeColumns(
  changes: readonly Change[],
  contexts: readonly (VersionVector | null)[],
): void {
  for (const change of changes) columns.put(change.siblings.length)
  for (const context of contexts) columns.put(context?.size ?? 0)
}

function putSiblingColumns(siblings: readonly Sibling[], table: ActorTable, msBase: number): void {
  for (const sibling of siblings) columns.put(flagsOf(sibling))
  for (const { dot } of siblings) columns.put(table.index(dot.actor))
  for (const { dot } of siblings) {
    columns.put(dot.counter - (table.bases[table.index(dot.actor)] as number))
  }
  for (const { stamp } of siblings) columns.put(stamp.ms - msBase)
  for (const { stamp } of siblings) columns.put(stamp.logical)
}

function putDotColumns(
  siblings: readonly Sibling[],
  contexts: readonly (VersionVector | null)[],
  table: ActorTable,
): void {
  for (const sibling of siblings) {
    const { value } = sibling
    if (value !== null && !isOwn(value, sibling)) {
      putDot(value.embeddingDot.actor, value.embeddingDot.counter, table)
    }
  }
  for (const context of contexts) {
    if (context === null) continue
    for (const [actor, counter] of context) putDot(actor, counter, table)
  }
}

function putDot(actor: ActorId, counter: number, table: ActorTable): void {
  const index = table.index(actor)
  columns.put(index)
  columns.put(counter - (table.bases[index] as number))
}

/** Ids, metadata and texts, each joined; their lengths go to the columns. */
function collectStrings(changes: readonly Change[], siblings: readonly Sibling[]): string[] {
  let ids = ''
  let metadata = ''
  let texts = ''
  for (const { id } of changes) {
    ids += id
    columns.put(id.length)
  }
  for (const { value } of siblings) {
    if (value === null) continue
    metadata += value.metadata
    columns.put(value.metadata.length)
  }
  for (const { value } of siblings) {
    if (value === null || value.text === null) continue
    texts += value.text
    columns.put(value.text.length)
  }
  const strings = [ids, metadata, texts]
  for (const text of strings) assert(text.isWellFormed(), 'stored text is well-formed Unicode')
  return strings
}

function flagsOf(sibling: Sibling): number {
  const { value } = sibling
  if (value === null) return 0
  return (
    FLAGS.put |
    (value.embedding === null ? 0 : FLAGS.embeddingHere) |
    (isOwn(value, sibling) ? 0 : FLAGS.embeddingDot) |
    (value.text === null ? 0 : FLAGS.text)
  )
}

/** True when the embedding came with the sibling's own write. */
function isOwn(value: RecordValue, sibling: Sibling): boolean {
  const { embeddingDot } = value
  const { dot } = sibling
  return embeddingDot === dot || sameDot(embeddingDot, dot)
}

/** The context when it says more than the siblings' dots, entered in `table`; else null. */
function contextToSend(change: Change, table: ActorTable): VersionVector | null {
  const { siblings, context } = change
  if (context === null || vectorsEqual(context, contextOf({ siblings, context: null }))) return null
  for (const [actor, counter] of context) table.addCounter(actor, counter)
  return context
}

function alignedTo8(offset: number): number {
  return (offset + 7) & ~7
}
