/**
 * A sender's reads from its store, encoded as frames: batches of the feed, pushes of our own
 * writes, whole records.
 *
 * Not here: when, and what becomes of them (session/sender.ts decides, driver.ts carries out). Each
 * gives as much as fits a frame, at least one record.
 */
import {
  CONTEXT_ENTRIES_PER_DELTA_MAX,
  DELTA_BYTES_TARGET,
  FRAME_BYTES_MAX,
  VERSION_VECTOR_ACTORS_MAX,
} from '../../limits.ts'
import { encodeDelta } from '../delta.ts'
import type { BatchRead, OwnRead, SessionEffect } from './types.ts'
import type { Change, VersionVector } from '../../model/types.ts'
import { type DeltaQuery, type DeltaRead } from '../../store/feed/types.ts'
import { type ReplicaStore } from '../../store/replica/types.ts'

type Reader = Pick<ReplicaStore, 'readDelta' | 'readRecords'>
type ReadEffect = Extract<SessionEffect, { readonly type: 'read' }>
type ReadOwnEffect = Extract<SessionEffect, { readonly type: 'readOwn' }>

/** Whole records as one RECORDS frame; fewer when they would not fit. */
export function encodeRecords(store: Reader, shardId: string, ids: readonly string[]): Uint8Array {
  let bytesMax = DELTA_BYTES_TARGET
  for (;;) {
    const { changes, dimension } = store.readRecords(shardId, ids, bytesMax)
    const bytes = encodeDelta({ through: 0, changes }, dimension, 'records')
    if (fitsFrame(changes, bytes)) return bytes
    bytesMax = Math.floor(bytesMax / 2)
  }
}

/** The next batch of the feed, encoded. */
export function readBatch(
  store: Reader,
  shardId: string,
  { after, known }: Pick<ReadEffect, 'after' | 'known'>,
  batchSize: number,
): BatchRead {
  const query = queryFor(after, known, batchSize)
  const [delta, bytes] = readEncoded(store, shardId, query, null)
  return toBatch(delta, bytes)
}

/** Writes of our own, encoded as a batch that leaves the cursor where it is. */
export function readOwnBatch(
  store: Reader,
  shardId: string,
  { after, known, actor, above, through }: Omit<ReadOwnEffect, 'type'>,
  batchSize: number,
): OwnRead {
  const query = { ...queryFor(after, known, batchSize), only: { actor, counter: above } }
  const [delta, bytes] = readEncoded(store, shardId, query, through)
  const { state } = delta
  return {
    bytes,
    changeCount: delta.changes.length,
    through: delta.through,
    atHead: delta.atHead,
    logId: state.logId,
    counter: state.versionVector.get(actor) ?? 0,
    forgotten: state.gcFloor.get(actor) ?? 0,
  }
}

function queryFor(after: number, known: VersionVector, countMax: number): DeltaQuery {
  return { after, countMax, bytesMax: DELTA_BYTES_TARGET, known, expose: true }
}

/** Reads and encodes; fewer records when they would not fit a frame. */
function readEncoded(
  store: Reader,
  shardId: string,
  query: DeltaQuery,
  through: number | null,
): readonly [DeltaRead, Uint8Array | null] {
  let { countMax } = query
  for (;;) {
    const delta = store.readDelta(shardId, { ...query, countMax })
    if (delta.changes.length === 0) return [delta, null]
    const { changes, state } = delta
    const bytes = encodeDelta({ changes, through: through ?? delta.through }, state.dimension)
    if (fitsFrame(changes, bytes)) return [delta, bytes]
    countMax = Math.max(1, Math.floor(changes.length / 2))
  }
}

/**
 * True when a reader takes the frame: its bytes, its contexts, and the actors that they name. One
 * change always fits.
 */
function fitsFrame(changes: readonly Change[], bytes: Uint8Array): boolean {
  if (bytes.byteLength > FRAME_BYTES_MAX) return false
  if (changes.length <= 1) return true
  const entries = changes.reduce((sum, { context }) => sum + (context?.size ?? 0), 0)
  if (entries > CONTEXT_ENTRIES_PER_DELTA_MAX) return false
  // Only contexts can name so many: siblings name two actors each.
  if (entries <= VERSION_VECTOR_ACTORS_MAX) return true
  const actors = new Set(changes.flatMap(({ context }) => [...(context?.keys() ?? [])]))
  return actors.size <= VERSION_VECTOR_ACTORS_MAX
}

function toBatch(
  { changes, through, atHead, state }: DeltaRead,
  bytes: Uint8Array | null,
): BatchRead {
  return { bytes, changeCount: changes.length, through, atHead, state }
}
