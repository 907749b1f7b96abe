/**
 * UDP sockets of an endpoint: bind, receive, send. The only file that names node:dgram.
 *
 * Hosts are IP literals by the time they get here, so no packet ever waits for a name lookup.
 */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { SqliteVectorError } from '../../errors.ts'
import { SOCKET_BUFFER_BYTES } from '../../limits.ts'
import { formatAddress } from '../address.ts'
import type { HostPort } from '../address.ts'

export class QuicSocket {
  readonly local: HostPort
  readonly isV6: boolean
  readonly #socket: Socket

  private constructor(socket: Socket, isV6: boolean) {
    const { address, port } = socket.address()
    this.#socket = socket
    this.isV6 = isV6
    this.local = Object.freeze({ host: address, port })
  }

  /** @throws SqliteVectorError `TRANSPORT_ADDRESS_IN_USE`, `TRANSPORT_DIAL_FAILED` */
  static async bind(
    at: HostPort,
    onDatagram: (datagram: Buffer, from: HostPort, socket: QuicSocket) => void,
  ): Promise<QuicSocket> {
    const isV6 = isIPv6(at.host)
    const raw = createSocket({
      type: isV6 ? 'udp6' : 'udp4',
      ipv6Only: isV6,
      recvBufferSize: SOCKET_BUFFER_BYTES,
      sendBufferSize: SOCKET_BUFFER_BYTES,
      lookup: (host, _options, callback) => callback(null, host, isV6 ? 6 : 4),
    })
    await new Promise<void>((resolve, reject) => {
      raw.once('error', (cause: NodeJS.ErrnoException) => reject(bindError(at, cause)))
      raw.bind(at.port, at.host, () => resolve())
    })
    raw.removeAllListeners('error')
    const socket = new QuicSocket(raw, isV6)
    // Errors about single datagrams (unreachable, too large) are loss to QUIC.
    raw.on('error', () => {})
    raw.on('message', (datagram, info) => {
      onDatagram(datagram, { host: info.address, port: info.port }, socket)
    })
    return socket
  }

  /**
   * Why the system has no way to an IPv6 address, as on a machine without IPv6; null when it has
   * one.
   */
  static async noRoute({ host, port }: HostPort): Promise<string | null> {
    if (!isIPv6(host)) return null
    const raw = createSocket('udp6')
    try {
      return await new Promise<string | null>((resolve) => {
        raw.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
        raw.connect(port, host, () => resolve(null))
      })
    } finally {
      raw.close()
    }
  }

  send(datagram: Uint8Array, to: HostPort): void {
    this.#socket.send(datagram, 0, datagram.byteLength, to.port, to.host)
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()))
  }
}

function bindError(at: HostPort, cause: NodeJS.ErrnoException): SqliteVectorError {
  const address = formatAddress(at)
  return cause.code === 'EADDRINUSE'
    ? new SqliteVectorError('TRANSPORT_ADDRESS_IN_USE', `${address} is in use`, { cause })
    : new SqliteVectorError('TRANSPORT_DIAL_FAILED', `cannot bind UDP ${address}`, { cause })
}
