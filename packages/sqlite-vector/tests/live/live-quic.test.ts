/**
 * Shards kept in sync over real QUIC on loopback.
 */
import { liveContract } from './live-contract.ts'

liveContract('quic')
