/**
 * The QUIC engine's native binding: its types as we use them, and its loading.
 *
 * The engine is Cloudflare's quiche; the platform packages named below hold one prebuilt native
 * module each and no JavaScript. It is a protocol machine without sockets or timers: datagrams go
 * in and out by `recv` and `send`, time by `timeout` and `onTimeout`. Loaded at first use, never by
 * importing the package. There is no fallback: a platform without a binary is a coded error.
 *
 * Numbers are integers; error texts are quiche's (`StreamReset(7)`). Differs from the engine's own
 * documentation: calls that are done return null instead of failing with `Done`.
 */
import { requirePackage } from '#platform'
import { SqliteVectorError } from '../../errors.ts'

export interface NativeHostPort {
  readonly host: string
  readonly port: number
}

export interface NativeConnectionError {
  readonly isApp: boolean
  readonly errorCode: number
  readonly reason: Uint8Array
}

export interface NativePathStats {
  readonly active: boolean
  readonly rtt: number
  readonly cwnd: number
  readonly deliveryRate: number
  readonly lost: number
  readonly localHost: NativeHostPort
  readonly peerHost: NativeHostPort
}

export interface NativeStats {
  readonly recv: number
  readonly sent: number
  readonly lost: number
  readonly retrans: number
  readonly pathsCount: number
}

export interface NativePathEvent {
  readonly type: 'New' | 'Validated' | 'Closed' | 'ReusedSourceConnectionId' | 'PeerMigrated'
}

export interface NativeConfig {
  setApplicationProtos(protocols: readonly string[]): void
  enableEarlyData(): void
  setTicketKey(key: Uint8Array): void
  logKeys(): void
  /** Of the id that the next accepted connection starts with; null for a dialler. */
  setStatelessResetToken(token: bigint | null): void
  setMaxIdleTimeout(milliseconds: number): void
  setMaxRecvUdpPayloadSize(bytes: number): void
  setMaxSendUdpPayloadSize(bytes: number): void
  setInitialMaxData(bytes: number): void
  setInitialMaxStreamDataBidiLocal(bytes: number): void
  setInitialMaxStreamDataBidiRemote(bytes: number): void
  setInitialMaxStreamDataUni(bytes: number): void
  setInitialMaxStreamsBidi(count: number): void
  setInitialMaxStreamsUni(count: number): void
  setMaxConnectionWindow(bytes: number): void
  setMaxStreamWindow(bytes: number): void
  setActiveConnectionIdLimit(count: number): void
  setDisableActiveMigration(disabled: boolean): void
  setCcAlgorithmName(name: string): void
  enablePacing(enabled: boolean): void
  grease(enabled: boolean): void
}

export interface NativeConnection {
  setKeylog(path: string): void
  setSession(session: Uint8Array): void
  session(): Uint8Array | null
  /** Decrypts in place: the memory is not the caller's any more. */
  recv(
    datagram: Uint8Array,
    path: { readonly from: NativeHostPort; readonly to: NativeHostPort },
  ): number
  send(
    into: Uint8Array,
  ): readonly [number, { readonly from: NativeHostPort; readonly to: NativeHostPort }] | null
  /** As `send`, for one path given by its addresses. */
  sendOnPath(
    into: Uint8Array,
    from: NativeHostPort,
    to: NativeHostPort,
  ): readonly [number, { readonly from: NativeHostPort; readonly to: NativeHostPort }] | null
  streamRecv(streamId: number, into: Uint8Array): readonly [number, boolean] | null
  streamSend(streamId: number, bytes: Uint8Array, fin: boolean): number | null
  /** Bytes that would be taken now. @throws where the stream is gone or was stopped by the peer */
  streamCapacity(streamId: number): number
  streamPriority(streamId: number, urgency: number, incremental: boolean): void
  streamShutdown(streamId: number, direction: number, code: number): void
  peerStreamsLeftBidi(): number
  peerStreamsLeftUni(): number
  readable(): Iterable<number>
  /** True when any stream is. */
  isReadable(): boolean
  streamReadable(streamId: number): boolean
  timeout(): number | null
  onTimeout(): void
  sendAckEliciting(): void
  probePath(local: NativeHostPort, peer: NativeHostPort): number
  migrate(local: NativeHostPort, peer: NativeHostPort): number
  newSourceCid(id: Uint8Array, resetToken: bigint, retireIfNeeded: boolean): number
  sourceCidsLeft(): number
  retiredScidNext(): Uint8Array | null
  availableDcids(): number
  pathEventNext(): NativePathEvent | null
  close(application: boolean, code: number, reason: Uint8Array): void
  applicationProto(): Uint8Array
  peerCertChain(): readonly Uint8Array[] | null
  isEstablished(): boolean
  isResumed(): boolean
  isInEarlyData(): boolean
  isDraining(): boolean
  isClosed(): boolean
  isTimedOut(): boolean
  peerError(): NativeConnectionError | null
  localError(): NativeConnectionError | null
  stats(): NativeStats
  pathStats(): readonly NativePathStats[]
}

