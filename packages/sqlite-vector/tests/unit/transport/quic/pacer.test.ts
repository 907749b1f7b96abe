/**
 * Pacing: what a connection may send when, told by a path and a clock that the test makes.
 */
import { expect, test } from 'vitest'
import { QuicPacer } from '../../../../src/transport/quic/pacer.ts'

const DATAGRAM_BYTES = 1_000
const BURST_BYTES = 20 * DATAGRAM_BYTES
/** One window of 1 MB in 100 ms, gain 1: 10,000 bytes a millisecond. */
const PATH = { rtt: 100, cwnd: 1_000_000 }
const BYTES_PER_MS = 10_000

function emptied(pacer: QuicPacer): QuicPacer {
  const tokens = pacer.refill(100, false)
  pacer.spend(tokens)
  return pacer
}

test('a connection that waits for a timer earns what its path carries', () => {
  const pacer = emptied(new QuicPacer(1, DATAGRAM_BYTES, () => PATH))

  expect(pacer.refill(101, true)).toBeCloseTo(BYTES_PER_MS)
})

test('a timer that comes late costs no rate', () => {
  const pacer = emptied(new QuicPacer(1, DATAGRAM_BYTES, () => PATH))

  expect(pacer.refill(120, true)).toBeCloseTo(20 * BYTES_PER_MS)
})

test('a connection that was idle starts with a burst, not with all it could have sent', () => {
  const pacer = emptied(new QuicPacer(1, DATAGRAM_BYTES, () => PATH))

  expect(pacer.refill(10_000, false)).toBeLessThanOrEqual(Math.max(BURST_BYTES, 4 * BYTES_PER_MS))
})

test('short paths, and those that are unknown, are not paced', () => {
  for (const path of [undefined, { rtt: 1, cwnd: 10_000 }]) {
    const pacer = new QuicPacer(1, DATAGRAM_BYTES, () => path)

    expect(pacer.refill(100, false)).toBe(Number.POSITIVE_INFINITY)
  }
})
