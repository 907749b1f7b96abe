/**
 * Spreads what a connection sends over time: a token bucket over the congestion window.
 *
 * The engine knows when each packet should leave, its bindings do not tell; without any spreading,
 * a bottleneck drops several times more packets. So a connection may send at `gain` windows per
 * round trip, in bursts of at least {@link BURST_DATAGRAMS_MIN}. On paths of up to 2 ms there is
 * nothing to spread: timers are coarser than that. Nor within one machine, where a busy process
 * looks like a long path.
 *
 * A timer or an acknowledgement that comes late must not cost rate: what a connection that waits
 * for it has earned meanwhile is kept up to {@link LATE_MS}. One that was idle starts with an
 * ordinary burst.
 *
 * Reference: RFC 9002 §7.7.
 */
const BURST_DATAGRAMS_MIN = 20
const BURST_MS = 4
const LATE_MS = 25
const RTT_MS_UNPACED = 2
const SAMPLE_MS = 10

export class QuicPacer {
  readonly #gain: number
  readonly #sample: () => { readonly rtt: number; readonly cwnd: number } | undefined
  readonly #burstBytesMin: number
  #tokens: number
  /** Bytes per millisecond. */
  #rate = Number.POSITIVE_INFINITY
  #refilledMs = 0
  #sampledMs = Number.NEGATIVE_INFINITY

  constructor(
    gain: number,
    datagramBytes: number,
    sample: () => { readonly rtt: number; readonly cwnd: number } | undefined,
  ) {
    this.#gain = gain
    this.#burstBytesMin = BURST_DATAGRAMS_MIN * datagramBytes
    this.#tokens = this.#burstBytesMin
    this.#sample = sample
  }

  /**
   * How many bytes may leave now; the last packet may overdraw it. `waited`: it had more to say
   * since the last call.
   */
  refill(nowMs: number, waited: boolean): number {
    if (nowMs - this.#sampledMs >= SAMPLE_MS) {
      this.#sampledMs = nowMs
      const path = this.#sample()
      const paced = path !== undefined && path.rtt > RTT_MS_UNPACED
      this.#rate = paced ? (this.#gain * path.cwnd) / path.rtt : Number.POSITIVE_INFINITY
    }
    const earned = this.#rate * Math.max(0, nowMs - this.#refilledMs)
    this.#refilledMs = nowMs
    if (this.#rate === Number.POSITIVE_INFINITY) this.#tokens = Number.POSITIVE_INFINITY
    else {
      const burst = Math.max(this.#burstBytesMin, this.#rate * (waited ? LATE_MS : BURST_MS))
      this.#tokens = Math.min(burst, this.#tokens + earned)
    }
    return this.#tokens
  }

  spend(bytes: number): void {
    this.#tokens -= bytes
  }
}
