/**
 * Assertions: what must be true of our own code, on in production too.
 *
 * A failed assertion is a bug in this library and is not meant to be caught. A caller's wrong
 * argument is a TypeError or RangeError (options.ts), the world's failures are SqliteVectorError
 * (errors.ts), and a peer's bytes are input: checked and refused, never asserted.
 */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** Throws {@link AssertionError} when `condition` is false. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}

/** The value, or an {@link AssertionError} when it is undefined or null. */
export function must<T>(value: T | undefined | null, message: string): T {
  if (value === undefined || value === null) throw new AssertionError(message)
  return value
}

/** Ends an exhaustive `switch`: does not compile while a case is missing. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`)
}
