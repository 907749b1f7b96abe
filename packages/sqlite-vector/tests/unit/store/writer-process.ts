/**
 * A process that writes to a file in batches and prints every id once it is acknowledged. Not a test; see
 * processes.test.ts. Arguments: path, prefix of ids, number of records, records per batch.
 */
import { writeSync } from 'node:fs'

import { createVectorDB } from '../../../src/store/vector-db.ts'
import { record } from './fixture.ts'

const [path = '', prefix = '', count = '0', size = '1'] = process.argv.slice(2)

const db = await createVectorDB({ path, durability: 'normal', busyTimeoutMs: 20_000 })
db.createShard('docs', { dimension: 3 })
for (let start = 0; start < Number(count); start += Number(size)) {
  const batch = Array.from({ length: Number(size) }, (_, index) =>
    record(`${prefix}${start + index}`),
  )
  await db.insertBatch('docs', batch)
  // Synchronously, so that what was acknowledged is out before anything can kill us.
  writeSync(1, batch.map(({ id }) => `${id}\n`).join(''))
}
db.close()
