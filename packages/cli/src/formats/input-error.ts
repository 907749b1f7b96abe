/**
 * The error of a file that is not what its format says.
 */

/** A file that is not what it should be; the message says where. */
export class InputError extends Error {
  override readonly name = 'InputError'
  readonly code = 'INPUT_INVALID'
}
