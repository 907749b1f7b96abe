/**
 * Options of the QUIC transport: the one place where defaults meet input.
 */
import { systemClock } from '../clock/system-clock.ts'
import type { Clock } from '../clock/types.ts'
import { CHANNELS_OPEN_DEFAULT, FRAME_BYTES_MAX } from '../limits.ts'
import { integerIn, nameGiven, objectGiven, oneOf, rejectUnknownKeys } from '../options.ts'
import { NODE_SERVER_NAME } from './certificate.ts'
import type { NodeIdentity } from './identity.ts'
import type { TrustList } from './trust.ts'

/** The protocol and its version: peers that offer another never exchange a frame (RFC 7301). */
export const ALPN = 'sqlite-vector/1'

/** An attempt to connect to us that was refused. */
export interface RefusedAttempt {
  /** Where it came from. */
  readonly address: string
  /** Of the certificate it showed; null when it showed none. */
  readonly fingerprint: string | null
  /** That certificate, so that it can be pinned by somebody who knows whose it is. */
  readonly certificatePem: string | null
  readonly reason: string
}

export interface QuicTransportOptions {
  /** Who we are: key pair and certificate. */
  readonly identity: NodeIdentity
  /** Who may talk to us. */
  readonly trust: TrustList
  /** The server name asked for and shown. @defaultValue `'node.sqlite-vector.internal'` */
  readonly serverName?: string
  /**
   * Silence after which a connection is given up, in milliseconds; the smaller of both sides' counts.
   * Integer, 1 000 to 600 000. @defaultValue `10 000`
   */
  readonly maxIdleTimeoutMs?: number
  /**
   * A connection with open channels sends at least this often, in milliseconds, so that it outlives the
   * idle timeout and NAT mappings. Integer, 100 to 600 000, or 0 for never. @defaultValue `3 000`
   */
  readonly keepAliveMs?: number
  /** Longest handshake, in milliseconds. Integer, 100 to 60 000. @defaultValue `5 000` */
  readonly handshakeTimeoutMs?: number
  /** Channels that a peer may have open at once. Integer, 1 to 10 000. @defaultValue `256` */
  readonly maxConcurrentStreams?: number
  /** Largest frame in bytes, both ways. Integer, 1 to 8 388 608. @defaultValue the largest */
  readonly frameBytesMax?: number
  /** How fast to send. @defaultValue `'bbr'`, which keeps its rate on lossy paths */
  readonly congestionControl?: 'bbr' | 'cubic' | 'reno'
  /** The application protocol; another name only for tests. @defaultValue `'sqlite-vector/1'` */
  readonly alpn?: string
  /** Called for every attempt that was refused. */
  readonly onRefused?: (attempt: RefusedAttempt) => void
  readonly clock?: Clock
}

export type ResolvedQuicOptions = Required<QuicTransportOptions>

const DEFAULTS = {
  serverName: NODE_SERVER_NAME,
  maxIdleTimeoutMs: 10_000,
  keepAliveMs: 3_000,
  handshakeTimeoutMs: 5_000,
  maxConcurrentStreams: CHANNELS_OPEN_DEFAULT,
  frameBytesMax: FRAME_BYTES_MAX,
  congestionControl: 'bbr',
  alpn: ALPN,
  onRefused: () => {},
  clock: systemClock,
} satisfies Omit<QuicTransportOptions, 'identity' | 'trust'>

/** Applies defaults, then validates. @throws TypeError, RangeError */
export function resolveQuicOptions(given: QuicTransportOptions): ResolvedQuicOptions {
  const caller = 'QuicTransport.create'
  objectGiven(caller, given)
  rejectUnknownKeys(caller, given, ['identity', 'trust', ...Object.keys(DEFAULTS)])
  const options = { ...DEFAULTS, ...given }
  objectGiven('identity', options.identity)
  objectGiven('trust', options.trust)
  nameGiven('serverName', options.serverName, 253)
  integerIn('maxIdleTimeoutMs', options.maxIdleTimeoutMs, 1_000, 600_000)
  integerIn('keepAliveMs', options.keepAliveMs, 0, 600_000)
  integerIn('handshakeTimeoutMs', options.handshakeTimeoutMs, 100, 60_000)
  integerIn('maxConcurrentStreams', options.maxConcurrentStreams, 1, 10_000)
  integerIn('frameBytesMax', options.frameBytesMax, 1, FRAME_BYTES_MAX)
  oneOf('congestionControl', options.congestionControl, ['bbr', 'cubic', 'reno'])
  nameGiven('alpn', options.alpn, 255)
  return Object.freeze(options)
}
