/**
 * Administration over HTTP: it does what the commands do, and only for keys that may write everything.
 */
import { initCluster } from '@agentic-flow/sqlite-vector/transport'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { READER, testNode, type TestNode } from '../helpers/node.ts'

let fixture: TestNode
let other: TestNode

beforeAll(async () => {
  fixture = await testNode({ shards: ['a:2:l2'] })
  other = await testNode(undefined, 'other')
})

afterAll(async () => {
  await fixture?.[Symbol.asyncDispose]()
  await other?.[Symbol.asyncDispose]()
})

test('grants are made, listed and removed', async () => {
  const { api } = fixture
  const grant = { peer: 'other', shards: 'a*', access: 'read' }

  expect((await api.put('/v1/grants', grant)).body).toEqual({ grants: [grant] })
  expect((await api.get('/v1/grants')).body).toEqual({ grants: [grant] })
  expect((await api.put('/v1/grants', { ...grant, access: 'all' })).status).toBe(400)
  expect((await api.delete('/v1/grants?peer=other&shards=a*')).body).toEqual({ removed: 1 })
  expect((await api.get('/v1/grants')).body).toEqual({ grants: [] })
})

test('a peer is trusted by its certificate and no longer by its fingerprint', async () => {
  const { api } = fixture
  const { certificatePem, fingerprint } = other.node.coordinator.sync

  expect((await api.post('/v1/trust', { certificatePem, name: 'other' })).body).toEqual({
    fingerprint,
    nodeId: 'other',
  })
  expect((await api.get('/v1/trust')).body).toEqual({
    peers: [{ fingerprint, nodeId: 'other' }],
    clusters: [],
  })
  expect((await api.delete(`/v1/trust/${fingerprint}`)).body).toEqual({ removed: 1 })
  expect((await api.post('/v1/trust', { certificatePem: 'x' })).status).toBeLessThan(500)
})

test('the authority of a cluster makes tokens and lists nodes; another node refuses', async () => {
  const refused = await fixture.api.get('/v1/cluster/nodes')
  initCluster(`${fixture.node.db.stats().path}-node`, { name: 'c', nodeId: 'node' })

  const token = await fixture.api.post('/v1/cluster/token', {})
  const nodes = await fixture.api.get('/v1/cluster/nodes')

  expect([refused.status, refused.body.code]).toEqual([409, 'TRANSPORT_IDENTITY_INVALID'])
  expect(token.body).toMatchObject({ token: expect.stringMatching(/.{20}/) })
  expect(nodes.status).toBe(200)
  expect(
    (await fixture.api.post('/v1/cluster/nodes/unknown/revoke', undefined)).status,
  ).toBeLessThan(500)
})

test('vacuum gives pages back, and a key that may not write everything may do none of this', async () => {
  expect((await fixture.api.post('/v1/vacuum', undefined)).body).toMatchObject({ tombstones: 0 })
  for (const path of ['/v1/grants', '/v1/trust', '/v1/cluster/nodes']) {
    expect((await fixture.api.as(READER).get(path)).status, path).toBe(403)
  }
  expect((await fixture.api.as(READER).post('/v1/vacuum', undefined)).status).toBe(403)
})
