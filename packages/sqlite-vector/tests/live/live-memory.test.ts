/**
 * Shards kept in sync over the memory network.
 */
import { liveContract } from './live-contract.ts'

liveContract('memory')
