/**
 * Statements signed with a node's key, which other nodes may pass on: a holder of the certificate
 * can check the signer without a connection to it.
 *
 * Not trust: a signature names the author of a statement, and does not make it true (trust.ts).
 * Signatures are ECDSA over SHA-256, 64 bytes (IEEE P1363), over a context and the statement, so
 * that a signature for one purpose serves no other.
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
 * The fingerprint of the node that signed `statement`; null when the certificate (DER) cannot be
 * read or its holder did not sign this.
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
    // A peer may pass on any bytes: without a certificate there is no signer.
    return null
  }
}

function bytesSigned(context: string, statement: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${context}\0`), statement])
}
