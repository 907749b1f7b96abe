/**
 * Counters of a QUIC transport since it was created; none is estimated.
 */
import type { QuicConnection } from './connection.ts'
import type { DialCounts, QuicDialler } from './dialler.ts'
import type { EndpointCounts, QuicEndpoint } from './endpoint.ts'
import type { PoolCounts, QuicPool } from './pool.ts'

export interface QuicTransportStats extends EndpointCounts, PoolCounts, DialCounts {
  /** Handshakes completed, in both directions. */
  readonly created: number
  /** Of them, those that peers dialled. */
  readonly accepted: number
  /** Connections that were open and have ended. */
  readonly closed: number
  /** Of them, those whose peer fell silent. */
  readonly timedOut: number
  /** Peers that we refused, for their certificate. */
  readonly refused: number
  /** Peers that refused us. */
  readonly refusedByPeer: number
  /** Handshakes that ran out of time. */
  readonly handshakesTimedOut: number
  /** Peers that offered another application protocol. */
  readonly alpnMismatches: number
  /** Connections on which data sent before the handshake was done was taken… */
  readonly earlyDataTaken: number
  /** …or refused, so that it travelled again. */
  readonly earlyDataRefused: number
  /** Address changes of peers that connections survived. */
  readonly pathChanges: number
  /** Channels opened, by either side. */
  readonly channelsOpened: number
  readonly wireBytesSent: number
  readonly wireBytesReceived: number
  readonly datagramsSent: number
  readonly datagramsReceived: number
  readonly datagramsLost: number
}

/** Sums of what connections counted, taken when they end. */
const SUMMED = [
  'pathChanges',
  'channelsOpened',
  'wireBytesSent',
  'wireBytesReceived',
  'datagramsSent',
  'datagramsReceived',
  'datagramsLost',
] as const

type Sums = Record<(typeof SUMMED)[number], number>

export class TransportTally {
  readonly #ended: Sums = {
    pathChanges: 0,
    channelsOpened: 0,
    wireBytesSent: 0,
    wireBytesReceived: 0,
    datagramsSent: 0,
    datagramsReceived: 0,
    datagramsLost: 0,
  }
  readonly #early = { taken: 0, refused: 0, none: 0 }
  #created = 0
  #accepted = 0
  #closed = 0
  #timedOut = 0
  #refused = 0
  #refusedByPeer = 0
  #handshakesTimedOut = 0
  #alpnMismatches = 0

  established(connection: QuicConnection): void {
    this.#created += 1
    if (connection.isServer) this.#accepted += 1
  }

  ended(connection: QuicConnection): void {
    const stats = connection.stats()
    for (const name of SUMMED) this.#ended[name] += stats[name]
    const { end } = connection
    if (end === null) return
    if (connection.wasOpen) {
      this.#closed += 1
      this.#early[stats.earlyData] += 1
      if (end.by === 'timeout') this.#timedOut += 1
    }
    if (end.code === 'TRANSPORT_PEER_UNTRUSTED') this.#refused += 1
    if (end.code === 'TRANSPORT_REFUSED_BY_PEER') this.#refusedByPeer += 1
    if (end.code === 'TRANSPORT_HANDSHAKE_TIMEOUT') this.#handshakesTimedOut += 1
    if (end.code === 'TRANSPORT_ALPN_MISMATCH') this.#alpnMismatches += 1
  }

  stats(endpoint: QuicEndpoint, pool: QuicPool, dialler: QuicDialler): QuicTransportStats {
    const sums = { ...this.#ended }
    const early = { ...this.#early }
    for (const connection of endpoint.connections) {
      if (connection.end !== null) continue
      const stats = connection.stats()
      for (const name of SUMMED) sums[name] += stats[name]
      if (connection.wasOpen) early[stats.earlyData] += 1
    }
    return {
      ...endpoint.counts(),
      ...pool.counts(),
      ...dialler.counts(),
      ...sums,
      created: this.#created,
      accepted: this.#accepted,
      closed: this.#closed,
      timedOut: this.#timedOut,
      refused: this.#refused,
      refusedByPeer: this.#refusedByPeer,
      handshakesTimedOut: this.#handshakesTimedOut,
      alpnMismatches: this.#alpnMismatches,
      earlyDataTaken: early.taken,
      earlyDataRefused: early.refused,
    }
  }
}
