/**
 * Options of `createVectorSync()`: the only place where defaults meet what a caller gave.
 */
import {
  ADDRESS_BYTES_MAX,
  CHANGES_PER_DELTA_MAX,
  COLLECT_INTERVAL_MS,
  REPLICA_RETENTION_DAYS,
} from '../../limits.ts'
import {
  integerIn,
  nameGiven,
  objectGiven,
  oneOf,
  rejectUnknownKeys,
  shown,
} from '../../options.ts'
import { parseAddress } from '../../transport/address.ts'
import type { Transport } from '../../transport/types.ts'
import { CONFLICT_STRATEGIES } from '../../model/strategies.ts'
import { codecs, findCodec } from '../wire/codecs.ts'
import { type Compression, COMPRESSIONS } from '../wire/compression.ts'
import type { Permissions } from '../access/permissions.ts'
import type { SyncEvent, VectorSyncConfig } from '../types.ts'
import type { ConflictStrategy } from '../../store/types.ts'

/** {@link VectorSyncConfig} with nothing optional. */
export interface ResolvedSyncConfig {
  readonly conflictStrategy: ConflictStrategy | null
  readonly batchSize: number
  readonly compression: Compression
  readonly syncIntervalMs: number
  readonly listen: string
  readonly advertise: string | null
  readonly relayDelayMs: number
  readonly collectIntervalMs: number
  readonly replicaRetentionMs: number
  readonly transport: Transport | null
  readonly permissions: Permissions | null
  readonly onEvent: (event: SyncEvent) => void
}

const KEYS = [
  'conflictStrategy',
  'batchSize',
  'compression',
  'syncIntervalMs',
  'listen',
  'advertise',
  'relayDelayMs',
  'collectIntervalMs',
  'replicaRetentionMs',
  'transport',
  'permissions',
  'onEvent',
]

const DAY_MS = 86_400_000
const SYNC_INTERVAL_MS_MIN = 100
const SYNC_INTERVAL_MS_MAX = 86_400_000

/** Applies defaults, then validates. @throws TypeError, RangeError */
export function resolveSyncConfig(given: VectorSyncConfig): ResolvedSyncConfig {
  objectGiven('createVectorSync: config', given)
  rejectUnknownKeys('createVectorSync', given, KEYS)
  const {
    conflictStrategy = null,
    batchSize = 256,
    compression = 'adaptive',
    syncIntervalMs = 60_000,
    listen = '127.0.0.1:0',
    advertise = null,
    relayDelayMs = 100,
    collectIntervalMs = COLLECT_INTERVAL_MS,
    replicaRetentionMs = REPLICA_RETENTION_DAYS * DAY_MS,
    transport = null,
    permissions = null,
    onEvent = ignore,
  } = given
  if (conflictStrategy !== null && typeof conflictStrategy !== 'function') {
    oneOf('conflictStrategy', conflictStrategy, CONFLICT_STRATEGIES)
  }
  integerIn('batchSize', batchSize, 1, CHANGES_PER_DELTA_MAX)
  const compressionName = compressionGiven(compression)
  integerIn('syncIntervalMs', syncIntervalMs, SYNC_INTERVAL_MS_MIN, SYNC_INTERVAL_MS_MAX)
  integerIn('relayDelayMs', relayDelayMs, 0, 60_000)
  integerIn('collectIntervalMs', collectIntervalMs, 0, DAY_MS)
  integerIn('replicaRetentionMs', replicaRetentionMs, 0, 3_650 * DAY_MS)
  nameGiven('listen', listen, 1_024)
  if (advertise !== null) {
    nameGiven('advertise', advertise, ADDRESS_BYTES_MAX)
    parseAddress(advertise)
  }
  if (transport !== null) objectGiven('transport', transport)
  if (permissions !== null) objectGiven('permissions', permissions)
  if (typeof onEvent !== 'function') {
    throw new TypeError(`onEvent must be a function, got ${shown(onEvent)}`)
  }
  return Object.freeze({
    conflictStrategy,
    batchSize,
    compression: compressionName,
    syncIntervalMs,
    listen,
    advertise,
    relayDelayMs,
    collectIntervalMs,
    replicaRetentionMs,
    transport,
    permissions,
    onEvent,
  })
}

/** True and false are short for the default and for none. */
function compressionGiven(given: boolean | Compression): Compression {
  if (given === true) return 'adaptive'
  if (given === false) return 'none'
  oneOf('compression', given, COMPRESSIONS)
  if (given === 'lz4' && findCodec('lz4') === null) {
    const there = codecs().map(({ name }) => name)
    throw new TypeError(
      `compression 'lz4' needs the package lz4-napi, which is not installed for this system; there is: ${there.join(', ')}`,
    )
  }
  return given
}

function ignore(_event: SyncEvent): void {
  // No listener was given.
}
