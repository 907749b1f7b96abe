/**
 * What some nodes can take and others cannot: written as a later release might write it, put aside by who does not
 * know it, and decided in the end, by a discard here or a new write there.
 *
 * Metadata that is no object stands for everything that a release may refuse; it gets into a file past the store's
 * own rules, as such a release would have let it in.
 */
import { DatabaseSync } from 'node:sqlite'

import type { ActorId, Dot, VersionVector } from '../../src/model/types.ts'
import { shardViewOf, Violation } from './history.ts'
import { observeShard } from './inspect.ts'
import type { SimNode } from './node.ts'
import { newRecord, pickId } from './workload.ts'
import type { World } from './world.ts'

const STRANGE = '[]'

/** Rounds of discarding; what is discarded by two at once is a conflict, and in nobody's quarantine. */
const ROUNDS_MAX = 5

/** A node writes what others cannot take. */
export function writeStrangely(world: World): void {
  const { history, random } = world
  const node = random.pick(world.nodes)
  const shards = node.db.shards()
  if (shards.length === 0) return
  const { shardId, dimension } = random.pick(shards)
  const id = pickId(random)
  node.db.upsert(shardId, newRecord(random, id, dimension))
  {
    using raw = new DatabaseSync(node.path)
    const sql = `UPDATE vectors SET metadata = '${STRANGE}'
      WHERE vector_id = ? AND shard = (SELECT shard FROM shard_metadata WHERE shard_id = ?)`
    raw.prepare(sql).run(id, shardId)
  }
  observeShard(history, node, shardId, 'write')
  world.trace(`${node.name}: writes ${id} of ${shardId} strangely`)
}

interface Holder {
  readonly node: SimNode
  readonly shardId: string
}

/** Nodes with something in quarantine. */
export function holders(world: World): readonly Holder[] {
  return world.nodes.flatMap((node) =>
    node.db.replica
      .shardStates()
      .filter(({ quarantineCount }) => quarantineCount > 0)
      .map(({ shardId }) => ({ node, shardId })),
  )
}

/** Somebody tries again, or decides. */
export function tidy(world: World): void {
  const { random } = world
  const { node, shardId } = random.pick(holders(world))
  const entries = node.db.listQuarantine(shardId)
  if (random.chance(0.7)) {
    world.trace(`${node.name}: retries ${entries.length} in quarantine of ${shardId}`)
    const { applied, left } = node.db.retryQuarantine(shardId)
    observeShard(world.history, node, shardId, 'sync')
    if (applied === 0 && left === entries.length) return
    throw new Violation('a retry changes nothing by itself', `${applied} applied, ${left} left`)
  }
  discard(world, { node, shardId }, random.pick(entries).entry)
}

/** Discards everything that is in quarantine anywhere; false when nothing was. */
export function discardAll(world: World): boolean {
  const all = holders(world)
  world.discardRounds += 1
  if (all.length > 0 && world.discardRounds > ROUNDS_MAX) {
    throw new Violation('quarantine can be emptied', `${all[0]?.node.name} has some left`)
  }
  for (const holder of all) {
    // Discarding one takes those of its record along that the decision covers.
    for (;;) {
      const [next] = holder.node.db.listQuarantine(holder.shardId, { limit: 1 })
      if (next === undefined) break
      discard(world, holder, next.entry)
    }
  }
  return all.length > 0
}

/** What a node holds and others cannot take would come back to them under a new name: it is written anew. */
function writePlainly(world: World, { node, shardId }: Holder, id: string): void {
  const { dimension } = node.db.replica.shardState(shardId)
  const held = shardViewOf(node.view, shardId).records.get(id)?.state.siblings ?? []
  if (!held.some(({ value }) => value?.metadata === STRANGE)) return
  node.db.upsert(shardId, newRecord(world.random, id, dimension))
  observeShard(world.history, node, shardId, 'write')
}

function discard(world: World, { node, shardId }: Holder, entry: number): void {
  const before = read(node, shardId)
  const id = before.get(entry)?.id ?? ''
  world.trace(`${node.name}: discards ${id} in quarantine of ${shardId}`)
  world.counts.discarded += 1
  node.db.discardQuarantine(shardId, entry)
  // With it go others of its record that the decision covers: they are decided over as well.
  const left = read(node, shardId)
  for (const [other, { dots, context }] of before) {
    if (left.has(other)) continue
    world.history.overruled(shardViewOf(node.view, shardId), id, dots, context)
  }
  observeShard(world.history, node, shardId, 'write')
  writePlainly(world, { node, shardId }, id)
}

interface Entry {
  readonly id: string
  readonly dots: readonly Dot[]
  readonly context: VersionVector
}

interface StoredChange {
  readonly id: string
  readonly siblings: readonly { readonly dot: Dot }[]
  readonly context: readonly [ActorId, number][] | null
}

/** What lies in quarantine of the shard, by its number. */
function read(node: SimNode, shardId: string): ReadonlyMap<number, Entry> {
  using raw = new DatabaseSync(node.path, { readOnly: true })
  const rows = raw
    .prepare(
      `SELECT quarantine, bytes FROM sync_quarantine
       WHERE shard = (SELECT shard FROM shard_metadata WHERE shard_id = ?)`,
    )
    .all(shardId)
  return new Map(
    rows.map((row) => {
      const text = Buffer.from(row['bytes'] as Uint8Array).toString('utf8')
      const change = JSON.parse(text) as StoredChange
      const dots = change.siblings.map(({ dot }) => dot)
      const context = new Map(change.context ?? [])
      return [Number(row['quarantine']), { id: change.id, dots, context }]
    }),
  )
}
