/**
 * A process that writes to a database: inserts the records of each line it is given, and answers
 * when they are committed. Not a test; started by other-process.test.ts.
 */
import { createInterface } from 'node:readline'
import { createVectorDB } from '../../../../src/store/vector-db.ts'

const [path = ''] = process.argv.slice(2)
const db = await createVectorDB({ path, durability: 'normal' })
process.stdout.write('open\n')
for await (const line of createInterface({ input: process.stdin })) {
  const { id, embedding, remove } = JSON.parse(line) as {
    id: string
    embedding: number[]
    remove: boolean
  }
  if (remove) db.delete('s', id)
  else db.upsert('s', { id, embedding })
  process.stdout.write(`${id}\n`)
}
