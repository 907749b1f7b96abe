/**
 * The decoding half of delta.ts, which draws the layout: a peer's bytes in, changes or a coded
 * error out. Pure and total: every count is checked against the bytes at hand before anything is
 * allocated. Not here: whether a change may be applied (change-rules.ts, which the store asks).
 *
 * Embeddings are views of the frame, so the frame must not change while the changes are in use.
 */
import { bytesToFloat32, bytesToHex } from '../../bytes.ts'
import { HLC_LOGICAL_MAX, HLC_MS_MAX } from '../../clock/hlc.ts'
import { SqliteVectorError } from '../../errors.ts'
import {
  CHANGES_PER_DELTA_MAX,
  CONTEXT_ENTRIES_PER_DELTA_MAX,
  COUNTER_MAX,
  DIMENSION_MAX,
  FRAME_BYTES_MAX,
  SIBLINGS_MAX,
  VERSION_VECTOR_ACTORS_MAX,
} from '../../limits.ts'
import { ACTOR_BYTES, type Delta, FLAGS } from '../delta.ts'
import { corrupt, FRAME_HEAD_BYTES, openFrame } from './frame.ts'
import { bytesField, decodeArray, integerField } from './messagepack.ts'
import type {
  ActorId,
  Change,
  Dot,
  RecordValue,
  Sibling,
  VersionVector,
} from '../../model/types.ts'
import { VarintReader } from './varint.ts'

/** The header's fields, checked against the frame's length. */
interface Layout {
  readonly through: number
  readonly changeCount: number
  readonly siblingCount: number
  readonly contextCount: number
  readonly embeddingCount: number
  readonly msBase: number
  readonly idBytes: number
  readonly metadataBytes: number
  readonly textBytes: number
  readonly actors: readonly ActorId[]
  readonly columnsAt: number
  readonly columnsEnd: number
  readonly embeddingsAt: number
}

/** The columns as they were read. */
interface Columns {
  readonly bases: Float64Array
  readonly siblingCounts: Uint8Array
  readonly contextCounts: Uint32Array
  readonly flags: Uint8Array
  readonly actors: Uint32Array
  readonly counters: Float64Array
  readonly ms: Float64Array
  readonly logicals: Uint32Array
}

const HEADER_VALUES = 11
const FLAGS_ALL = FLAGS.put | FLAGS.embeddingHere | FLAGS.embeddingDot | FLAGS.text

/** A change in a frame takes at least: 2 bytes of its own and 5 of its first sibling, and an id. */
const SIBLING_BYTES_MIN = 5
const CHANGE_BYTES_MIN = 3

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The changes of a BATCH frame of a shard with `dimension` components.
 * @throws `SYNC_FRAME_CORRUPT`, `SYNC_PROTOCOL_VERSION`
 */
export function decodeDelta(frame: Uint8Array, dimension: number): Delta {
  const type = openFrame(frame)
  if (type !== 'batch' && type !== 'records') throw corrupt('no frame with records')
  const layout = readLayout(frame, dimension)
  const reader = new VarintReader(frame, layout.columnsAt, layout.columnsEnd)
  const columns = readColumns(reader, layout)
  return new ChangeBuilder(frame, dimension, layout, columns, reader).build()
}

