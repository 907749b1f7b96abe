/**
 * Damage done to files at rest, behind the store's back: rows that are gone, or as they were before their last
 * write, and sums that are not those of the rows. Every record stays whole on one node at least.
 *
 * What is found is whatever changes the names of writes; a payload that was altered under its name is not, as
 * digests are sums over names.
 */
import { DatabaseSync } from 'node:sqlite'

import { shardViewOf } from './history.ts'
import type { SimNode } from './node.ts'
import type { World } from './world.ts'
import { type ShardInfo } from '../../src/model/records.ts'
import { textTable } from '../../src/store/file/texts.ts'

const RECORDS_MAX = 4

/** Rows that were damaged. */
export interface Damage {
  lost: number
  older: number
}

/** Damages some records of some nodes. */
export async function damageRows(world: World): Promise<Damage> {
  const damage = { lost: 0, older: 0 }
  for (const shard of world.shards) {
    const [keeper, ...victims] = world.random.shuffled(world.nodes)
    if (keeper === undefined) continue
    for (const node of victims) {
      if (world.random.chance(0.4)) continue
      await damageNode(world, node, shard, damage)
    }
  }
  return damage
}

async function damageNode(
  world: World,
  node: SimNode,
  { shardId }: ShardInfo,
  damage: Damage,
): Promise<void> {
  const { random } = world
  {
    using raw = new DatabaseSync(node.path)
    // Also where the sum is wrong and no row is.
    if (random.chance(0.3)) {
      raw
        .prepare('UPDATE shard_metadata SET fingerprint = ? WHERE shard_id = ?')
        .run(random.bytes(8), shardId)
      world.trace(`${node.name}: the digest of ${shardId} is damaged`)
    }
    const single = [...shardViewOf(node.view, shardId).records]
      .filter(([, { siblings }]) => siblings.length === 1 && siblings[0]?.deleted === false)
      .map(([id]) => id)
    for (const id of random.shuffled(single).slice(0, random.between(1, RECORDS_MAX))) {
      const what = damageRecord(raw, shardId, id, random.chance(0.3))
      world.trace(`${node.name}: ${id} of ${shardId} is ${what}`)
      damage[what] += 1
    }
  }
  // What is in memory knows of none of it.
  await node.restart()
  node.db.recount(shardId)
}

function damageRecord(
  raw: DatabaseSync,
  shardId: string,
  id: string,
  older: boolean,
): keyof Damage {
  const row = raw
    .prepare(
      `SELECT record, document, (v.shard << 44) | v.change_id AS position, counter FROM vectors v
       JOIN vector_changelog USING (record) WHERE vector_id = ?
       AND v.shard = (SELECT shard FROM shard_metadata WHERE shard_id = ?)`,
    )
    .get(id, shardId) as {
    record: number
    document: string | null
    position: number
    counter: number
  }
  const { record, document, position, counter } = row
  if (older && counter > 1) {
    raw
      .prepare('UPDATE vector_changelog SET counter = counter - 1 WHERE position = ?')
      .run(position)
    return 'older'
  }
  if (document !== null) {
    const shard = raw.prepare('SELECT shard FROM vectors WHERE record = ?').get(record)?.['shard']
    raw.prepare(`DELETE FROM ${textTable(Number(shard))} WHERE rowid = ?`).run(record)
  }
  raw.prepare('DELETE FROM vectors WHERE record = ?').run(record)
  raw.prepare('DELETE FROM embeddings WHERE record = ?').run(record)
  raw.prepare('DELETE FROM vector_changelog WHERE position = ?').run(position)
  return 'lost'
}
