/**
 * The engine's configuration: TLS identity, trust anchors, windows, timers, congestion control.
 *
 * One is built per trust list state and serves both directions: a node presents the same
 * certificate and demands one from the other side whether it dials or listens, so no stranger gets
 * past TLS.
 *
 * Reference: transport parameters RFC 9000 §18.2.
 */
import {
  CONNECTION_IDS_MAX,
  RECEIVE_WINDOW_CONNECTION_BYTES,
  RECEIVE_WINDOW_CONNECTION_BYTES_MAX,
  RECEIVE_WINDOW_STREAM_BYTES,
  RECEIVE_WINDOW_STREAM_BYTES_MAX,
  UNIDIRECTIONAL_STREAMS_MAX,
} from '../../limits.ts'
import type { NodeIdentity } from '../identity/identity.ts'
import type { NativeConfig, QuicBinding } from './binding.ts'
import type { ResolvedQuicOptions } from './options.ts'

/** The engine's default list lacks Ed25519, which other implementations' certificates may use. */
const SIGNATURE_ALGORITHMS =
  'ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ed25519:rsa_pss_rsae_sha256'

/** The largest datagram UDP carries: whatever a peer sends is read whole. */
const RECEIVED_DATAGRAM_BYTES_MAX = 65_527

export interface QuicConfigInit {
  readonly options: ResolvedQuicOptions
  readonly anchorsPem: string
  /** Seals the session tickets that we hand out. */
  readonly sealingKey: Uint8Array
  /** Largest datagram sent. */
  readonly datagramBytes: number
}

export function quicConfig(
  binding: QuicBinding,
  identity: NodeIdentity,
  { options, anchorsPem, sealingKey, datagramBytes }: QuicConfigInit,
): NativeConfig {
  const config = binding.Config.withBoringSslCtx(
    true,
    false,
    bytes(anchorsPem),
    [bytes(identity.privateKeyPem())],
    [bytes(identity.certificatePem)],
    SIGNATURE_ALGORITHMS,
  )
  config.setApplicationProtos([options.alpn])
  config.setTicketKey(sealingKey)
  if (options.enable0Rtt) config.enableEarlyData()
  if (options.keyLogFile !== null) config.logKeys()
  config.setMaxIdleTimeout(options.maxIdleTimeoutMs)
  config.setMaxRecvUdpPayloadSize(RECEIVED_DATAGRAM_BYTES_MAX)
  config.setMaxSendUdpPayloadSize(datagramBytes)
  config.setInitialMaxStreamDataBidiLocal(RECEIVE_WINDOW_STREAM_BYTES)
  config.setInitialMaxStreamDataBidiRemote(RECEIVE_WINDOW_STREAM_BYTES)
  config.setInitialMaxStreamDataUni(RECEIVE_WINDOW_STREAM_BYTES)
  config.setInitialMaxData(RECEIVE_WINDOW_CONNECTION_BYTES)
  config.setMaxStreamWindow(RECEIVE_WINDOW_STREAM_BYTES_MAX)
  config.setMaxConnectionWindow(RECEIVE_WINDOW_CONNECTION_BYTES_MAX)
  config.setInitialMaxStreamsBidi(options.maxConcurrentStreams)
  config.setInitialMaxStreamsUni(UNIDIRECTIONAL_STREAMS_MAX)
  config.setActiveConnectionIdLimit(CONNECTION_IDS_MAX)
  config.setCcAlgorithmName(options.congestionControl)
  // The bindings do not hand out release times; quic/pacer.ts spreads bursts instead.
  config.enablePacing(false)
  config.grease(true)
  return config
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'utf8'))
}
