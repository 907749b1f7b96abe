/**
 * The key log: TLS secrets of all connections in one file, in the format of `SSLKEYLOGFILE`.
 *
 * The engine empties the file that it is given for a connection, so each gets one of its own beside
 * the wanted one; once its handshake is over, what is in it is appended there. For debugging only:
 * a reader of the file can read the traffic. Written with mode 0600.
 */
import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { NativeConnection } from './binding.ts'

const PRIVATE = 0o600

export class QuicKeyLog {
  readonly #path: string
  readonly #parts = new Map<NativeConnection, string>()
  #count = 0

  constructor(path: string) {
    this.#path = path
    appendFileSync(path, '', { mode: PRIVATE })
  }

  /** Before the connection's first datagram. */
  attach(native: NativeConnection): void {
    this.#count += 1
    const part = `${this.#path}.${process.pid}-${this.#count}`
    writeFileSync(part, '', { mode: PRIVATE })
    native.setKeylog(part)
    this.#parts.set(native, part)
  }

  /** When its handshake is done or has failed; later calls do nothing. */
  collect(native: NativeConnection): void {
    const part = this.#parts.get(native)
    if (part === undefined) return
    this.#parts.delete(native)
    appendFileSync(this.#path, readFileSync(part), { mode: PRIVATE })
    rmSync(part)
  }
}
