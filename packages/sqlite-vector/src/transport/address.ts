/**
 * Addresses: `host:port` text, an IPv6 host in brackets, to its parts and back. Pure; names are
 * resolved where sockets are.
 */
import { isIPv6 } from 'node:net'
import { shown } from '../options.ts'
import type { PeerAddress } from './types.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** @throws TypeError or RangeError that shows the form of an address */
export function parseAddress(address: PeerAddress): HostPort {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[^:[\]\s]+)):(?<port>\d{1,5})$/.exec(address)
  const { v6, host, port } = match?.groups ?? {}
  if (port === undefined) {
    throw new TypeError(
      `address must look like host:port or [ipv6-host]:port, got ${shown(address)}`,
    )
  }
  if (v6 !== undefined && !isIPv6(v6)) {
    throw new TypeError(`address must hold an IPv6 host in its brackets, got ${shown(address)}`)
  }
  if (Number(port) > 65_535) {
    throw new RangeError(`address must have a port from 0 to 65535, got ${shown(address)}`)
  }
  return { host: v6 ?? host ?? '', port: Number(port) }
}

export function formatAddress({ host, port }: HostPort): PeerAddress {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

/** True for an IP literal of the loopback interface. */
export function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1'
}
