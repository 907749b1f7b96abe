/**
 * Peers, sync, verify, conflicts and quarantine through HTTP, between two nodes over real UDP.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EventReader } from '../helpers/event-reader.ts'
import { type Answered, READER } from '../helpers/node.ts'
import { pair, type Pair } from '../helpers/pair.ts'

let nodes: Pair

beforeAll(async () => {
  nodes = await pair()
})

afterAll(() => nodes?.[Symbol.asyncDispose]())

/** Both nodes sync the shard once; b dials a. The peer is registered for no shard, so that nothing syncs by itself. */
async function syncOnce(shard: string): Promise<Answered> {
  const { a, b } = nodes
  await b.node.coordinator.sync.sync(shard, a.node.syncAddress ?? '')
  return b.api.get(`/v1/shards/${shard}`)
}

/** A shard on both nodes whose record `x` both have written apart. */
async function conflicted(shard: string): Promise<string> {
  const path = `/v1/shards/${shard}`
  for (const [index, { api }] of [nodes.a, nodes.b].entries()) {
    await api.put(path, { dimension: 2, metric: 'l2' })
    await api.post(`${path}/records`, {
      records: [{ id: 'x', embedding: [index, 1], metadata: { by: index } }],
    })
  }
  const synced = await syncOnce(shard)
  expect(synced.body).toMatchObject({ conflictCount: 1 })
  return path
}

describe('peers', () => {
  test('a node says who it is', async () => {
    const { body } = await nodes.a.api.as(READER).get('/v1/node')

    expect(body).toMatchObject({
      nodeId: 'a',
      fingerprint: nodes.a.node.fingerprint,
      listening: nodes.a.node.syncAddress,
      stats: { path: nodes.a.node.db.path },
    })
    expect(body.certificatePem).toContain('BEGIN CERTIFICATE')
  })

  test('a peer is registered, checked, kept in sync, and forgotten', async () => {
    const { a, b } = nodes
    await a.api.put('/v1/shards/live', { dimension: 2, metric: 'l2' })
    await a.api.post('/v1/shards/live/records', { records: [{ id: '1', embedding: [1, 2] }] })

    const put = await b.api.put('/v1/peers/a', { address: a.node.syncAddress, shards: ['live'] })
    const checked = await b.api.call('POST', '/v1/peers/check')
    await expect
      .poll(async () => (await b.api.get('/v1/shards/live/records/1')).status, { timeout: 50_000 })
      .toBe(200)
    const session = await b.api.get('/v1/sync')
    const forgotten = await b.api.delete('/v1/peers/a')
    const unknown = await b.api.delete('/v1/peers/nobody')

    expect(put.body.peers).toMatchObject([{ nodeId: 'a', shards: ['live'] }])
    expect(checked.body).toMatchObject({ healthy: true, peers: [{ nodeId: 'a', reachable: true }] })
    expect(session.body).toMatchObject({ nodeId: 'b', autoSyncs: [{ shardId: 'live' }] })
    // While it is trusted it may introduce itself again; then nobody here has registered it.
    const { body: left } = await b.api.get('/v1/peers')
    expect([forgotten.body.forgotten, unknown.body.forgotten]).toEqual([1, 0])
    expect(left.peers.map(({ source }: { source: string }) => source)).not.toContain('registered')
  })

  test('a shard that is made while the node runs is kept in sync with its peers', async () => {
    const { a, b } = nodes
    await b.api.put('/v1/peers/a', { address: a.node.syncAddress })

    await b.api.put('/v1/shards/later', { dimension: 2, metric: 'l2' })
    await b.api.post('/v1/shards/later/records', { records: [{ id: '1', embedding: [1, 2] }] })

    await expect
      .poll(async () => (await a.api.get('/v1/shards/later/records/1')).status, { timeout: 50_000 })
      .toBe(200)
    await b.api.delete('/v1/peers/a')
  })

  test('a wrong address and a peer that there is not are refused by name', async () => {
    const address = await nodes.b.api.put('/v1/peers/x', { address: '' })
    const sync = await nodes.b.api.post('/v1/sync', { peer: 'nobody' })
    const verify = await nodes.b.api.post('/v1/shards/live/verify', { peer: 'nobody' })
    const shard = await nodes.b.api.post('/v1/sync', { shard: 'none' })

    expect(address).toMatchObject({ status: 400, body: { code: 'HTTP_INPUT_INVALID' } })
    expect(sync).toMatchObject({ status: 404, body: { code: 'HTTP_PEER_UNKNOWN' } })
    expect(verify).toMatchObject({ status: 404, body: { code: 'HTTP_PEER_UNKNOWN' } })
    expect(shard).toMatchObject({ status: 404, body: { code: 'STORE_SHARD_UNKNOWN' } })
  })
})

