/**
 * The causal context of a record as the file keeps it: small, because nearly every record has one.
 *
 * Empty bytes stand for "exactly the dots of the siblings"; else pairs of unsigned LEB128 varints
 * (actor key of this file, counter), in ascending order of keys. Not a wire format: keys are local.
 */
import { assert } from '../../assert.ts'
import type { ActorId, RecordState, VersionVector } from '../../model/types.ts'
import type { StoreCore } from '../file/transaction.ts'

const EXACTLY_THE_DOTS = new Uint8Array(0)

/** Bytes of the context of `state`. */
export function encodeContext(core: StoreCore, state: RecordState): Uint8Array {
  const { context, siblings } = state
  if (context === null) return EXACTLY_THE_DOTS
  const exact =
    context.size === siblings.length &&
    siblings.every(({ dot }) => context.get(dot.actor) === dot.counter)
  if (exact) return EXACTLY_THE_DOTS
  const pairs = [...context].map(([actor, counter]) => [core.actorKey(actor), counter] as const)
  pairs.sort(([a], [b]) => a - b)
  const bytes: number[] = []
  for (const [key, counter] of pairs) {
    pushVarint(bytes, key)
    pushVarint(bytes, counter)
  }
  return Uint8Array.from(bytes)
}

/** The context that {@link encodeContext} wrote; null for "exactly the dots of the siblings". */
export function decodeContext(core: StoreCore, bytes: Uint8Array): VersionVector | null {
  if (bytes.length === 0) return null
  const context = new Map<ActorId, number>()
  let offset = 0
  const varint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[offset]
      assert(byte !== undefined, 'a whole varint in a stored context')
      offset += 1
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  while (offset < bytes.length) {
    const actor = core.actorOf(varint())
    context.set(actor, varint())
  }
  return context
}

function pushVarint(bytes: number[], value: number): void {
  let rest = value
  while (rest >= 128) {
    bytes.push((rest % 128) + 128)
    rest = Math.floor(rest / 128)
  }
  bytes.push(rest)
}
