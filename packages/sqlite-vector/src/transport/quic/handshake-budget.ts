/**
 * Bytes that handshakes under way may have sent us: of one, of one address, and of all together.
 *
 * The engine keeps every fragment of a handshake until it is whole, at some 24 bytes of memory for
 * a byte of one-byte fragments. A handshake takes a few kilobytes, so what sends more is not one.
 * Senders that proved their address are counted apart from those that did not: a spoofed address
 * costs its owner nothing.
 */
import {
  HANDSHAKE_BYTES_MAX,
  HANDSHAKE_BYTES_PER_ADDRESS_MAX,
  HANDSHAKE_BYTES_TOTAL_MAX,
} from '../../limits.ts'
import { sourceOf } from './handshake-rate.ts'

interface Share {
  readonly source: string
  bytes: number
}

export class HandshakeBudget<Handshake> {
  readonly #shares = new Map<Handshake, Share>()
  readonly #bySource = new Map<string, number>()
  #total = 0

  /** Bytes of all handshakes under way. */
  get total(): number {
    return this.#total
  }

  open(handshake: Handshake, host: string, isProven: boolean): void {
    this.#shares.set(handshake, {
      source: `${isProven ? 'proven' : 'claimed'} ${sourceOf(host)}`,
      bytes: 0,
    })
  }

  /** Counts `bytes` more of a handshake; false when it, its address or all have had too many. */
  take(handshake: Handshake, bytes: number): boolean {
    const share = this.#shares.get(handshake)
    if (share === undefined) return true
    const ofSource = (this.#bySource.get(share.source) ?? 0) + bytes
    const isOver =
      share.bytes + bytes > HANDSHAKE_BYTES_MAX ||
      ofSource > HANDSHAKE_BYTES_PER_ADDRESS_MAX ||
      this.#total + bytes > HANDSHAKE_BYTES_TOTAL_MAX
    if (isOver) return false
    share.bytes += bytes
    this.#total += bytes
    this.#bySource.set(share.source, ofSource)
    return true
  }

  /** The handshake is done, or has failed. */
  close(handshake: Handshake): void {
    const share = this.#shares.get(handshake)
    if (share === undefined) return
    this.#shares.delete(handshake)
    this.#total -= share.bytes
    const left = (this.#bySource.get(share.source) ?? 0) - share.bytes
    if (left > 0) this.#bySource.set(share.source, left)
    else this.#bySource.delete(share.source)
  }
}
