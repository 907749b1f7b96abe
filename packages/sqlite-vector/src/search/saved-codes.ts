/**
 * The codes of an arena as bytes, to be kept beside the database, and back.
 *
 * ```
 * "SQLVCODE" │ u32 version │ u32 length of about │ about: JSON │ thresholds, centre, step: float32
 * each │ records by slot: float64 │ int8 rows │ their corrections │ bit rows │ u32 CRC-32 of
 * everything before
 * ```
 *
 * Little-endian. Float32 rows are not kept: the database has them, and they are three quarters of
 * an arena. Not here: files (store/search-index/index-files.ts), and when the bytes may be believed
 * (store/search-index/shard-index.ts).
 *
 * Reading is total: any bytes give an arena, or the reason why there is none, in memory bounded by
 * their length.
 *
 * Invariant: the length follows from `about` to the byte, so that nothing is allocated for more
 * than there is.
 */
import { crypto } from '#platform'

import { must } from '../assert.ts'
import { Arena } from './arena.ts'
import type { Calibration } from './calibrate.ts'
import { type ArenaRows, memoryLayout } from './memory-layout.ts'
import { type Metric } from '../model/records.ts'

/** Rises with every change of the bytes, of the codes, or of what a calibration means. */
export const SAVED_CODES_VERSION = 2

const MAGIC = 'SQLVCODE'
const PREFIX_BYTES = 16
const ABOUT_BYTES_MAX = 65_536
const CHECKSUM_BYTES = 4

/** Half a MiB: a part is written while the process waits. */
const RECORDS_PER_PART = 65_536

/** Describes saved codes. */
export interface SavedAbout {
  readonly logId: string
  readonly shard: number
  /** Everything up to this change_id is in them. */
  readonly cursor: number
  readonly count: number
  readonly dimension: number
  readonly metric: Metric
  readonly int8: boolean
  readonly bits: boolean
  readonly calibration: Calibration
  /** Rows that had changed since it was made. */
  readonly changed: number
}

/** Fills `into` with the next bytes; false when there are not as many. */
export type ByteSource = (into: Uint8Array) => boolean

/** The result of reading. */
export type SavedCodes =
  | { readonly about: SavedAbout; readonly arena: Arena }
  /** Why these bytes are not to be used. */
  | { readonly refused: string }

/**
 * The bytes of an arena's codes, in parts that are valid until the next is asked for. Inserts and
 * updates in between do no harm when the cursor in `about` is from before: they are read from the
 * feed again. A delete moves rows, and ends it.
 */
export function* savedBytes(
  arena: Arena,
  about: SavedAbout,
): Generator<Uint8Array, 'whole' | 'moved'> {
  const { removals } = arena
  const { count } = about
  const records = new Float64Array(count)
  for (let slot = 0; slot < count; slot += 1) records[slot] = arena.recordAt(slot)
  const { thresholds, centre, step } = must(arena.quantizer, 'codes are filled')
  let checksum = 0
  const summed = (bytes: Uint8Array): Uint8Array => {
    checksum = crypto.crc32(bytes, checksum)
    return bytes
  }
  yield summed(prefixed(about))
  for (const values of [thresholds, centre, step]) yield summed(bytesOf(values))
  for (let slot = 0; slot < count; slot += RECORDS_PER_PART) {
    yield summed(bytesOf(records.subarray(slot, slot + RECORDS_PER_PART)))
  }
  for (const view of arena.codeViews(count)) {
    if (arena.removals !== removals) return 'moved'
    yield summed(view())
  }
  if (arena.removals !== removals) return 'moved'
  yield bytesOf(Uint32Array.of(checksum))
  return 'whole'
}

/**
 * Makes an arena of `length` bytes that `source` gives. `fits` says whether it is wanted, before
 * memory is taken.
 */
