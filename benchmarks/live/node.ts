/**
 * A node as a process of its own: serves requests over IPC. The other half of node-handle.ts; it uses
 * the public API only.
 */
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises'

import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { LIST_LIMIT_MAX } from '@agentic-flow/sqlite-vector/limits'
import { createVectorSync, type SyncEvent, type VectorSync } from '@agentic-flow/sqlite-vector/sync'
import { openIdentity, QuicTransport, TrustList } from '@agentic-flow/sqlite-vector/transport'

import type { LiveRequest, LiveRequests } from './messages.ts'
import { nearRecord, queryVector, randomFrom, randomVector } from './records.ts'

interface Open {
  readonly db: SQLiteVectorDB
  readonly sync: VectorSync
  readonly trust: TrustList
}

let open: Open | null = null
const found = new Map<string, bigint>()
let stopWatching: (() => void) | null = null
/** What came in batches since the start, and how many changes of it were news. */
const pulled = { received: 0, applied: 0 }

function node(): Open {
  if (open === null) throw new Error('open comes first')
  return open
}

function onEvent(event: SyncEvent): void {
  if (event.type !== 'applied') return
  pulled.received += event.received
  pulled.applied += event.applied
}

type Handlers = {
  [Name in keyof LiveRequests]: (
    request: LiveRequests[Name]['request'],
  ) => LiveRequests[Name]['answer'] | Promise<LiveRequests[Name]['answer']>
}

const handlers: Handlers = {
  async open({ path, nodeId, config, idleTimeoutMs }) {
    const db = await createVectorDB({ path })
    const folder = `${path}-node`
    const identity = openIdentity(folder, { nodeId })
    const trust = TrustList.open(folder)
    const transport = await QuicTransport.create({
      identity,
      trust,
      maxConcurrentStreams: 4_096,
      ...(idleTimeoutMs === undefined
        ? {}
        : { maxIdleTimeoutMs: idleTimeoutMs, keepAliveMs: Math.floor(idleTimeoutMs / 4) }),
    })
    open = { db, sync: createVectorSync(db, nodeId, { ...config, transport, onEvent }), trust }
    return { certificatePem: identity.certificatePem, fingerprint: identity.fingerprint }
  },
  trust({ nodeId, certificatePem }) {
    node().trust.add(certificatePem, nodeId)
    return null
  },
  async listen({ address }) {
    return { address: await node().sync.listen(address) }
  },
  createShards({ shardIds, dimension }) {
    for (const shardId of shardIds) node().db.createShard(shardId, { dimension })
    return null
  },
  autoSync({ shardId, address }) {
    node().sync.startAutoSync(shardId, address)
    return null
  },
  stopAutoSyncs: () => node().sync.stopAllAutoSyncs(),
  autoSyncs: () => node().sync.getSession().autoSyncs,
  async writeSteadily({ shardId, dimension, from, count, perSecond }) {
    const { db } = node()
    const committed: bigint[] = []
    const startedMs = performance.now()
    for (let index = 0; index < count; index += 1) {
      const dueMs = startedMs + (index * 1_000) / perSecond
      const aheadMs = dueMs - performance.now()
      if (aheadMs > 0.5) await wait(aheadMs)
      const record = nearRecord(from + index, dimension)
      db.upsert(shardId, record)
      committed.push(process.hrtime.bigint())
      // A program that writes goes back to its event loop, also when it is behind its time.
      await nextTurn()
    }
    return committed
  },
  async flood({ shardId, dimension, batch, durationMs, idPrefix, idCount, perSecond }) {
    const { db } = node()
    const random = randomFrom(7)
    const vectors = Array.from({ length: 64 }, () => randomVector(random, dimension))
    const startMs = performance.now()
    const endMs = startMs + durationMs
    let written = 0
    while (performance.now() < endMs) {
      const records = Array.from({ length: batch }, (_, index) => ({
        id: `${idPrefix}${(written + index) % idCount}`,
        embedding: vectors[(written + index) % vectors.length] as Float32Array,
      }))
      written += await db.insertBatch(shardId, records, { mode: 'upsert' })
      // At the rate that is offered; when behind, a turn of the loop after each batch: the network needs it.
      const dueMs = startMs + (written / perSecond) * 1_000
      await wait(Math.max(0, dueMs - performance.now()))
    }
    return { written }
  },
  watchSearch({ shardId, dimension, k }) {
    const { db } = node()
    const query = queryVector(dimension)
    found.clear()
    // What is there already is no news.
    for (const { id } of db.list(shardId, { limit: LIST_LIMIT_MAX }).records) found.set(id, 0n)
    stopWatching?.()
    stopWatching = db.replica.onCommit((notice) => {
      if (notice.shardId !== shardId) return
      // More than k at once: the ones behind them are searched for, too, and count from then on.
      for (let wanted = k; ; wanted *= 4) {
        const results = db.search(shardId, query, { k: wanted })
        const atNs = process.hrtime.bigint()
        const farthest = results.at(-1)
        const isFull =
          results.length === wanted && farthest !== undefined && !found.has(farthest.id)
        for (const { id } of results) if (!found.has(id)) found.set(id, atNs)
        if (!isFull) break
      }
    })
    return null
  },
  found: () => [...found],
  async randomWrites({ shardId, dimension, count, ids, seed }) {
    const { db } = node()
    const random = randomFrom(seed)
    let written = 0
    while (written < count) {
      const id = `record-${Math.floor(random() * ids)}`
      const roll = random()
      const metadata = { by: seed, written }
      if (roll < 0.2) {
        if (!db.delete(shardId, id)) continue
      } else if (roll < 0.4 && db.get(shardId, id) !== null) {
        db.update(shardId, id, { metadata })
      } else {
        db.upsert(shardId, { id, embedding: randomVector(random, dimension), metadata })
      }
      written += 1
      await wait(1 + random() * 4)
    }
    return { written }
  },
  state({ shardId }) {
    const { db } = node()
    if (!db.shards().some((shard) => shard.shardId === shardId)) return null
    const { recordCount, digest, settled, versionVector } = db.replica.shardState(shardId)
    return { records: recordCount, digest, settled, vector: [...versionVector] }
  },
  usage() {
    const memory = process.memoryUsage()
    const { wire, connections: open_, sessionsActive } = node().sync.getSession()
    return {
      rssBytes: memory.rss,
      heapBytes: memory.heapUsed + memory.external,
      wireBytesSent: wire.bytesSent,
      wireBytesReceived: wire.bytesReceived,
      connections: open_.length,
      sessions: sessionsActive,
      ...pulled,
    }
  },
  ping: ({ address }) => node().sync.ping(address),
  collect() {
    globalThis.gc?.()
    return null
  },
  async close() {
    const { db, sync } = node()
    await sync.close()
    db.close()
    return null
  },
}

async function answer({ number, name, request }: LiveRequest): Promise<void> {
  try {
    process.send?.({ number, answer: await handlers[name](request as never) })
    if (name === 'close') process.disconnect()
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    process.send?.({ number, error: text })
  }
}

process.on('message', (message) => void answer(message as LiveRequest))
process.once('disconnect', () => process.exit())
