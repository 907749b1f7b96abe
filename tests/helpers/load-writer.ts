/**
 * A process that writes and syncs until it is killed, for tests/crash.test.ts. Prints a line for each record whose
 * `insert()`, update or delete has returned, before it goes on.
 *
 * Arguments: path of the database, node id, shard id, address of the peer, number of the first record.
 */
import { writeSync } from 'node:fs'

import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createVectorSync } from '@agentic-flow/sqlite-vector/sync'

import { testRecord } from './records.ts'

const [path = '', nodeId = '', shardId = '', address = '', first = '0'] = process.argv.slice(2)

const db = await createVectorDB({ path })
const sync = createVectorSync(db, nodeId)

/** Unbuffered: what was printed was acknowledged, whatever happens next. */
function say(line: string): void {
  writeSync(1, `${line}\n`)
}

async function write(): Promise<never> {
  for (let index = Number(first); ; index += 1) {
    db.insert(shardId, testRecord(index, 16))
    say(`insert ${index}`)
    if (index % 5 === 4 && index - 2 >= Number(first)) {
      db.update(shardId, `record-${index - 2}`, { metadata: { updated: index } })
      say(`update ${index - 2} ${index}`)
    }
    if (index % 7 === 6 && index - 3 >= Number(first)) {
      db.delete(shardId, `record-${index - 3}`)
      say(`delete ${index - 3}`)
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function exchange(): Promise<never> {
  for (;;) {
    await sync.sync(shardId, address)
    say('synced')
  }
}

say('ready')
await Promise.all([write(), exchange()])