function readLayout(frame: Uint8Array, dimension: number): Layout {
  const { values, end } = decodeArray(frame, FRAME_HEAD_BYTES, HEADER_VALUES)
  const room = frame.byteLength - end
  const integer = (index: number, max: number, what: string): number =>
    integerField(values[index], 0, max, what)
  const through = integer(0, Number.MAX_SAFE_INTEGER, 'through')
  const dimensionGiven = integer(1, DIMENSION_MAX, 'dimension')
  if (dimensionGiven !== dimension) {
    throw corrupt(`vectors of ${dimensionGiven} components in a shard of ${dimension}`)
  }
  const changeCount = integer(2, CHANGES_PER_DELTA_MAX, 'number of changes')
  const siblingCount = integer(3, Math.floor(room / SIBLING_BYTES_MIN), 'number of siblings')
  const contextCount = integer(4, Math.floor(room / 2), 'number of context entries')
  if (contextCount > CONTEXT_ENTRIES_PER_DELTA_MAX) {
    throw new SqliteVectorError(
      'SYNC_FRAME_TOO_LARGE',
      `${contextCount} entries of contexts in a frame; at most ${CONTEXT_ENTRIES_PER_DELTA_MAX}`,
    )
  }
  const embeddingCount = integer(5, Math.floor(room / (dimension * 4)), 'number of embeddings')
  const msBase = integer(6, HLC_MS_MAX, 'ms base')
  const idBytes = integer(7, room, 'bytes of ids')
  const metadataBytes = integer(8, room, 'bytes of metadata')
  const textBytes = integer(9, room, 'bytes of texts')
  const actors = readActors(bytesField(values[10], 0, FRAME_BYTES_MAX, 'actors'))
  const embeddingsAt = frame.byteLength - embeddingCount * dimension * 4
  const columnsEnd = embeddingsAt - idBytes - metadataBytes - textBytes
  const columnBytesMin = siblingCount * SIBLING_BYTES_MIN + changeCount * CHANGE_BYTES_MIN
  if (embeddingsAt % 8 !== 0 || end + columnBytesMin > columnsEnd) {
    throw corrupt('counts and lengths do not fit the frame')
  }
  if (siblingCount < changeCount) throw corrupt('a change without siblings')
  return {
    through,
    changeCount,
    siblingCount,
    contextCount,
    embeddingCount,
    msBase,
    idBytes,
    metadataBytes,
    textBytes,
    actors,
    columnsAt: end,
    columnsEnd,
    embeddingsAt,
  }
}

function readActors(bytes: Uint8Array): readonly ActorId[] {
  const count = bytes.byteLength / ACTOR_BYTES
  if (!Number.isInteger(count) || count > VERSION_VECTOR_ACTORS_MAX * 2) {
    throw corrupt('the table of actors is no multiple of 16 bytes, or too long')
  }
  const actors: ActorId[] = []
  for (let index = 0; index < count; index += 1) {
    actors.push(bytesToHex(bytes.subarray(index * ACTOR_BYTES, (index + 1) * ACTOR_BYTES)))
  }
  return actors
}

function readColumns(reader: VarintReader, layout: Layout): Columns {
  const { changeCount, siblingCount, actors } = layout
  const bases = new Float64Array(actors.length)
  for (let i = 0; i < bases.length; i += 1) {
    bases[i] = Math.max(1, reader.next(COUNTER_MAX, 'counter base'))
  }
  const siblingCounts = new Uint8Array(changeCount)
  let siblings = 0
  for (let i = 0; i < changeCount; i += 1) {
    const count = reader.next(SIBLINGS_MAX, 'number of siblings')
    if (count === 0) throw corrupt('a change without siblings')
    siblingCounts[i] = count
    siblings += count
  }
  if (siblings !== siblingCount) throw corrupt('the numbers of siblings disagree')
  const contextCounts = new Uint32Array(changeCount)
  let contexts = 0
  for (let i = 0; i < changeCount; i += 1) {
    const count = reader.next(VERSION_VECTOR_ACTORS_MAX, 'size of a context')
    contextCounts[i] = count
    contexts += count
  }
  if (contexts !== layout.contextCount) throw corrupt('the sizes of contexts disagree')
  return { bases, siblingCounts, contextCounts, ...readSiblingColumns(reader, layout, bases) }
}

