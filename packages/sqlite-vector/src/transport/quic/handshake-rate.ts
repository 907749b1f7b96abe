/**
 * How fast one network may start handshakes with us: a token bucket per source.
 *
 * A source is an IPv4 address or an IPv6 /64, which is what one party usually controls. Pure but
 * for what it remembers; bounded: of too many sources the one longest silent is forgotten, and
 * starts with a full bucket again.
 */
import {
  HANDSHAKES_BURST_PER_ADDRESS,
  HANDSHAKES_PER_SECOND_PER_ADDRESS,
  RATED_ADDRESSES_MAX,
} from '../../limits.ts'

interface Bucket {
  tokens: number
  filledMs: number
}

export class HandshakeRate {
  readonly #buckets = new Map<string, Bucket>()

  /** Takes one handshake of `host` at `nowMs` (monotonic); false when it has had too many. */
  take(host: string, nowMs: number): boolean {
    const source = sourceOf(host)
    const known = this.#buckets.get(source)
    // Set again, so that the map's order is that of the last attempt.
    this.#buckets.delete(source)
    const bucket = known ?? { tokens: HANDSHAKES_BURST_PER_ADDRESS, filledMs: nowMs }
    const earned = ((nowMs - bucket.filledMs) / 1_000) * HANDSHAKES_PER_SECOND_PER_ADDRESS
    bucket.tokens = Math.min(HANDSHAKES_BURST_PER_ADDRESS, bucket.tokens + Math.max(0, earned))
    bucket.filledMs = nowMs
    this.#buckets.set(source, bucket)
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= RATED_ADDRESSES_MAX) break
      this.#buckets.delete(oldest)
    }
    if (bucket.tokens < 1) return false
    bucket.tokens -= 1
    return true
  }
}

/** An IPv6 host in its first four groups; any other host as it is. */
export function sourceOf(host: string): string {
  if (!host.includes(':')) return host
  const [address = ''] = host.split('%')
  const [head = '', tail] = address.split('::')
  const front = head === '' ? [] : head.split(':')
  const back = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length)
  const groups = [...front, ...Array.from({ length: missing }, () => '0'), ...back]
  return `${groups.slice(0, 4).join(':')}::/64`
}
