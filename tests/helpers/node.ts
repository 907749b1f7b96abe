/**
 * A node as a process of its own, for tests that kill it: serves requests over IPC, and says what it
 * acknowledged as it goes.
 *
 * The other half of node-handle.ts. It uses the public API only.
 */
import { createVectorDB, type RecordInput, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { createVectorSync, type VectorSync } from '@agentic-flow/sqlite-vector/sync'
import { openIdentity, QuicTransport, TrustList } from '@agentic-flow/sqlite-vector/transport'
import type { NodeEvent, NodeRequest, NodeRequests } from './node-messages.ts'
import { testRecord } from './records.ts'

export const NODE_PATH: string = import.meta.filename

interface Open {
  readonly db: SQLiteVectorDB
  readonly sync: VectorSync
  readonly trust: TrustList
}

let open: Open | null = null
/** Changes that the peer of the newest session acknowledged as committed. */
let acked = 0

function node(): Open {
  if (open === null) throw new Error('open comes first')
  return open
}

function say(event: NodeEvent): void {
  if (process.connected) process.send?.(event)
}

type Handlers = {
  [Name in keyof NodeRequests]: (
    request: NodeRequests[Name]['request'],
  ) => NodeRequests[Name]['answer'] | Promise<NodeRequests[Name]['answer']>
}

const handlers: Handlers = {
  async open({ path, nodeId, shardId }) {
    const db = await createVectorDB({ path })
    const folder = `${path}-node`
    const identity = openIdentity(folder, { nodeId })
    const trust = TrustList.open(folder)
    // A killed peer is noticed by its silence alone; the default of ten seconds would be ten trials' wait.
    const transport = await QuicTransport.create({
      identity,
      trust,
      maxIdleTimeoutMs: 1_500,
      keepAliveMs: 300,
    })
    const sync = createVectorSync(db, nodeId, {
      transport,
      onEvent(event) {
        if (event.type === 'progress' && event.direction === 'push') acked = event.changes
      },
    })
    open = { db, sync, trust }
    db.replica.onCommit((notice) => {
      if (notice.shardId !== shardId) return
      // Said after the commit: whatever was said must be there after a kill.
      say({ type: 'committed', records: db.replica.shardState(shardId).recordCount })
    })
    return { fingerprint: identity.fingerprint, certificatePem: identity.certificatePem }
  },
  trust({ nodeId, certificatePem }) {
    node().trust.add(certificatePem, nodeId)
    return null
  },
  async listen() {
    return { address: await node().sync.listen('127.0.0.1:0') }
  },
  async fill({ shardId, dimension, count, metric }) {
    const { db } = node()
    db.createShard(shardId, { dimension, metric })
    const records: RecordInput[] = []
    for (let index = 0; index < count; index += 1) records.push(testRecord(index, dimension))
    await db.insertBatch(shardId, records)
    return null
  },
  write({ shardId, dimension, index }) {
    // Returns once committed: the answer is the acknowledgement.
    node().db.insert(shardId, testRecord(index, dimension))
    return null
  },
  async sync({ shardId, address }) {
    const { applied, sent, received } = await node().sync.sync(shardId, address)
    return { applied, sent, received }
  },
  state({ shardId }) {
    const { db } = node()
    if (!db.shards().some((shard) => shard.shardId === shardId)) return null
    const { recordCount, digest } = db.replica.shardState(shardId)
    return { records: recordCount, digest }
  },
  acked() {
    return acked
  },
  missing({ shardId, ids }) {
    const { db } = node()
    return ids.filter((id) => db.get(shardId, id) === null)
  },
  async close() {
    const { db, sync } = node()
    await sync.close()
    db.close()
    return null
  },
}

async function answer({ number, name, request }: NodeRequest): Promise<void> {
  try {
    say({ type: 'answer', number, answer: await handlers[name](request as never) })
    if (name === 'close') process.disconnect()
  } catch (error) {
    say({
      type: 'failure',
      number,
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
  }
}

if (process.argv[1] === NODE_PATH) {
  process.on('message', (message) => void answer(message as NodeRequest))
  process.once('disconnect', () => process.exit())
}
