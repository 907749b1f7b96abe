/**
 * The transport's public face: real QUIC, the in-memory twin for tests, identities and trust.
 */
export type * from './types.ts'
export { QuicTransport, type QuicTransportStats } from './quic.ts'
export { ALPN, type QuicTransportOptions, type RefusedAttempt } from './quic-options.ts'
export { MemoryNetwork, type MemoryNetworkOptions } from './memory.ts'
export {
  NodeIdentity,
  createIdentity,
  openIdentity,
  replaceCertificate,
  type IdentityOptions,
} from './identity.ts'
export { TrustList, type TrustEntry } from './trust.ts'
