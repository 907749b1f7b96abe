/**
 * The network as sync needs it: mutually authenticated connections that carry many ordered,
 * reliable, message-framed channels. Types only; quic.ts and memory/network.ts implement them, and
 * the contract that the package exports as `./testing` is what an implementation must pass.
 */
import type { ErrorCode } from '../errors.ts'

/** Address at which a peer listens: `host:port`, an IPv6 host in brackets. */
export type PeerAddress = string

/** Identity that the other side proved. */
export interface PeerIdentity {
  /** SHA-256 of the peer's leaf certificate (DER), 64 lowercase hexadecimal digits. */
  readonly fingerprint: string
  /** The label under which it is pinned, or the name that a cluster's authority certified. */
  readonly nodeId?: string
  /**
   * The invitation with which this peer may ask to join a cluster, and may do nothing else; absent
   * for nodes.
   */
  readonly invite?: string
}

/** For every call that waits on the network. */
export interface WaitOptions {
  /**
   * Ends the wait; the call rejects with `TRANSPORT_ABORTED` whose cause is the signal's reason.
   */
  readonly signal?: AbortSignal
}

export interface DialOptions extends WaitOptions {
  /**
   * True resolves as soon as channels can be opened, before the peer has said that it takes us: a
   * refusal then ends the connection, and calls on its channels reject with
   * `TRANSPORT_REFUSED_BY_PEER`. {@link ChannelOptions} limits its channels until then.
   * @defaultValue `false`
   */
  readonly early?: boolean
}

export interface ChannelOptions extends WaitOptions {
  /**
   * True lets the first frames travel before the handshake is done, in the very first datagram
   * where a session is resumed. They could then be replayed by an attacker on the path: send only
   * frames that may be repeated. Otherwise frames wait for the handshake.
   * @defaultValue `false`
   */
  readonly early?: boolean
}

/** The key and the trust of a node, for signed statements that other nodes pass on. */
export interface Credentials {
  /** Our certificate, DER. */
  readonly certificate: Uint8Array
  /** Our signature of `statement` for the purpose `context`. */
  sign(context: string, statement: Uint8Array): Uint8Array
  /** True when a node with this certificate (DER) may connect. */
  isTrusted(certificate: Uint8Array): boolean
  /** Calls `listener` after each change of trust; the returned function ends that. */
  onTrustChange(listener: () => void): () => void
}

/** Opens connections to peers and takes those that peers open. */
export interface Transport {
  /** Our own fingerprint, as peers see it. */
  readonly identity: PeerIdentity
  /** Absent when nodes have no keys; then they do not introduce one another. */
  readonly credentials?: Credentials
  /** Starts taking connections. Resolves with the address really bound (port 0 is filled in). */
  listen(address: PeerAddress): Promise<PeerAddress>
  /**
   * Resolves once the handshake is done and both sides have accepted each other's identity. There
   * is one connection for a pair of nodes, so it may resolve with one that is open already, also
   * with one that the peer dialled and {@link accept} delivers: the same object.
   * @throws SqliteVectorError `TRANSPORT_PEER_UNTRUSTED`, `TRANSPORT_REFUSED_BY_PEER`,
   *   `TRANSPORT_ALPN_MISMATCH`, `TRANSPORT_HANDSHAKE_TIMEOUT`, `TRANSPORT_DIAL_FAILED`
   */
  dial(address: PeerAddress, options?: DialOptions): Promise<Connection>
  /**
   * Connections that peers opened to us, until {@link close}. One consumer. Also those that we
   * dialled while the peer dialled us, when {@link dial} then gave the peer's: it may have opened
   * channels on ours before.
   */
  accept(): AsyncIterable<Connection>
  /** Closes every connection and socket. Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** An authenticated connection to one peer. */
export interface Connection {
  readonly peer: PeerIdentity
  /**
   * Names the peer's process, the same on all its connections; null until the peer has named it,
   * absent where the transport does not tell processes apart.
   */
  readonly process?: string | null
  /** Address at which the peer was last seen. */
  readonly remoteAddress: PeerAddress
  /** Opens a bidirectional channel; waits while the peer's limit of open channels is reached. */
  openChannel(options?: ChannelOptions): Promise<Channel>
  /** Channels that the peer opened, until the connection ends. One consumer. */
  channels(): AsyncIterable<Channel>
  /** Resolves when the connection has ended, on either side; never rejects. */
  readonly closed: Promise<ConnectionEnd>
  stats(): ConnectionStats
  /** Ends the connection at once: frames under way may be lost. Peers see `reason`. Idempotent. */
  close(reason?: string): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Why a connection ended. */
export interface ConnectionEnd {
  readonly by: 'us' | 'peer' | 'timeout' | 'error'
  readonly reason: string
  /** Code with which calls on the connection and its channels reject from then on. */
  readonly code: ErrorCode
}

/** Counted, never estimated. */
export interface ConnectionStats {
  /**
   * Payload bytes of frames and their length prefixes that were handed to and taken from channels.
   */
  readonly channelBytesSent: number
  readonly channelBytesReceived: number
  /** Bytes of UDP payload (QUIC), or the same as channel bytes without a wire (memory). */
  readonly wireBytesSent: number
  readonly wireBytesReceived: number
  /** Datagrams (QUIC), or frames without a wire (memory). */
  readonly datagramsSent: number
  readonly datagramsReceived: number
  /** Datagrams that we sent and that were declared lost. */
  readonly datagramsLost: number
  /** Smoothed round-trip time in milliseconds; null until measured. */
  readonly rttMs: number | null
  /** Channels open now, opened by either side. */
  readonly channelsOpen: number
}

/** One ordered, reliable stream of frames in each direction. */
export interface Channel {
  /**
   * Sends one frame. Resolves when the transport took it over, which it does only as fast as the
   * peer reads: awaiting it is back-pressure. The frame's memory must not change until then. A
   * signal that ends it when part of the frame is under way aborts the channel: half a frame would
   * corrupt what follows.
   * @throws SqliteVectorError `TRANSPORT_FRAME_TOO_LARGE`, `TRANSPORT_CLOSED`, `TRANSPORT_ABORTED`
   */
  send(frame: Uint8Array, options?: WaitOptions): Promise<void>
  /**
   * The next frame, or null after the peer's {@link finish}. The frame starts at an offset of its
   * buffer that is a multiple of 8 and is the caller's to keep.
   * @throws SqliteVectorError `TRANSPORT_FRAME_TOO_LARGE`, `TRANSPORT_CLOSED`, `TRANSPORT_ABORTED`
   */
  receive(options?: WaitOptions): Promise<Uint8Array | null>
  /**
   * Ends this direction: no more frames follow, and those sent still arrive. The other direction
   * stays open.
   */
  finish(): Promise<void>
  /**
   * Gives up both directions at once; the peer's calls reject with `TRANSPORT_ABORTED`. Idempotent.
   */
  abort(reason?: string): void
}
