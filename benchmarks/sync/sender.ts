/**
 * The process that has the records: in a shard that it serves over QUIC, and as plain rows that it
 * serves over TCP.
 */
import { join } from 'node:path'

import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createVectorSync, type VectorSync } from '@agentic-flow/sqlite-vector/sync'

import { serveCalls, type SenderCalls } from './messages.ts'
import { fillPlain, servePlain } from './plain.ts'
import { DIMENSION, makeRecords } from './records.ts'

let sync: VectorSync | null = null

serveCalls({
  async open({ folder, count, batchSize }: SenderCalls['open']['request']) {
    const records = makeRecords(count)
    const db = await createVectorDB({ path: join(folder, 'sender.db') })
    db.createShard('bench', { dimension: DIMENSION })
    await db.insertBatch('bench', records)
    sync = createVectorSync(db, 'sender', { batchSize })
    const plainPath = join(folder, 'sender-plain.db')
    fillPlain(plainPath, records)
    return {
      certificatePem: sync.certificatePem,
      address: await sync.listen('127.0.0.1:0'),
      port: await servePlain(plainPath, batchSize),
    }
  },
  trust({ certificatePem }: SenderCalls['trust']['request']) {
    sync?.trust.add(certificatePem)
    return null
  },
})
