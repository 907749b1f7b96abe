/**
 * What sync needs of a network: mutually authenticated connections that carry many ordered,
 * reliable, message-framed channels. Types only; quic.ts and memory.ts implement them, and the
 * exported contract suite (tests/contract) is what an implementation must pass.
 */

/** Where a peer listens: `host:port`, an IPv6 host in brackets. */
export type PeerAddress = string

/** Who the other side proved to be. */
export interface PeerIdentity {
  /** SHA-256 of the peer's leaf certificate (DER), 64 lowercase hexadecimal digits. */
  readonly fingerprint: string
}

/** For every call that waits on the network. */
export interface WaitOptions {
  /** Ends the wait; the call rejects with `TRANSPORT_ABORTED` whose cause is the signal's reason. */
  readonly signal?: AbortSignal
}

/** Opens connections to peers and takes those that peers open. */
export interface Transport {
  /** Our own fingerprint, as peers see it. */
  readonly identity: PeerIdentity
  /** Starts taking connections. Resolves with the address really bound (port 0 is filled in). */
  listen(address: PeerAddress): Promise<PeerAddress>
  /** Resolves once the handshake, the peer's identity included, is done. */
  dial(address: PeerAddress, options?: WaitOptions): Promise<Connection>
  /** Connections that peers opened to us, until {@link close}. One consumer. */
  accept(): AsyncIterable<Connection>
  /** Closes every connection and socket. Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** An authenticated connection to one peer. */
export interface Connection {
  readonly peer: PeerIdentity
  /** Where the peer was last seen. */
  readonly remoteAddress: PeerAddress
  /** Opens a bidirectional channel; waits while the peer's limit of open channels is reached. */
  openChannel(options?: WaitOptions): Promise<Channel>
  /** Channels that the peer opened, until the connection ends. One consumer. */
  channels(): AsyncIterable<Channel>
  /** Resolves when the connection has ended, whoever ended it; never rejects. */
  readonly closed: Promise<ConnectionEnd>
  stats(): ConnectionStats
  /** Ends the connection; peers see `reason`. Idempotent. */
  close(reason?: string): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Why a connection ended. */
export interface ConnectionEnd {
  readonly by: 'us' | 'peer' | 'timeout' | 'error'
  readonly reason: string
}

/** Counted, never estimated. */
export interface ConnectionStats {
  /** Payload bytes of frames and their length prefixes that were handed to and taken from channels. */
  readonly channelBytesSent: number
  readonly channelBytesReceived: number
  /** Bytes of UDP payload (QUIC), or the same as channel bytes where there is no wire (memory). */
  readonly wireBytesSent: number
  readonly wireBytesReceived: number
  /** Smoothed round-trip time in milliseconds; null until measured. */
  readonly rttMs: number | null
}

/** One ordered, reliable stream of frames in each direction. */
export interface Channel {
  /**
   * Sends one frame. Resolves when the transport took it over, which it does only as fast as the
   * peer reads: awaiting it is back-pressure. The frame's memory must not change until then.
   * @throws SqliteVectorError `TRANSPORT_FRAME_TOO_LARGE`, `TRANSPORT_CLOSED`, `TRANSPORT_ABORTED`
   */
  send(frame: Uint8Array, options?: WaitOptions): Promise<void>
  /**
   * The next frame, or null after the peer's {@link finish}. The frame starts at an offset of its
   * buffer that is a multiple of 8 and is the caller's to keep.
   * @throws SqliteVectorError `TRANSPORT_FRAME_TOO_LARGE`, `TRANSPORT_CLOSED`, `TRANSPORT_ABORTED`
   */
  receive(options?: WaitOptions): Promise<Uint8Array | null>
  /** Says that no more frames follow; what was sent still arrives. The other direction stays open. */
  finish(): Promise<void>
  /** Gives up both directions at once; the peer's calls reject with `TRANSPORT_ABORTED`. Idempotent. */
  abort(reason?: string): void
}