export interface NativeHeader {
  readonly ty: number
  readonly version: number
  readonly dcid: Uint8Array
  readonly scid: Uint8Array
  readonly token?: Uint8Array
}

export interface QuicBinding {
  readonly Config: {
    withBoringSslCtx(
      verifyPeer: boolean,
      verifyAllowFail: boolean,
      anchorsPem: Uint8Array,
      privateKeysPem: readonly Uint8Array[],
      certificateChainsPem: readonly Uint8Array[],
      signatureAlgorithms: string,
    ): NativeConfig
  }
  readonly Connection: {
    connect(
      serverName: string,
      sourceId: Uint8Array,
      local: NativeHostPort,
      remote: NativeHostPort,
      config: NativeConfig,
    ): NativeConnection
    accept(
      sourceId: Uint8Array,
      originalDestinationId: Uint8Array | null,
      local: NativeHostPort,
      remote: NativeHostPort,
      config: NativeConfig,
    ): NativeConnection
  }
  readonly Header: { fromSlice(datagram: Uint8Array, destinationIdBytes: number): NativeHeader }
  readonly Shutdown: { readonly Read: number; readonly Write: number }
  readonly Type: { readonly Initial: number }
  versionIsSupported(version: number): boolean
  negotiateVersion(sourceId: Uint8Array, destinationId: Uint8Array, into: Uint8Array): number
  retry(
    sourceId: Uint8Array,
    destinationId: Uint8Array,
    newSourceId: Uint8Array,
    token: Uint8Array,
    version: number,
    into: Uint8Array,
  ): number
}

/** Platform (`process.platform`-`process.arch`) to the package that holds its binary. */
export const QUIC_PACKAGES: Readonly<Record<string, string>> = Object.freeze({
  'linux-x64': '@matrixai/quic-linux-x64',
  'linux-arm64': '@infisical/quic-linux-arm64',
  'linux-arm': '@infisical/quic-linux-arm',
  'darwin-arm64': '@matrixai/quic-darwin-arm64',
  'darwin-x64': '@matrixai/quic-darwin-x64',
  'win32-x64': '@matrixai/quic-win32-x64',
})

/** @throws SqliteVectorError `TRANSPORT_UNSUPPORTED_PLATFORM` */
export function loadQuicBinding(platform = `${process.platform}-${process.arch}`): QuicBinding {
  const name = QUIC_PACKAGES[platform]
  if (name === undefined) {
    throw new SqliteVectorError(
      'TRANSPORT_UNSUPPORTED_PLATFORM',
      `no QUIC binary is published for ${platform}; there is one for ${Object.keys(QUIC_PACKAGES).join(', ')}`,
    )
  }
  try {
    return requirePackage(name) as QuicBinding
  } catch (error) {
    throw new SqliteVectorError(
      'TRANSPORT_UNSUPPORTED_PLATFORM',
      `the QUIC binary ${name} for ${platform} does not load: ` +
        'reinstall without --omit=optional, and keep the package external and installed beside a bundle; ' +
        'on Linux it needs glibc 2.34 or later',
      { cause: error },
    )
  }
}