function readSiblingColumns(
  reader: VarintReader,
  layout: Layout,
  bases: Float64Array,
): Pick<Columns, 'flags' | 'actors' | 'counters' | 'ms' | 'logicals'> {
  const { siblingCount, msBase } = layout
  const flags = new Uint8Array(siblingCount)
  let embeddings = 0
  for (let i = 0; i < siblingCount; i += 1) {
    const given = reader.next(FLAGS_ALL, 'flags')
    if (given !== 0 && (given & FLAGS.put) === 0) throw corrupt('a delete with a value')
    flags[i] = given
    if ((given & FLAGS.embeddingHere) !== 0) embeddings += 1
  }
  if (embeddings !== layout.embeddingCount) throw corrupt('the numbers of embeddings disagree')
  const actors = new Uint32Array(siblingCount)
  for (let i = 0; i < siblingCount; i += 1) actors[i] = readActorIndex(reader, bases)
  const counters = new Float64Array(siblingCount)
  for (let i = 0; i < siblingCount; i += 1) {
    counters[i] = readCounter(reader, bases[actors[i] as number] as number)
  }
  const ms = new Float64Array(siblingCount)
  for (let i = 0; i < siblingCount; i += 1) {
    ms[i] = msBase + reader.next(HLC_MS_MAX - msBase, 'ms of a stamp')
  }
  const logicals = new Uint32Array(siblingCount)
  for (let i = 0; i < siblingCount; i += 1) {
    logicals[i] = reader.next(HLC_LOGICAL_MAX, 'logical part of a stamp')
  }
  return { flags, actors, counters, ms, logicals }
}

function readActorIndex(reader: VarintReader, bases: Float64Array): number {
  if (bases.length === 0) throw corrupt('a dot without an actor')
  return reader.next(bases.length - 1, 'index of an actor')
}

function readCounter(reader: VarintReader, base: number): number {
  return base + reader.next(COUNTER_MAX - base, 'counter')
}

function readDots(reader: VarintReader, count: number, layout: Layout, bases: Float64Array): Dot[] {
  const dots: Dot[] = []
  for (let index = 0; index < count; index += 1) {
    const actor = readActorIndex(reader, bases)
    const counter = readCounter(reader, bases[actor] as number)
    dots.push({ actor: layout.actors[actor] as ActorId, counter })
  }
  return dots
}

/** Joined strings, and the lengths at which they are cut. */
class StringRun {
  readonly #text: string
  readonly #lengths: Uint32Array
  #next = 0
  #at = 0

  constructor(text: string, lengths: Uint32Array) {
    let units = 0
    for (const length of lengths) {
      units += length
      // The whole is well-formed, so a piece is unless a cut parts a surrogate pair.
      if ((text.charCodeAt(units) & 0xfc00) === 0xdc00)
        throw corrupt('a string is cut in a character')
    }
    if (units !== text.length) throw corrupt('the lengths of strings disagree')
    this.#text = text
    this.#lengths = lengths
  }

  next(): string {
    const start = this.#at
    this.#at = start + (this.#lengths[this.#next] as number)
    this.#next += 1
    return this.#text.substring(start, this.#at)
  }
}

/** Turns columns into changes. */
class ChangeBuilder {
  readonly #frame: Uint8Array
  readonly #dimension: number
  readonly #layout: Layout
  readonly #columns: Columns
  readonly #embeddingDots: Dot[]
  readonly #contextEntries: Dot[]
  readonly #ids: StringRun
  readonly #metadata: StringRun
  readonly #texts: StringRun
  readonly #floats: Float32Array
  readonly #floatsAt: number
  #sibling = 0
  #embedding = 0
  #embeddingDot = 0
  #contextEntry = 0

  constructor(
    frame: Uint8Array,
    dimension: number,
    layout: Layout,
    columns: Columns,
    reader: VarintReader,
  ) {
    this.#frame = frame
    this.#dimension = dimension
    this.#layout = layout
    this.#columns = columns
    const { flags, bases } = columns
    const dotCount = countFlag(flags, FLAGS.embeddingDot)
    this.#embeddingDots = readDots(reader, dotCount, layout, bases)
    this.#contextEntries = readDots(reader, layout.contextCount, layout, bases)
    const lengths = [layout.changeCount, countFlag(flags, FLAGS.put), countFlag(flags, FLAGS.text)]
    const [idLengths, metadataLengths, textLengths] = lengths.map((count) =>
      readLengths(reader, count, frame.byteLength),
    ) as [Uint32Array, Uint32Array, Uint32Array]
    const metadataAt = reader.at + layout.idBytes
    const textsAt = metadataAt + layout.metadataBytes
    const end = textsAt + layout.textBytes
    this.#checkPadding(end)
    this.#ids = new StringRun(decodeText(frame, reader.at, metadataAt), idLengths)
    this.#metadata = new StringRun(decodeText(frame, metadataAt, textsAt), metadataLengths)
    this.#texts = new StringRun(decodeText(frame, textsAt, end), textLengths)
    this.#floats = bytesToFloat32(frame.subarray(layout.embeddingsAt))
    this.#floatsAt = this.#floats.byteOffset
  }

