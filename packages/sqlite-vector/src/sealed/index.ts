/**
 * Sealed shards: records that replicate through nodes that cannot read them.
 */
export {
  openSealedShard,
  SealedShard,
  type Resealed,
  type SealedShardOptions,
} from './sealed-shard.ts'
export { ShardKeys } from './shard-keys.ts'
export type { Unopened } from './opened-shard.ts'
