/**
 * The rate of handshakes: a burst is let in, a flood is not, and one source does not spend another's.
 */
import { expect, test } from 'vitest'
import {
  HANDSHAKES_BURST_PER_ADDRESS,
  HANDSHAKES_PER_SECOND_PER_ADDRESS,
  RATED_ADDRESSES_MAX,
} from '../../../../src/limits.ts'
import { HandshakeRate, sourceOf } from '../../../../src/transport/quic/handshake-rate.ts'

function taken(rate: HandshakeRate, host: string, nowMs: number, attempts: number): number {
  let count = 0
  for (let attempt = 0; attempt < attempts; attempt += 1) if (rate.take(host, nowMs)) count += 1
  return count
}

test('a burst is let in, then as many per second as the limit says', () => {
  const rate = new HandshakeRate()

  expect(taken(rate, '192.0.2.1', 0, 1_000)).toBe(HANDSHAKES_BURST_PER_ADDRESS)
  expect(taken(rate, '192.0.2.1', 1_000, 1_000)).toBe(HANDSHAKES_PER_SECOND_PER_ADDRESS)
  expect(taken(rate, '192.0.2.1', 1_000_000, 1_000)).toBe(HANDSHAKES_BURST_PER_ADDRESS)
})

test('one source does not spend what another may', () => {
  const rate = new HandshakeRate()
  taken(rate, '192.0.2.1', 0, 1_000)

  expect(rate.take('192.0.2.2', 0)).toBe(true)
  expect(rate.take('192.0.2.1', 0)).toBe(false)
})

test('addresses of one IPv6 /64 are one source', () => {
  expect(sourceOf('2001:db8:1:2:3:4:5:6')).toBe(sourceOf('2001:db8:1:2::9'))
  expect(sourceOf('2001:db8:1:3::1')).not.toBe(sourceOf('2001:db8:1:2::1'))
  expect(sourceOf('fe80::1%eth0')).toBe('fe80:0:0:0::/64')
  expect(sourceOf('::1')).toBe('0:0:0:0::/64')
  expect(sourceOf('2001:db8::')).toBe('2001:db8:0:0::/64')
  expect(sourceOf('192.0.2.1')).toBe('192.0.2.1')
})

test('a clock that stands still gives nothing, and memory of sources is bounded', () => {
  const rate = new HandshakeRate()
  taken(rate, '192.0.2.1', 5, 1_000)
  expect(rate.take('192.0.2.1', 5)).toBe(false)

  for (let index = 0; index < RATED_ADDRESSES_MAX; index += 1) {
    rate.take(`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`, 5)
  }

  // Forgotten by now, so it starts anew.
  expect(rate.take('192.0.2.1', 5)).toBe(true)
})