  build(): Delta {
    const { changeCount, through } = this.#layout
    const changes: Change[] = []
    for (let index = 0; index < changeCount; index += 1) changes.push(this.#change(index))
    return { through, changes }
  }

  #change(index: number): Change {
    const id = this.#ids.next()
    const count = this.#columns.siblingCounts[index] as number
    const siblings: Sibling[] = []
    for (let n = 0; n < count; n += 1) siblings.push(this.#nextSibling())
    const entries = this.#columns.contextCounts[index] as number
    return { id, siblings, context: entries === 0 ? null : this.#nextContext(entries) }
  }

  #nextSibling(): Sibling {
    const index = this.#sibling
    this.#sibling = index + 1
    const { flags, actors, counters, ms, logicals } = this.#columns
    const dot: Dot = {
      actor: this.#layout.actors[actors[index] as number] as ActorId,
      counter: counters[index] as number,
    }
    const given = flags[index] as number
    return {
      dot,
      stamp: { ms: ms[index] as number, logical: logicals[index] as number },
      value: given === 0 ? null : this.#nextValue(given, dot),
    }
  }

  #nextValue(flags: number, dot: Dot): RecordValue {
    let embedding: Float32Array | null = null
    if ((flags & FLAGS.embeddingHere) !== 0) {
      const at = this.#embedding * this.#dimension
      this.#embedding += 1
      embedding = new Float32Array(this.#floats.buffer, this.#floatsAt + at * 4, this.#dimension)
    }
    let embeddingDot = dot
    if ((flags & FLAGS.embeddingDot) !== 0) {
      embeddingDot = this.#embeddingDots[this.#embeddingDot] as Dot
      this.#embeddingDot += 1
    }
    const metadata = this.#metadata.next()
    const text = (flags & FLAGS.text) === 0 ? null : this.#texts.next()
    return { embedding, embeddingDot, metadata, text }
  }

  #nextContext(entries: number): VersionVector {
    const context = new Map<ActorId, number>()
    for (let n = 0; n < entries; n += 1) {
      const dot = this.#contextEntries[this.#contextEntry] as Dot
      this.#contextEntry += 1
      context.set(dot.actor, dot.counter)
    }
    if (context.size !== entries) throw corrupt('a context names an actor twice')
    return context
  }

  #checkPadding(from: number): void {
    const { embeddingsAt } = this.#layout
    if (from > embeddingsAt || embeddingsAt - from > 7)
      throw corrupt('bytes that nothing describes')
    for (let at = from; at < embeddingsAt; at += 1) {
      if (this.#frame[at] !== 0) throw corrupt('padding is not zero')
    }
  }
}

function readLengths(reader: VarintReader, count: number, max: number): Uint32Array {
  const lengths = new Uint32Array(count)
  for (let index = 0; index < count; index += 1) {
    lengths[index] = reader.next(max, 'length of a string')
  }
  return lengths
}

function countFlag(flags: Uint8Array, flag: number): number {
  let count = 0
  for (let index = 0; index < flags.length; index += 1) {
    if (((flags[index] as number) & flag) !== 0) count += 1
  }
  return count
}

function decodeText(frame: Uint8Array, start: number, end: number): string {
  try {
    return decoder.decode(frame.subarray(start, end))
  } catch {
    // A fatal TextDecoder has one reason to throw, and says no more than that.
    throw corrupt('text is no UTF-8')
  }
}