describe('sync on demand', () => {
  test('it answers with what each shard and peer did, and with what failed', async () => {
    const { a, b } = nodes
    await a.api.put('/v1/shards/demand', { dimension: 2, metric: 'l2' })
    await b.api.put('/v1/shards/demand', { dimension: 2, metric: 'l2' })
    await a.api.post('/v1/shards/demand/records', { records: [{ id: '1', embedding: [1, 2] }] })
    await b.api.put('/v1/peers/a', { address: a.node.syncAddress, shards: ['demand'] })

    const one = await b.api.post('/v1/sync', { shard: 'demand', peer: 'a' })
    const verified = await b.api.post('/v1/shards/demand/verify', { peer: 'a' })
    const payloads = await b.api.post('/v1/shards/demand/verify', { peer: 'a', payloads: true })
    const refused = await b.api.post('/v1/shards/demand/verify', { payloads: true })
    const recounted = await b.api.post('/v1/shards/demand/verify', {})
    await b.api.delete('/v1/peers/a')

    expect(one.body).toMatchObject({
      ok: true,
      results: [{ shardId: 'demand', peer: 'a', ok: true }],
    })
    expect(verified.body).toMatchObject({ correct: true, equal: true, divergences: 0 })
    expect(verified.body).toMatchObject({ damaged: null })
    expect(payloads.body).toMatchObject({ equal: true, damaged: { count: 0, ids: [] } })
    expect(refused.status).toBe(400)
    expect(recounted.body).toMatchObject({ correct: true, recordCount: 1 })
  })

  test('a peer that is not trusted is an error of that peer, with its code', async () => {
    await using stranger = await pair()
    const { b } = nodes
    await b.api.put('/v1/peers/stranger', {
      address: stranger.a.node.syncAddress,
      shards: ['demand'],
    })

    const { body } = await b.api.post('/v1/sync', { peer: 'stranger' })
    await b.api.delete('/v1/peers/stranger')

    expect(body).toMatchObject({
      ok: false,
      results: [{ peer: 'stranger', ok: false, error: { code: 'TRANSPORT_PEER_UNTRUSTED' } }],
    })
  })
})

test('a stranger is refused, counted, and changes nothing', async () => {
  await using host = await pair()
  const { a } = host
  const { b } = nodes
  await a.api.put('/v1/shards/private', { dimension: 2 })
  b.node.coordinator.sync.trust.add(a.node.coordinator.sync.certificatePem, 'host')
  await b.api.put('/v1/shards/private', { dimension: 2 })
  await b.api.post('/v1/shards/private/records', { records: [{ id: 'x', embedding: [1, 2] }] })
  await b.api.put('/v1/peers/host', { address: a.node.syncAddress, shards: ['private'] })

  const { body } = await b.api.post('/v1/sync', { shard: 'private', peer: 'host' })
  await b.api.delete('/v1/peers/host')
  const refused = async (): Promise<number> => {
    const text = (await a.api.get('/metrics')).body as string
    return Number(/^sqlite_vector_peers_refused_total (\d+)/m.exec(text)?.[1])
  }

  expect(body.results).toMatchObject([{ ok: false, error: { code: 'TRANSPORT_REFUSED_BY_PEER' } }])
  await expect.poll(refused, { timeout: 50_000 }).toBeGreaterThan(0)
  expect(a.node.db.count('private')).toBe(0)
})

