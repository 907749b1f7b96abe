/**
 * The causal context of a record as the file keeps it: small, because nearly every record has one.
 *
 * Empty bytes stand for "exactly the dots of the siblings"; else pairs of unsigned LEB128 varints
 * (actor key of this file, counter), in ascending order of keys. Not a wire format: keys are local.
 */
import { damaged } from '../file/damage.ts'
import { readVarint, VARINT_BYTES_MAX, writeVarint } from '../../varint.ts'
import type { ActorId, RecordState, VersionVector } from '../../model/types.ts'
import type { OpenFile } from '../file/transaction.ts'

const EXACTLY_THE_DOTS = new Uint8Array(0)

/** Bytes of the context of `state`. */
export function encodeContext(core: OpenFile, state: RecordState): Uint8Array {
  const { context, siblings } = state
  if (context === null) return EXACTLY_THE_DOTS
  const exact =
    context.size === siblings.length &&
    siblings.every(({ dot }) => context.get(dot.actor) === dot.counter)
  if (exact) return EXACTLY_THE_DOTS
  const pairs = [...context].map(
    ([actor, counter]) => [core.keys.actorKey(actor), counter] as const,
  )
  pairs.sort(([a], [b]) => a - b)
  const bytes = new Uint8Array(pairs.length * 2 * VARINT_BYTES_MAX)
  let length = 0
  for (const [key, counter] of pairs) {
    length = writeVarint(bytes, length, key)
    length = writeVarint(bytes, length, counter)
  }
  return bytes.slice(0, length)
}

/** The context that {@link encodeContext} wrote; null for "exactly the dots of the siblings". */
export function decodeContext(core: OpenFile, bytes: Uint8Array): VersionVector | null {
  if (bytes.length === 0) return null
  const context = new Map<ActorId, number>()
  const position = { at: 0 }
  const next = (): number => {
    const value = readVarint(bytes, position, bytes.length)
    if (value < 0) throw damaged('the context of a record is cut off')
    return value
  }
  while (position.at < bytes.length) {
    const actor = core.keys.actorOf(next())
    context.set(actor, next())
  }
  return context
}
