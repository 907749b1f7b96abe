/**
 * Large answers as JSON in parts: the event loop gets a turn between parts, a slow reader holds up
 * the source instead of filling memory, and an aborted request ends the work.
 *
 * Lists are marked with {@link Items}; everything else is written by `JSON.stringify`.
 */
import { setImmediate as turn } from 'node:timers/promises'

/** Characters after which a part is handed on. */
const PART_CHARACTERS = 65_536

/** An answer up to this size is sent whole, with its length. */
export const WHOLE_CHARACTERS = 262_144

/** Longest work between two turns of the event loop, in milliseconds. */
const SLICE_MS = 20

/** A list to be written item by item. Items may come from a generator that reads as it goes. */
export class Items {
  readonly source: Iterable<unknown> | AsyncIterable<unknown>
  /** Converts an item; the result may hold {@link Items} itself. */
  readonly convert: (item: never) => unknown

  constructor(
    source: Iterable<unknown> | AsyncIterable<unknown>,
    convert: (item: never) => unknown = (item) => item,
  ) {
    this.source = source
    this.convert = convert
  }
}

/** An object whose values are written in order; a function is called when its turn comes. */
export type Parted = Readonly<Record<string, unknown>>

/** True for an answer that {@link jsonParts} has to write. */
export function isParted(value: unknown): value is Parted {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.getPrototypeOf(value) === Object.prototype &&
    Object.values(value).some((inner) => inner instanceof Items)
  )
}

/** Writes `value`. Throws the signal's reason when it aborts between parts. */
export async function* jsonParts(value: Parted, signal: AbortSignal): AsyncGenerator<string, void> {
  let part = ''
  let startMs = performance.now()
  for await (const piece of piecesOf(value)) {
    part += piece
    if (part.length >= PART_CHARACTERS) {
      yield part
      part = ''
    }
    if (performance.now() - startMs < SLICE_MS) continue
    await turn()
    signal.throwIfAborted()
    startMs = performance.now()
  }
  yield part
}

async function* piecesOf(value: unknown): AsyncGenerator<string, void> {
  if (value instanceof Items) {
    yield* itemPieces(value)
  } else if (isParted(value)) {
    let before = '{'
    for (const [name, inner] of Object.entries(value)) {
      const given: unknown = typeof inner === 'function' ? (inner as () => unknown)() : inner
      yield `${before}${JSON.stringify(name)}:`
      yield* piecesOf(given)
      before = ','
    }
    yield '}'
  } else {
    yield JSON.stringify(value)
  }
}

async function* itemPieces({ source, convert }: Items): AsyncGenerator<string, void> {
  let before = '['
  for await (const item of source) {
    const given = convert(item as never)
    if (given instanceof Items || isParted(given)) {
      yield before
      yield* piecesOf(given)
    } else {
      yield before + JSON.stringify(given)
    }
    before = ','
  }
  yield before === '[' ? '[]' : ']'
}
