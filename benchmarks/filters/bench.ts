/**
 * Reads and writes by an indexed filter, against counting by the same filter plus the same rows
 * written one by one; and text searches of a small shard beside other shards. See README.md.
 */
import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'

import { bar, median, type Bar, type BenchOptions } from '../bar.ts'

export const title = 'filters: declared indexes and text statistics, by shard'

const HITS = 100
const DIMENSION = 8

export async function bars(options: BenchOptions): Promise<readonly Bar[]> {
  const records = options.quick ? 10_000 : 100_000
  const rounds = options.quick ? 3 : 15
  return [...(await filterBars(records, rounds, options)), ...(await textBars(rounds, options))]
}

async function filterBars(
  records: number,
  rounds: number,
  { log }: BenchOptions,
): Promise<readonly Bar[]> {
  using db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', { dimension: DIMENSION, metric: 'l2' })
  log(`${records} records, ${HITS} of which pass`)
  await fill(db, 's', records)
  db.createMetadataIndex('group')
  const ratios: Record<'update' | 'delete' | 'query' | 'list', number[]> = {
    update: [],
    delete: [],
    query: [],
    list: [],
  }
  const counts: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const filter = { group: round }
    const ids = db.list('s', { filter, limit: HITS }).records.map(({ id }) => id)
    if (ids.length !== HITS) throw new Error(`${ids.length} records pass, not ${HITS}`)
    const count = timed(() => db.count('s', filter))
    counts.push(count)
    const update = { metadata: { round } }
    const each = (fn: (id: string) => void): number =>
      timed(() => db.transaction(() => ids.forEach((id) => fn(id))))
    const updates = each((id) => db.update('s', id, update))
    ratios.update.push(timed(() => db.update('s', { filter }, update)) / (count + updates))
    const gets = timed(() => ids.forEach((id) => db.get('s', id)))
    const queried = timed(() => db.query('s').where(filter).limit(HITS).all())
    ratios.query.push(queried / (count + gets))
    ratios.list.push(timed(() => db.list('s', { filter, limit: HITS })) / (count + gets))
    // The records of another group, as a delete by id leaves none for the filter.
    const others = db.list('s', { filter: { group: rounds + round }, limit: HITS }).records
    const deletes = timed(() =>
      db.transaction(() => {
        for (const { id } of others) db.delete('s', id)
      }),
    )
    ratios.delete.push(timed(() => db.delete('s', { filter })) / (count + deletes))
  }
  return [
    bar(`count ${HITS} of ${records} by an indexed filter`, median(counts), 'none', 'ms'),
    ...Object.entries(ratios).map(([name, values]) =>
      bar(`${name} by the filter / count and its rows alone`, median(values), '<= 2', 'ratio'),
    ),
  ]
}

/** A text search in a shard of 10 records, beside 1, 10 and 100 shards of 1,500. */
async function textBars(rounds: number, { quick, log }: BenchOptions): Promise<readonly Bar[]> {
  using db = await createVectorDB({ path: ':memory:' })
  db.createShard('small', { dimension: DIMENSION, metric: 'l2' })
  await fill(db, 'small', 10)
  const medians: number[] = []
  let shards = 0
  for (const others of quick ? [1, 10] : [1, 10, 100]) {
    log(`${others} other shards`)
    for (; shards < others; shards += 1) {
      db.createShard(`other ${shards}`, { dimension: DIMENSION, metric: 'l2' })
      await fill(db, `other ${shards}`, 1_500)
    }
    const times = Array.from({ length: 5 * rounds }, () =>
      timed(() => db.searchText('small', 'words about number 3')),
    )
    medians.push(median(times))
  }
  const [first = Number.NaN] = medians
  return medians.map((value, index) => {
    const name = `searchText beside ${[1, 10, 100][index]} other shards`
    return index === 0
      ? bar(name, value, 'none', 'ms')
      : bar(`${name} / beside 1`, value / first, '<= 1.5', 'ratio')
  })
}

async function fill(db: SQLiteVectorDB, shard: string, records: number): Promise<void> {
  for (let from = 0; from < records; from += 10_000) {
    const length = Math.min(10_000, records - from)
    const batch = Array.from({ length }, (_, i) => ({
      id: `record ${from + i}`,
      embedding: Array.from({ length: DIMENSION }, (__, at) => (from + i) % (at + 7)),
      metadata: { group: Math.floor((from + i) / HITS) },
      text: `some words about the number ${from + i}`,
    }))
    await db.insertBatch(shard, batch)
  }
}

function timed(fn: () => unknown): number {
  const started = performance.now()
  fn()
  return performance.now() - started
}
