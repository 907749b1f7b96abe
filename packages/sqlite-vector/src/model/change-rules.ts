/**
 * Validates a change on its own, without the store. Pure.
 *
 * Not here: how changes are framed (delta.ts), and what only the store can know (whether the metric
 * takes a zero vector). The store checks every change against these rules, quarantines one that
 * breaks a rule with its reason, and goes on with the rest of its delta.
 */
import { utf8ByteLength } from '../bytes.ts'
import { ID_BYTES_MAX, METADATA_BYTES_MAX, METADATA_DEPTH_MAX, TEXT_BYTES_MAX } from '../limits.ts'
import { jsonDepth } from './json-depth.ts'
import type { Change, RecordValue, Sibling } from './types.ts'
import { compareDots, covers } from './version-vector.ts'

/**
 * Why `change` cannot be applied, or null when it can. Embeddings are looked at by
 * {@link allFinite}.
 */
export function changeFault(change: Change): string | null {
  const { id, siblings } = change
  if (id.length === 0) return 'the id is empty'
  if (longerThan(id, ID_BYTES_MAX)) return `the id is longer than ${ID_BYTES_MAX} bytes`
  if (id.includes('\0')) return 'the id contains NUL'
  for (let index = 0; index < siblings.length; index += 1) {
    const fault = siblingFault(change, siblings[index] as Sibling, siblings[index - 1])
    if (fault !== null) return fault
  }
  return null
}

/** True when every component of `vector` is a finite number. */
export function allFinite(vector: Float32Array): boolean {
  // A float64 sum of 8,192 float32 values cannot overflow, so it is finite exactly when they all
  // are; four sums, because one would wait for itself.
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  const whole = vector.length - (vector.length % 4)
  for (let index = 0; index < whole; index += 4) {
    a += vector[index] as number
    b += vector[index + 1] as number
    c += vector[index + 2] as number
    d += vector[index + 3] as number
  }
  for (let index = whole; index < vector.length; index += 1) a += vector[index] as number
  return Number.isFinite(a + b + c + d)
}

function siblingFault(
  change: Change,
  sibling: Sibling,
  previous: Sibling | undefined,
): string | null {
  if (previous !== undefined && compareDots(previous.dot, sibling.dot) >= 0) {
    return 'its siblings are not in the order of their dots'
  }
  if (change.context !== null && !covers(change.context, sibling.dot)) {
    return 'its context does not cover its siblings'
  }
  return sibling.value === null ? null : valueFault(sibling, sibling.value)
}

function valueFault(sibling: Sibling, value: RecordValue): string | null {
  if (value.embedding === null && compareDots(value.embeddingDot, sibling.dot) === 0) {
    return 'the embedding is missing'
  }
  if (longerThan(value.metadata, METADATA_BYTES_MAX)) {
    return `the metadata is longer than ${METADATA_BYTES_MAX} bytes`
  }
  if (!isJsonObject(value.metadata)) return 'the metadata is no JSON object'
  // Deeper, SQLite would refuse every filter over the shard.
  if (jsonDepth(value.metadata) > METADATA_DEPTH_MAX) {
    return `the metadata is nested deeper than ${METADATA_DEPTH_MAX}`
  }
  if (value.text !== null && longerThan(value.text, TEXT_BYTES_MAX)) {
    return `the text is longer than ${TEXT_BYTES_MAX} bytes`
  }
  return null
}

function longerThan(text: string, bytesMax: number): boolean {
  return text.length * 3 > bytesMax && utf8ByteLength(text) > bytesMax
}

/** True when `text` is a JSON object without space around it. */
function isJsonObject(text: string): boolean {
  if (text === '{}') return true
  if (text[0] !== '{' || text.at(-1) !== '}') return false
  try {
    JSON.parse(text)
    return true
  } catch {
    // JSON.parse rejects a text only by throwing; that answer is the point of this function.
    return false
  }
}
