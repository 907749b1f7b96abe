/**
 * What must be true of all nodes together when everything has been exchanged: equal vectors, equal
 * digests, the same siblings; equal rows and search results wherever the strategy is the same.
 */
import { CHANGES_PER_DELTA_MAX, FRAME_BYTES_MAX } from '../../src/limits.ts'
import { inOneGo } from '../../src/store/file/sliced.ts'
import { decodeDelta } from '../../src/sync/wire/delta-decode.ts'
import { encodeDelta } from '../../src/sync/delta.ts'
import { EMPTY_VECTOR, vectorsEqual } from '../../src/model/version-vector.ts'
import { Violation } from './history.ts'
import type { Audit } from './inspect.ts'
import type { SimNode } from './node.ts'
import type { SimStrategy } from './reference-view.ts'
import { type ShardInfo } from '../../src/model/records.ts'

export interface NodeAtRest {
  readonly node: SimNode
  readonly strategy: SimStrategy
  readonly audit: Audit
}

export function checkRest(shardId: string, nodes: readonly NodeAtRest[]): void {
  const [first, ...others] = nodes
  if (first === undefined) return
  const ours = first.node.db.replica.shardState(shardId)
  for (const other of others) {
    const theirs = other.node.db.replica.shardState(shardId)
    const pair = `${first.node.name} and ${other.node.name}, ${shardId}`
    if (!vectorsEqual(ours.versionVector, theirs.versionVector)) {
      throw new Violation('vectors are equal at rest', pair)
    }
    if (first.audit.siblings !== other.audit.siblings) {
      const details = `${pair}:\n${first.audit.siblings}\n--\n${other.audit.siblings}`
      throw new Violation('equal vectors mean equal records', details)
    }
    if (first.audit.conflicts !== other.audit.conflicts) {
      const details = `${pair}: ${first.audit.conflicts} -- ${other.audit.conflicts}`
      throw new Violation('equal vectors mean equal conflicts', details)
    }
    if (ours.digest !== theirs.digest) {
      throw new Violation('digests are equal at rest', pair)
    }
    if (payloads(first.node, shardId) !== payloads(other.node, shardId)) {
      throw new Violation('what bears one name is the same write everywhere', pair)
    }
    if (first.strategy !== other.strategy) continue
    if (first.audit.rows !== other.audit.rows) {
      throw new Violation(
        'equal strategies show equal rows',
        `${pair}:\n${first.audit.rows}\n--\n${other.audit.rows}`,
      )
    }
    if (found(first.node, shardId) !== found(other.node, shardId)) {
      throw new Violation('equal rows give equal searches', pair)
    }
  }
}

/**
 * Everything that one holds, given to the other once more, changes nothing there. Records that are nothing but deletes
 * are left out, as in digests: one of two deletes may be forgotten here and not there.
 */
export function checkNothingNew(from: SimNode, to: SimNode, shard: ShardInfo): void {
  const { shardId, dimension } = shard
  const read = from.db.replica.readDelta(shardId, {
    after: 0,
    countMax: CHANGES_PER_DELTA_MAX,
    bytesMax: FRAME_BYTES_MAX,
    known: EMPTY_VECTOR,
  })
  const { changes } = decodeDelta(encodeDelta(read, dimension), dimension)
  const counted = changes.filter(({ siblings }) => siblings.some(({ value }) => value !== null))
  const before = to.db.replica.shardState(shardId)
  const source = { peer: from.fingerprint, logId: read.state.logId, cursor: read.through }
  const result = to.db.replica.applyDelta(shardId, counted, source)
  const after = to.db.replica.shardState(shardId)
  if (result.applied === 0 && result.quarantined === 0 && before.head === after.head) return
  throw new Violation(
    'applying twice changes nothing',
    `${to.name} applied ${result.applied} of ${counted.length} changes that it had from ${from.name}`,
  )
}

/** What the node would tell who compares payloads with it. */
function payloads(node: SimNode, shardId: string): string {
  const whole = { from: '', to: null }
  return JSON.stringify(inOneGo(node.db.replica.summarizeRanges(shardId, [whole], true)))
}

/** What a search for a fixed vector gives, distances included. */
function found(node: SimNode, shardId: string): string {
  const { dimension } = node.db.replica.shardState(shardId)
  const query = Float32Array.from({ length: dimension }, (_, index) => index + 1)
  return JSON.stringify(node.db.search(shardId, query, { k: 20 }))
}
