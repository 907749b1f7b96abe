/**
 * Schedules the work on connections: a pass for incoming datagrams, a flush for outgoing ones.
 *
 * A system call for each datagram is what this transport spends most of its time on, so nothing is
 * sent before every connection and reader that may add to it has run:
 *   1. all datagrams of one poll are taken in first (`setImmediate` comes after it);
 *   2. a pass then wakes the readers, whose code runs in microtasks, answers included;
 *   3. when no microtask is left, acknowledgements and answers leave together (a tick that is
 *      planned by a microtask comes after all of them). Flushing in step 2 took 2.7 datagrams in
 *      each direction for a request of 64 bytes; this takes one.
 */
import type { QuicPump } from './pump.ts'

export class QuicPasses {
  #heard = new Set<QuicPump>()
  #speaking = new Set<QuicPump>()
  #passPlanned = false
  #flushPlanned = false

  /** A datagram came in for this pump. */
  passSoon(pump: QuicPump): void {
    this.#heard.add(pump)
    if (this.#passPlanned) return
    this.#passPlanned = true
    setImmediate(() => this.#pass())
  }

  /** This pump has something to send. */
  flushSoon(pump: QuicPump): void {
    this.#speaking.add(pump)
    if (this.#flushPlanned) return
    this.#flushPlanned = true
    queueMicrotask(() => process.nextTick(() => this.#flush()))
  }

  #pass(): void {
    this.#passPlanned = false
    const heard = this.#heard
    this.#heard = new Set()
    for (const pump of heard) {
      pump.progress()
      this.flushSoon(pump)
    }
  }

  #flush(): void {
    this.#flushPlanned = false
    const speaking = this.#speaking
    this.#speaking = new Set()
    for (const pump of speaking) pump.flush()
  }
}
