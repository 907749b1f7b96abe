/**
 * Maps the end of a QUIC connection from the engine's numbers to one of our codes.
 *
 * Pure. TLS alerts travel as transport errors 0x100 + alert (RFC 9001 §4.8; alerts RFC 8446 §6).
 */
import type { ErrorCode } from '../../errors.ts'
import type { NativeConnectionError } from './binding.ts'
import type { ConnectionEnd } from '../types.ts'

/** Our codes of CONNECTION_CLOSE, application kind. */
export const CLOSE_CODE = {
  normal: 0,
  refused: 1,
  overLimit: 2,
  duplicate: 3,
  idle: 4,
  peerChanged: 5,
} as const

const CODE_OF_CLOSE: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  [CLOSE_CODE.refused, 'TRANSPORT_REFUSED_BY_PEER'],
  [CLOSE_CODE.overLimit, 'TRANSPORT_LIMIT_EXCEEDED'],
])

const CRYPTO_ERROR_FIRST = 0x100
const CRYPTO_ERROR_LAST = 0x1ff
const ALERT_NO_APPLICATION_PROTOCOL = 120
const ALERT_CERTIFICATE_EXPIRED = 45

/** bad_certificate … certificate_unknown, unknown_ca, access_denied, certificate_required. */
const CERTIFICATE_ALERTS: ReadonlySet<number> = new Set([42, 43, 44, 45, 46, 48, 49, 116])

/** Facts about a connection at its end. */
export interface EndFacts {
  readonly timedOut: boolean
  readonly established: boolean
  readonly idleTimeoutMs: number
  readonly peerError: NativeConnectionError | null
  readonly localError: NativeConnectionError | null
  readonly ownFingerprint: string
  readonly peerFingerprint: string | null
  readonly remoteAddress: string
  /**
   * What is wrong with the time of the peer's certificate, and of ours, by our clock; null when
   * nothing is.
   */
  readonly peerTimeFault: string | null
  readonly ownTimeFault: string | null
}

export function describeEnd(facts: EndFacts): ConnectionEnd {
  if (facts.peerError !== null) return endByPeer(facts, facts.peerError)
  if (facts.localError !== null) return endByEngine(facts, facts.localError)
  if (facts.timedOut && !facts.established) return handshakeTimeout(facts.remoteAddress)
  if (facts.timedOut) {
    const reason = `${facts.remoteAddress} was silent for ${facts.idleTimeoutMs} ms`
    return { by: 'timeout', code: 'TRANSPORT_CLOSED', reason }
  }
  // The engine ends a connection without an error when a stateless reset arrives (RFC 9000 §10.3).
  const reason = `${facts.remoteAddress} does not know this connection any more: it was restarted, or had closed it`
  return { by: 'peer', code: 'TRANSPORT_CLOSED', reason }
}

export function handshakeTimeout(remoteAddress: string): ConnectionEnd {
  const reason = `no handshake with ${remoteAddress} in time`
  return { by: 'timeout', code: 'TRANSPORT_HANDSHAKE_TIMEOUT', reason }
}

export function untrustedPeer(address: string, fingerprint: string | null): string {
  return fingerprint === null
    ? `the peer at ${address} showed no certificate`
    : `the peer at ${address} is not trusted: its certificate has the fingerprint ${fingerprint}`
}

/** The node that completed the handshake is not the one of the session ticket. */
export function peerChanged(address: string, expected: string, found: string): ConnectionEnd {
  const reason =
    `another node answers at ${address}: ${expected} did before, ` +
    `the certificate shown now has the fingerprint ${found}`
  return { by: 'error', code: 'TRANSPORT_PEER_CHANGED', reason }
}

function endByPeer(facts: EndFacts, error: NativeConnectionError): ConnectionEnd {
  const { errorCode, isApp } = error
  const text = Buffer.from(error.reason).toString('utf8')
  if (isApp) {
    const code = CODE_OF_CLOSE.get(errorCode) ?? 'TRANSPORT_CLOSED'
    return { by: 'peer', code, reason: text === '' ? `closed by the peer (${errorCode})` : text }
  }
  const alert = tlsAlert(errorCode)
  if (alert === ALERT_NO_APPLICATION_PROTOCOL) return foreignProtocol(facts, 'peer')
  if (alert !== null && CERTIFICATE_ALERTS.has(alert)) {
    const why = timeReason(alert, facts.ownTimeFault) ?? 'it does not trust us'
    const reason = `the peer at ${facts.remoteAddress} refused us (${why}): our fingerprint is ${facts.ownFingerprint}`
    return { by: 'peer', code: 'TRANSPORT_REFUSED_BY_PEER', reason }
  }
  const reason = `the peer at ${facts.remoteAddress} ended the connection with transport error ${errorCode}`
  return { by: 'peer', code: 'TRANSPORT_CLOSED', reason }
}

/** A peer says only "expired", also of a certificate that is not valid yet by its clock. */
function timeReason(alert: number, ownFault: string | null): string | null {
  if (ownFault !== null) return `our certificate ${ownFault}`
  if (alert !== ALERT_CERTIFICATE_EXPIRED) return null
  return 'by its clock our certificate has expired or is not valid yet; by ours it is valid: compare the clocks'
}

function endByEngine(facts: EndFacts, error: NativeConnectionError): ConnectionEnd {
  const alert = error.isApp ? null : tlsAlert(error.errorCode)
  if (alert === ALERT_NO_APPLICATION_PROTOCOL) return foreignProtocol(facts, 'error')
  if (alert !== null && CERTIFICATE_ALERTS.has(alert)) {
    const fault =
      facts.peerTimeFault ?? (alert === ALERT_CERTIFICATE_EXPIRED ? 'has expired' : null)
    const time = fault === null ? '' : ` (it ${fault})`
    const reason = untrustedPeer(facts.remoteAddress, facts.peerFingerprint) + time
    return { by: 'error', code: 'TRANSPORT_PEER_UNTRUSTED', reason }
  }
  const reason = `the connection with ${facts.remoteAddress} failed with transport error ${error.errorCode}`
  return { by: 'error', code: 'TRANSPORT_CLOSED', reason }
}

function foreignProtocol(facts: EndFacts, by: 'peer' | 'error'): ConnectionEnd {
  const reason = `${facts.remoteAddress} speaks another application protocol`
  return { by, code: 'TRANSPORT_ALPN_MISMATCH', reason }
}

function tlsAlert(errorCode: number): number | null {
  const isAlert = errorCode >= CRYPTO_ERROR_FIRST && errorCode <= CRYPTO_ERROR_LAST
  return isAlert ? errorCode - CRYPTO_ERROR_FIRST : null
}
