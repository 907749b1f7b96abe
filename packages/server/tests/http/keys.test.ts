/**
 * API keys that are limited to shards and operations, their rates, their reload, and the audit log.
 */
import { readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashApiKey, resolveConfig, type ApiKeyConfig, type NodeConfig } from '../../src/index.ts'
import { flagsOf, testNode, WRITER, READER, type TestNode } from '../helpers/node.ts'

const TEAM = 'team-key-of-the-tests-0001'
const SEARCH = 'search-key-of-the-tests-01'
const SLOW = 'slow-key-of-the-tests-0001'

let fixture: TestNode
let config: NodeConfig

function keyed(name: string, key: string, more: Partial<ApiKeyConfig>): ApiKeyConfig {
  return {
    name,
    access: 'read-write',
    sha256: hashApiKey(key),
    shards: null,
    operations: null,
    requestsPerMinuteMax: null,
    ...more,
  }
}

beforeAll(async () => {
  fixture = await testNode({
    shards: ['team-a:2:l2', 'team-b:2:l2', 'other:2:l2'],
    'audit-file': '/dev/null',
  })
  config = resolveConfig({ flags: flagsOf(fixture.folder) }).config
  const apiKeys = [
    ...config.http.apiKeys,
    keyed('team', TEAM, { shards: ['team-*'] }),
    keyed('search', SEARCH, { operations: ['search', 'getRecord'] }),
    keyed('slow', SLOW, { requestsPerMinuteMax: 3 }),
  ]
  fixture.node.reload({ ...fixture.node.config, http: { ...fixture.node.config.http, apiKeys } })
})

afterAll(() => fixture?.[Symbol.asyncDispose]())

const RECORD = { records: [{ id: 'x', embedding: [1, 2] }] }

describe('a key of some shards', () => {
  test('may use them, sees only them, and is refused elsewhere', async () => {
    const team = fixture.api.as(TEAM)

    expect((await team.post('/v1/shards/team-a/records', RECORD)).status).toBe(200)
    expect((await team.post('/v1/shards/other/records', RECORD)).body.code).toBe('HTTP_FORBIDDEN')
    const { body } = await team.get('/v1/shards')
    expect((body.shards as { shardId: string }[]).map(({ shardId }) => shardId)).toEqual([
      'team-a',
      'team-b',
    ])
    for (const path of ['/v1/node', '/v1/peers', '/v1/sync', '/v1/snapshots', '/metrics']) {
      expect((await team.raw(path)).status, path).toBe(403)
    }
    expect((await team.raw('/v1/events')).status).toBe(403)
    expect(fixture.node.db.count('other')).toBe(0)
  })
})

test('a key of some operations may use them by id or by tag only', async () => {
  const search = fixture.api.as(SEARCH)

  expect((await search.post('/v1/shards/team-a/query', { vector: [1, 2] })).status).toBe(200)
  expect((await search.get('/v1/shards/team-a/records/x')).status).toBe(200)
  expect((await search.post('/v1/shards/team-a/records', RECORD)).status).toBe(403)
  expect((await search.get('/v1/shards')).status).toBe(403)
})

test('each key has its own rate', async () => {
  const slow = fixture.api.as(SLOW)
  const statuses: number[] = []
  for (let index = 0; index < 5; index += 1) {
    statuses.push((await slow.get('/v1/shards')).status)
  }

  expect(statuses).toEqual([200, 200, 200, 429, 429])
  expect((await fixture.api.get('/v1/shards')).status).toBe(200)
})

test('a reload takes keys away and brings new ones, and names what needs a restart', async () => {
  const next = 'next-key-of-the-tests-0001'
  const { node } = fixture
  const before = node.config
  const apiKeys = [keyed('writer', WRITER, {}), keyed('next', next, {})]

  const later = node.reload({
    ...before,
    busyTimeoutMs: 1,
    http: { ...before.http, apiKeys },
  })

  expect(later).toEqual(['busyTimeoutMs'])
  expect((await fixture.api.as(READER).get('/v1/shards')).status).toBe(401)
  expect((await fixture.api.as(next).get('/v1/shards')).status).toBe(200)
})

test('the audit log has writes by key and refusals, no reads, and survives rotation', async () => {
  await using audited = await testNode(undefined, 'audited')
  const path = join(audited.folder, 'audit.log')
  await using other = await testNode({ 'audit-file': path, shards: ['a:2:l2'] }, 'other')
  await other.api.post('/v1/shards/a/records', RECORD)
  await other.api.get('/v1/shards/a/records/x')
  await other.api.as(READER).delete('/v1/shards/a/records/x')
  await other.api.as('a-wrong-key-of-the-tests').get('/v1/shards')
  await expect.poll(() => lines(path).length, { timeout: 20_000 }).toBe(3)
  renameSync(path, `${path}.1`)
  other.node.reload(other.node.config)
  await other.api.delete('/v1/shards/a/records/x')

  expect(lines(`${path}.1`)).toMatchObject([
    { operation: 'writeRecords', shard: 'a', key: 'writer', status: 200, code: null },
    {
      operation: 'deleteRecord',
      shard: 'a',
      target: 'x',
      key: 'reader',
      status: 403,
      code: 'HTTP_FORBIDDEN',
    },
    { operation: 'listShards', key: null, status: 401, code: 'HTTP_UNAUTHENTICATED' },
  ])
  await expect
    .poll(() => lines(path), { timeout: 20_000 })
    .toMatchObject([{ operation: 'deleteRecord', key: 'writer', status: 200 }])
  for (const line of lines(`${path}.1`)) {
    expect(line).toMatchObject({ address: '127.0.0.1', requestId: expect.stringMatching(/.{8}/) })
    expect(JSON.stringify(line)).not.toContain('embedding')
  }
})

function lines(file: string): Record<string, unknown>[] {
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}