describe('conflicts', () => {
  test('both siblings are listed with who wrote them', async () => {
    const path = await conflicted('siblings')

    const { body } = await nodes.b.api.get(`${path}/conflicts`)
    const one = await nodes.b.api.get(`${path}/conflicts/x`)
    const none = await nodes.b.api.get(`${path}/conflicts/y`)

    expect(body.conflicts).toHaveLength(1)
    const by = (one.body.siblings as { nodeId: string }[]).map(({ nodeId }) => nodeId)
    expect(by.toSorted()).toEqual(['a', 'b'])
    expect(none).toMatchObject({ status: 404, body: { code: 'STORE_CONFLICT_UNKNOWN' } })
  })

  test('a preview shows what a decision would, and writes nothing', async () => {
    const path = await conflicted('preview')

    const merged = await nodes.b.api.post(`${path}/conflicts/x/preview`, { strategy: 'merge' })
    const value = await nodes.b.api.post(`${path}/conflicts/x/preview`, { value: null })
    const shard = await nodes.b.api.get(path)

    expect(merged.body.value.embedding).toEqual([0.5, 1])
    expect(value.body).toEqual({ value: null })
    expect(shard.body.conflictCount).toBe(1)
  })

  test('a decision closes the conflict on both nodes; undo shows again what was shown', async () => {
    const path = await conflicted('decided')
    const before = await nodes.b.api.get(`${path}/records/x`)
    const { body: open } = await nodes.b.api.get(`${path}/conflicts/x`)
    const other = open.siblings.find(
      ({ value }: { value: { metadata: { by: number } } }) =>
        value.metadata.by !== before.body.metadata.by,
    )

    const resolved = await nodes.b.api.post(`${path}/conflicts/x/resolve`, { choose: other.dot })
    const after = await nodes.b.api.get(`${path}/records/x`)
    const synced = await syncOnce('decided')
    const atA = await nodes.a.api.get(`${path}/records/x`)
    const undone = await nodes.b.api.post(`${path}/conflicts/x/undo`, resolved.body)
    const back = await nodes.b.api.get(`${path}/records/x`)
    const twice = await nodes.b.api.post(`${path}/conflicts/x/undo`, resolved.body)

    expect(after.body.metadata).toEqual(other.value.metadata)
    expect(synced.body.conflictCount).toBe(0)
    expect(atA.body).toEqual(after.body)
    expect(undone.status).toBe(204)
    expect(back.body).toEqual(before.body)
    expect(twice).toMatchObject({ status: 409, body: { code: 'HTTP_UNDO_REFUSED' } })
  })

  test('an unknown sibling, and the resolution of another record, are refused', async () => {
    const path = await conflicted('wrong')
    const dot = { actor: '0'.repeat(32), counter: 1 }

    const unknown = await nodes.b.api.post(`${path}/conflicts/x/resolve`, { choose: dot })
    const other = await nodes.b.api.post(`${path}/conflicts/x/undo`, {
      shardId: 'wrong',
      id: 'y',
      dot,
      before: null,
    })
    const neither = await nodes.b.api.post(`${path}/conflicts/x/resolve`, {})

    expect(unknown).toMatchObject({ status: 404, body: { code: 'STORE_CONFLICT_UNKNOWN' } })
    expect(other).toMatchObject({ status: 400, body: { code: 'HTTP_INPUT_INVALID' } })
    expect(neither).toMatchObject({ status: 400, body: { code: 'HTTP_INPUT_INVALID' } })
  })

  test('a conflict that comes in is told by the stream of sync', async () => {
    await using reader = await EventReader.open(nodes.b.api, '/v1/events')

    await conflicted('told')
    const { data } = await reader.next('conflict')

    expect(data).toMatchObject({ shardId: 'told', conflicts: 1 })
  })
})

describe('quarantine', () => {
  test('it is empty where nothing was put aside, and an unknown entry is refused', async () => {
    const path = '/v1/shards/quiet'
    await nodes.b.api.put(path, { dimension: 2 })

    const listed = await nodes.b.api.get(`${path}/quarantine?limit=5`)
    const all = await nodes.b.api.post(`${path}/quarantine/retry`, {})
    const one = await nodes.b.api.post(`${path}/quarantine/retry`, { entry: 7 })
    const discarded = await nodes.b.api.delete(`${path}/quarantine/7`)
    const none = await nodes.b.api.delete(`${path}/quarantine/seven`)

    expect(listed.body).toEqual({ entries: [] })
    expect(all.body).toEqual({ applied: 0, left: 0 })
    expect(one).toMatchObject({ status: 404, body: { code: 'STORE_QUARANTINE_UNKNOWN' } })
    expect(discarded).toMatchObject({ status: 404, body: { code: 'STORE_QUARANTINE_UNKNOWN' } })
    expect(none).toMatchObject({ status: 400, body: { code: 'HTTP_INPUT_INVALID' } })
  })

  test('an entry is listed with its reason, tried again, and discarded', async () => {
    const path = '/v1/shards/aside'
    const { db } = nodes.b.node
    await nodes.b.api.put(path, { dimension: 2 })
    putAside(db, 'aside')

    const listed = await nodes.b.api.get(`${path}/quarantine`)
    const retried = await nodes.b.api.post(`${path}/quarantine/retry`, {})
    const [entry] = listed.body.entries
    const discarded = await nodes.b.api.delete(`${path}/quarantine/${entry.entry}`)
    const left = await nodes.b.api.get(`${path}/quarantine`)

    expect(entry).toMatchObject({ id: 'broken', peer: 'f'.repeat(64) })
    expect(entry.reason).not.toBe('')
    expect(retried.body).toEqual({ applied: 0, left: 1 })
    expect(discarded.status).toBe(204)
    expect(left.body).toEqual({ entries: [] })
  })
})

/** A peer sends a record whose metadata is not JSON. */
function putAside(db: Pair['b']['node']['db'], shardId: string): void {
  const actor = 'e'.repeat(32)
  const dot = { actor, counter: 1 }
  const stamp = { ms: 1, logical: 0 }
  const value = {
    embedding: new Float32Array([1, 2]),
    embeddingDot: dot,
    metadata: '{',
    text: null,
  }
  const change = { id: 'broken', siblings: [{ dot, stamp, value }], context: null }
  const source = { peer: 'f'.repeat(64), logId: 'd'.repeat(32), cursor: 1 }
  const { quarantined } = db.replica.applyDelta(shardId, [change], source)
  expect(quarantined).toBe(1)
}