export function readSavedCodes(
  length: number,
  source: ByteSource,
  fits: (about: SavedAbout) => string | null,
): SavedCodes {
  let checksum = 0
  const take = (into: Uint8Array): boolean => {
    if (!source(into)) return false
    checksum = crypto.crc32(into, checksum)
    return true
  }
  const about = readAbout(length, take)
  if (typeof about === 'string') return { refused: about }
  const unfit = fits(about)
  if (unfit !== null) return { refused: unfit }
  if (length !== lengthOf(about))
    return { refused: `${length} bytes in place of ${lengthOf(about)}` }
  const { dimension, metric, count } = about
  const arena = new Arena({ dimension, metric, rows: rowsOf(about) })
  const [thresholds, centre, step] = [0, 1, 2].map(() => new Float32Array(dimension))
  const records = new Float64Array(count)
  const parts = [thresholds, centre, step, records]
  if (!parts.every((part) => part !== undefined && take(bytesOf(part)))) return CUT_OFF
  arena.quantize({ thresholds: thresholds!, centre: centre!, step: step! })
  if (!arena.adopt(records)) return { refused: 'a record has two slots' }
  for (const view of arena.codeViews(count)) if (!take(view())) return CUT_OFF
  const found = new Uint32Array(1)
  if (!source(bytesOf(found))) return CUT_OFF
  if (found[0] !== checksum) return { refused: 'the checksum differs' }
  return { about, arena }
}

const CUT_OFF: SavedCodes = { refused: 'it ends too early' }

function prefixed(about: SavedAbout): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(about))
  const bytes = new Uint8Array(PREFIX_BYTES + json.length)
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode(MAGIC))
  view.setUint32(8, SAVED_CODES_VERSION, true)
  view.setUint32(12, json.length, true)
  bytes.set(json, PREFIX_BYTES)
  return bytes
}

/** The description in the bytes, or the reason it cannot be read. */
function readAbout(length: number, take: ByteSource): SavedAbout | string {
  const prefix = new Uint8Array(PREFIX_BYTES)
  if (length < PREFIX_BYTES || !take(prefix)) return 'it ends too early'
  const view = new DataView(prefix.buffer)
  if (new TextDecoder('latin1').decode(prefix.subarray(0, 8)) !== MAGIC) return 'it is another file'
  const version = view.getUint32(8, true)
  if (version !== SAVED_CODES_VERSION) {
    return `it has version ${version}, this release reads ${SAVED_CODES_VERSION}`
  }
  const aboutBytes = view.getUint32(12, true)
  if (aboutBytes > ABOUT_BYTES_MAX || aboutBytes > length) return 'it ends too early'
  const json = new Uint8Array(aboutBytes)
  if (!take(json)) return 'it ends too early'
  try {
    const about = JSON.parse(new TextDecoder().decode(json)) as SavedAbout
    return isSound(about) ? about : 'what it says of itself cannot be'
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return 'what it says of itself cannot be read'
  }
}

/**
 * Of what was not yet summed only what decides over memory is looked at; the checksum vouches for
 * the rest.
 */
function isSound(about: unknown): boolean {
  if (typeof about !== 'object' || about === null) return false
  const { count, dimension, int8, bits } = about as Partial<Record<keyof SavedAbout, unknown>>
  return (
    Number.isSafeInteger(count) &&
    Number(count) >= 0 &&
    Number.isSafeInteger(dimension) &&
    Number(dimension) > 0 &&
    typeof int8 === 'boolean' &&
    bits === true
  )
}

function rowsOf({ int8, bits }: SavedAbout): ArenaRows {
  return { float32: false, int8, bits }
}

/** The length of the whole. */
function lengthOf(about: SavedAbout): number {
  const { dimension, metric, count } = about
  const { slotBytes } = memoryLayout(dimension, metric, rowsOf(about))
  const json = new TextEncoder().encode(JSON.stringify(about)).length
  return PREFIX_BYTES + json + 3 * 4 * dimension + count * (8 + slotBytes) + CHECKSUM_BYTES
}

function bytesOf(values: Float32Array | Float64Array | Uint32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}
