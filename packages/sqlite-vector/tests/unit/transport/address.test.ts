/**
 * Addresses of peers: what lacks a host or a port is refused with the form that an address has.
 */
import { expect, test } from 'vitest'
import { formatAddress, parseAddress } from '../../../src/transport/address.ts'

test('an address without a port, or with one that is none, is refused by its form', () => {
  for (const address of [
    'peer.example',
    'peer.example:',
    '10.0.0.1',
    '[::1]',
    '::1',
    'a:b:1',
    ':1',
  ]) {
    expect(() => parseAddress(address), address).toThrow(/address must look like host:port/)
  }
  expect(() => parseAddress('host:65536')).toThrow(RangeError)
})

test('addresses with names, IPv4 and IPv6 hosts come back as they were', () => {
  for (const address of ['peer.example:4433', '10.0.0.1:0', '[2001:db8::1]:65535']) {
    expect(formatAddress(parseAddress(address))).toBe(address)
  }
})
