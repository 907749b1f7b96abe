/**
 * The transport's public face: real QUIC, the in-memory twin for tests, identities and trust.
 */
export type * from './types.ts'
export { QuicTransport } from './quic/transport.ts'
export type { QuicConnection, QuicConnectionStats } from './quic/connection.ts'
export type { IncomingMessage } from './quic/messages.ts'
export type { QuicTransportStats } from './quic/tally.ts'
export {
  ALPN,
  type IdentityChange,
  type QuicTransportOptions,
  type RefusedAttempt,
} from './quic/options.ts'
export { MemoryNetwork, type MemoryNetworkOptions } from './memory/network.ts'
export {
  NodeIdentity,
  createIdentity,
  openIdentity,
  replaceCertificate,
  type IdentityOptions,
} from './identity/identity.ts'
export { ClusterAuthority, type AuthorityOptions, type IssueOptions } from './identity/authority.ts'
export {
  clusterNodes,
  initCluster,
  inviteNode,
  joinCluster,
  revokeNode,
  type InitOptions,
  type InviteOptions,
  type JoinOptions,
} from './cluster/node.ts'
export { readMembership, type ClusterMembership, type ClusterNode } from './cluster/files.ts'
export { TicketStore, type Ticket } from './quic/tickets.ts'
export { TrustList, type TrustEntry, type Verdict } from './identity/trust.ts'
