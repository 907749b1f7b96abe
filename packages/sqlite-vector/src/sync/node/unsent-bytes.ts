/**
 * Bytes of frames that wait for a peer to take them, over all its sessions: a peer that asks on
 * many channels and reads none of the answers makes its own reading wait, and no memory grow.
 *
 * Each session has a frame under way and one after it, whatever this says, so the bound is passed
 * by two frames a session at most. Not here: what is read and sent (session-runner.ts).
 */
import { PEER_UNSENT_BYTES_MAX } from '../../limits.ts'
import { whileWaiting } from '../../transport/abortable.ts'

/** The unsent bytes of one peer. */
export class UnsentBytes {
  #bytes = 0
  #waiting: (() => void)[] = []

  get bytes(): number {
    return this.#bytes
  }

  /** Counts a frame until it is taken. */
  add(bytes: number): void {
    this.#bytes += bytes
  }

  taken(bytes: number): void {
    this.#bytes -= bytes
    if (this.#bytes >= PEER_UNSENT_BYTES_MAX) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const resume of waiting) resume()
  }

  /**
   * Resolves once the peer has taken enough of what waits for it.
   * @throws the reason of `signal`
   */
  async room(signal: AbortSignal): Promise<void> {
    while (this.#bytes >= PEER_UNSENT_BYTES_MAX) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.push(resolve)
      await whileWaiting(promise, signal)
    }
  }
}
