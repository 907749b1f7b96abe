/**
 * Options of the QUIC transport: the one place where defaults meet input.
 */
import { systemClock } from '../../clock/system-clock.ts'
import type { Clock } from '../../clock/types.ts'
import { CHANNELS_OPEN_DEFAULT, CONNECTIONS_DEFAULT, FRAME_BYTES_MAX } from '../../limits.ts'
import {
  booleanGiven,
  integerIn,
  nameGiven,
  objectGiven,
  oneOf,
  rejectUnknownKeys,
} from '../../options.ts'
import { NODE_SERVER_NAME } from '../identity/certificate.ts'
import type { NodeIdentity } from '../identity/identity.ts'
import { TicketStore } from './tickets.ts'
import type { TrustList } from '../identity/trust.ts'

/** The protocol and its version: peers that offer another never exchange a frame (RFC 7301). */
export const ALPN = 'sqlite-vector/1'

/** An attempt to connect to us that was refused. */
export interface RefusedAttempt {
  /** Address of the sender. */
  readonly address: string
  /** Of the certificate it showed; null when it showed none. */
  readonly fingerprint: string | null
  /** That certificate, so that an operator who recognises it can pin it. */
  readonly certificatePem: string | null
  readonly reason: string
}

/**
 * A node of a known name that shows another certificate than before: renewed, or of another node.
 */
export interface IdentityChange {
  readonly nodeId: string
  readonly address: string
  readonly before: string
  readonly after: string
}

export interface QuicTransportOptions {
  /** This node: key pair and certificate. */
  readonly identity: NodeIdentity
  /** Peers that may talk to this node. */
  readonly trust: TrustList
  /**
   * Session tickets, which also survive a restart when kept on disk.
   * @defaultValue one in memory
   */
  readonly tickets?: TicketStore
  /**
   * True lets `dial(…, { early: true })` send the first frames in the first datagram of a resumed
   * session, and lets a listener take them. @defaultValue `true`
   */
  readonly enable0Rtt?: boolean
  /** The server name asked for and shown. @defaultValue `'node.sqlite-vector.internal'` */
  readonly serverName?: string
  /**
   * Silence after which a connection is given up, in milliseconds; the smaller of both sides'
   * counts. Integer, 1 000 to 600 000. @defaultValue `10 000`
   */
  readonly maxIdleTimeoutMs?: number
  /**
   * A connection sends at least this often, in milliseconds, so that it outlives the idle timeout
   * and NAT mappings. Integer, 0 (never) to 600 000. @defaultValue `1 000`: well below both sides'
   * idle timeout, and far below the 30 s after which the shortest-lived NATs forget a UDP mapping
   */
  readonly keepAliveMs?: number
  /** Longest handshake, in milliseconds. Integer, 100 to 60 000. @defaultValue `5 000` */
  readonly handshakeTimeoutMs?: number
  /**
   * A connection that we dialled and that has no open channel is closed after this time, in
   * milliseconds. Integer, 0 (never) to 86 400 000. @defaultValue `60 000`
   */
  readonly idleCloseMs?: number
  /** Connections held open, both directions together. Integer, 1 to 100 000. @defaultValue `512` */
  readonly maxConnections?: number
  /** Channels that a peer may have open at once. Integer, 1 to 10 000. @defaultValue `256` */
  readonly maxConcurrentStreams?: number
  /** Largest frame in bytes, both ways. Integer, 1 to 8 388 608. @defaultValue the largest */
  readonly frameBytesMax?: number
  /** How fast to send. @defaultValue `'bbr'`, which keeps its rate on lossy paths */
  readonly congestionControl?: 'bbr' | 'cubic' | 'reno'
  /**
   * Largest datagram sent, in bytes. Integer, 1 200 to 65 527. @defaultValue `null`: 1 350, and
   * 16 384 to processes of the same machine
   */
  readonly datagramBytes?: number | null
  /**
   * File to append TLS secrets to, for dissecting captures; a reader of it can read the traffic.
   * @defaultValue `null`
   */
  readonly keyLogFile?: string | null
  /** The application protocol; another name only for tests. @defaultValue `'sqlite-vector/1'` */
  readonly alpn?: string
  /** Called for every attempt that was refused. */
  readonly onRefused?: (attempt: RefusedAttempt) => void
  /**
   * Called with faults that no call can report: a trust list that cannot be reread or saved,
   * tickets that cannot be saved. The transport goes on with what it has in memory.
   */
  readonly onError?: (error: unknown) => void
  /** Called when a node of a known name shows another certificate than the last time. */
  readonly onIdentityChange?: (change: IdentityChange) => void
  /** Source of the time; another one in tests. @defaultValue the system's clock */
  readonly clock?: Clock
}

export type ResolvedQuicOptions = Required<QuicTransportOptions>

const DEFAULTS = {
  enable0Rtt: true,
  idleCloseMs: 60_000,
  maxConnections: CONNECTIONS_DEFAULT,
  datagramBytes: null,
  keyLogFile: null,
  onIdentityChange: () => {},
  serverName: NODE_SERVER_NAME,
  maxIdleTimeoutMs: 10_000,
  keepAliveMs: 1_000,
  handshakeTimeoutMs: 5_000,
  maxConcurrentStreams: CHANNELS_OPEN_DEFAULT,
  frameBytesMax: FRAME_BYTES_MAX,
  congestionControl: 'bbr',
  alpn: ALPN,
  onRefused: () => {},
  onError: () => {},
  clock: systemClock,
} satisfies Omit<QuicTransportOptions, 'identity' | 'trust' | 'tickets'>

/** Applies defaults, then validates. @throws TypeError, RangeError */
export function resolveQuicOptions(given: QuicTransportOptions): ResolvedQuicOptions {
  const caller = 'QuicTransport.create'
  objectGiven(caller, given)
  rejectUnknownKeys(caller, given, ['identity', 'trust', 'tickets', ...Object.keys(DEFAULTS)])
  const clock = given.clock ?? DEFAULTS.clock
  const options = { ...DEFAULTS, tickets: TicketStore.inMemory(clock), ...given }
  objectGiven('identity', options.identity)
  objectGiven('trust', options.trust)
  nameGiven('serverName', options.serverName, 253)
  integerIn('maxIdleTimeoutMs', options.maxIdleTimeoutMs, 1_000, 600_000)
  integerIn('keepAliveMs', options.keepAliveMs, 0, 600_000)
  integerIn('handshakeTimeoutMs', options.handshakeTimeoutMs, 100, 60_000)
  integerIn('maxConcurrentStreams', options.maxConcurrentStreams, 1, 10_000)
  integerIn('frameBytesMax', options.frameBytesMax, 1, FRAME_BYTES_MAX)
  oneOf('congestionControl', options.congestionControl, ['bbr', 'cubic', 'reno'])
  integerIn('idleCloseMs', options.idleCloseMs, 0, 86_400_000)
  integerIn('maxConnections', options.maxConnections, 1, 100_000)
  booleanGiven('enable0Rtt', options.enable0Rtt)
  if (options.datagramBytes !== null)
    integerIn('datagramBytes', options.datagramBytes, 1_200, 65_527)
  if (options.keyLogFile !== null) nameGiven('keyLogFile', options.keyLogFile, 4_096)
  nameGiven('alpn', options.alpn, 255)
  return Object.freeze(options)
}
