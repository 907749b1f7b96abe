/**
 * The sync's public face: keep shards in step with peers.
 */
export { createVectorSync, VectorSync } from './quic-sync.ts'
export type * from './shell/types.ts'
export type * from './types.ts'
