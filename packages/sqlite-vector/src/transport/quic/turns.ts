/**
 * Turns among the streams of one connection that wait to hand bytes to the engine.
 *
 * Credit comes in portions, and a stream that sends much takes whatever there is. So a stream waits
 * in line as soon as another one waits, each turn is of a bounded number of bytes, and:
 *   T1  A stream that has had a turn and wants more comes after all that wait.
 *   T2  A stream that was not waiting comes before those that are, so a small frame passes a large
 *       shard. It does not do so in the next round: many small frames starve no other stream.
 *
 * As sparse flows are treated by FQ-CoDel (RFC 8290 §4.1). Order only: bytes are quic/stream.ts's
 * business.
 */
export class StreamTurns<Stream> {
  /** In the order in which their turns come. */
  #waiting = new Set<Stream>()
  #arrived = new Set<Stream>()
  #wereFirst = new Set<Stream>()

  get isEmpty(): boolean {
    return this.#waiting.size === 0 && this.#arrived.size === 0
  }

  /** A stream that was not waiting wants a turn. */
  arrive(stream: Stream): void {
    if (this.#wereFirst.has(stream)) this.#waiting.add(stream)
    else this.#arrived.add(stream)
  }

  /** A stream got less than it wanted. */
  wait(stream: Stream): void {
    this.#waiting.add(stream)
  }

  leave(stream: Stream): void {
    this.#waiting.delete(stream)
    this.#arrived.delete(stream)
  }

  /**
   * Gives each a turn. `take` says whether the stream got anything, and calls {@link wait} when it
   * wants more; a stream that got nothing keeps its place.
   */
  round(take: (stream: Stream) => boolean): void {
    const order = new Set([...this.#arrived, ...this.#waiting])
    const arrived = this.#arrived
    this.#arrived = new Set()
    this.#waiting = new Set()
    this.#wereFirst = new Set()
    const without: Stream[] = []
    for (const stream of order) {
      if (!take(stream)) without.push(stream)
      else if (arrived.has(stream)) this.#wereFirst.add(stream)
    }
    const still = without.filter((stream) => this.#waiting.has(stream))
    this.#waiting = new Set([...still, ...this.#waiting])
  }
}
