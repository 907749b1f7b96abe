/**
 * The process that gets the records, each run into a new file, and says how long it took: from dialling
 * to the last commit, and for QUIC to the end of `sync()`.
 */
import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { createVectorSync, type VectorSync } from '@agentic-flow/sqlite-vector/sync'

import { serveCalls, type ReceiverCalls, type RunAnswer } from './messages.ts'
import { pullPlain } from './plain.ts'

let node: { db: SQLiteVectorDB; sync: VectorSync } | null = null

serveCalls({
  async prepare({ path, trusted }: ReceiverCalls['prepare']['request']) {
    const db = await createVectorDB({ path })
    const sync = createVectorSync(db, 'receiver')
    sync.trust.add(trusted)
    node = { db, sync }
    return { certificatePem: sync.certificatePem }
  },
  async quic({ address }: ReceiverCalls['quic']['request']): Promise<RunAnswer> {
    if (node === null) throw new Error('prepare comes first')
    const { db, sync } = node
    const started = performance.now()
    const result = await sync.sync('bench', address)
    const ms = performance.now() - started
    const count = db.count('bench')
    if (result.applied !== count) throw new Error(`applied ${result.applied}, counted ${count}`)
    await sync.close()
    db.close()
    return { count, ms, bytes: result.bytesReceived, wireBytes: result.wireBytes }
  },
  async tcp({ path, port }: ReceiverCalls['tcp']['request']): Promise<RunAnswer> {
    const run = await pullPlain(path, port)
    return { ...run, wireBytes: run.bytes }
  },
})
