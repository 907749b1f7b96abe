/**
 * An error from a server, or a failure to reach one: code, message and hint.
 */
export class RemoteError extends Error {
  override readonly name = 'RemoteError'
  readonly code: string
  readonly hint: string | undefined

  constructor(code: string, message: string, hint?: string) {
    super(message)
    this.code = code
    this.hint = hint
  }
}
