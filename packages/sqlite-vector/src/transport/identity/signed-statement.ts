/**
 * Statements signed with a node's key, which others may pass on: whoever has the certificate can check
 * who made one, without a connection to the node.
 *
 * Not trust: a signature shows who says something, not whether to believe it (trust.ts). Signatures are ECDSA over
 * SHA-256, 64 bytes (IEEE P1363), over a context and the statement, so that what was signed for one purpose serves no other.
 */
import { type KeyObject, sign, verify, X509Certificate } from 'node:crypto'
import { certificateFingerprint } from './certificate.ts'

/** Bytes of a signature. */
export const SIGNATURE_BYTES = 64

/** The signature of `statement` for the purpose `context`. */
export function signStatement(key: KeyObject, context: string, statement: Uint8Array): Uint8Array {
  return sign('sha256', bytesSigned(context, statement), { key, dsaEncoding: 'ieee-p1363' })
}

/**
 * The fingerprint of the node that signed `statement`; null when the certificate (DER) cannot be read or
 * its holder did not sign this.
 */
export function statementSigner(
  certificate: Uint8Array,
  context: string,
  statement: Uint8Array,
  signature: Uint8Array,
): string | null {
  try {
    const { publicKey } = new X509Certificate(certificate)
    if (publicKey.asymmetricKeyType !== 'ec' || signature.byteLength !== SIGNATURE_BYTES)
      return null
    const bytes = bytesSigned(context, statement)
    const isHis = verify('sha256', bytes, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)
    return isHis ? certificateFingerprint(certificate) : null
  } catch {
    // What a peer passes on may be any bytes: no certificate, no signer.
    return null
  }
}

function bytesSigned(context: string, statement: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${context}\0`), statement])
}
