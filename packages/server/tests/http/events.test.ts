/**
 * Event streams: nothing is missed when a reader comes back, and streams end with their readers and the node.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { EventReader } from '../helpers/event-reader.ts'
import { resolveConfig, startNode } from '../../src/index.ts'
import { Client, flagsOf, testNode, type TestNode, WRITER } from '../helpers/node.ts'

let fixture: TestNode

beforeAll(async () => {
  fixture = await testNode({ 'http-event-streams-max': '4' })
})

afterAll(() => fixture?.[Symbol.asyncDispose]())

/** A new shard that holds records a and b. */
async function shard(name: string): Promise<string> {
  const path = `/v1/shards/${name}`
  await fixture.api.put(path, { dimension: 2, metric: 'l2' })
  await write(path, 'a')
  await write(path, 'b')
  return path
}

async function write(path: string, id: string, api: Client = fixture.api): Promise<void> {
  await api.post(`${path}/records`, { records: [{ id, embedding: [1, 2], text: id }] })
}

describe('the feed of a shard', () => {
  test('tells what is written and deleted from now on', async () => {
    const path = await shard('now')
    await using reader = await EventReader.open(fixture.api, `${path}/events`)
    await reader.next('open')

    await write(path, 'c')
    const written = await reader.next('changes')
    await fixture.api.delete(`${path}/records/a`)
    const deleted = await reader.next('changes')

    expect(written.data).toEqual({ shardId: 'now', changes: [{ id: 'c', deleted: false }] })
    expect(deleted.data).toEqual({ shardId: 'now', changes: [{ id: 'a', deleted: true }] })
  })

  test('a reader that comes back with the last id gets what changed meanwhile, and no more', async () => {
    const path = await shard('back')
    const first = await EventReader.open(fixture.api, `${path}/events`)
    await first.next('open')
    await write(path, 'c')
    const { id } = await first.next('changes')
    await first[Symbol.asyncDispose]()

    await write(path, 'd')
    await write(path, 'c')
    await write(path, 'e')
    await using second = await EventReader.open(fixture.api, `${path}/events`, id)
    const seen: string[] = []
    while (!seen.includes('e')) {
      const { data } = await second.next('changes')
      seen.push(...(data as { changes: { id: string }[] }).changes.map((change) => change.id))
    }

    expect(seen).toEqual(['d', 'c', 'e'])
  })

  test('the last id is good also after the node was ended and started again', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-events-'))
    const { config } = resolveConfig({ flags: { ...flagsOf(folder), shards: ['kept:2:l2'] } })
    const first = await startNode(config)
    const before = new Client(first.url, WRITER)
    await write('/v1/shards/kept', 'a', before)
    const reader = await EventReader.open(before, '/v1/shards/kept/events')
    const { id } = await reader.next('open')
    await write('/v1/shards/kept', 'b', before)
    await first.close()

    await using second = await startNode(config)
    const after = new Client(second.url, WRITER)
    await using again = await EventReader.open(after, '/v1/shards/kept/events', id)
    const { data } = await again.next('changes')

    expect(data).toEqual({ shardId: 'kept', changes: [{ id: 'b', deleted: false }] })
    await second.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test('a reader that does not read holds nobody up, and gets all when it reads', async () => {
    const path = await shard('slow')
    await using reader = await EventReader.open(fixture.api, `${path}/events?includeRecords=true`)
    await reader.next('open')
    const ids = Array.from({ length: 60 }, (_, number) => `slow-${number}`)

    // Some megabytes: more than sockets hold.
    const text = 'x'.repeat(100_000)
    for (const id of ids) {
      await fixture.api.post(`${path}/records`, { records: [{ id, embedding: [1, 2], text }] })
    }
    const seen = new Set<string>()
    while (seen.size < ids.length) {
      const { data } = await reader.next('changes')
      for (const { id } of (data as { changes: { id: string }[] }).changes) seen.add(id)
    }

    expect([...seen]).toEqual(ids)
  })

  test('from 0 on it is everything, with records on demand', async () => {
    const path = await shard('everything')
    await using reader = await EventReader.open(
      fixture.api,
      `${path}/events?after=0&includeRecords=true`,
    )

    const { data } = await reader.next('changes')

    expect(data).toMatchObject({
      changes: [
        { id: 'a', deleted: false, record: { id: 'a', embedding: [1, 2], text: 'a' } },
        { id: 'b', deleted: false },
      ],
    })
  })

  test('a position of another log is void: the reader is told, and gets everything', async () => {
    const path = await shard('void')
    await using reader = await EventReader.open(
      fixture.api,
      `${path}/events`,
      `${'0'.repeat(32)}.7`,
    )

    await reader.next('reset')
    const { data } = await reader.next('changes')

    expect((data as { changes: unknown[] }).changes).toHaveLength(2)
  })

  test('writes of another process on the file are told, too', async () => {
    const path = await shard('other')
    await using reader = await EventReader.open(fixture.api, `${path}/events`)
    await reader.next('open')

    // Another connection to the file, as another process has it.
    using db = await createVectorDB({ path: fixture.node.db.path })
    db.insert('other', { id: 'elsewhere', embedding: [0, 0] })
    const { data } = await reader.next('changes')

    expect(data).toMatchObject({ changes: [{ id: 'elsewhere' }] })
  })

  test('an unknown shard, no position, and one stream too many are refused', async () => {
    const path = await shard('refused')
    const unknown = await fixture.api.get('/v1/shards/none/events')
    const position = await fixture.api.get(`${path}/events?after=yesterday`)
    const readers = []
    for (let i = 0; i < 4; i += 1) readers.push(await EventReader.open(fixture.api, '/v1/events'))
    const many = await fixture.api.get('/v1/events')
    for (const reader of readers) await reader[Symbol.asyncDispose]()

    expect(unknown).toMatchObject({ status: 404, body: { code: 'STORE_SHARD_UNKNOWN' } })
    expect(position).toMatchObject({ status: 400, body: { code: 'HTTP_INPUT_INVALID' } })
    expect(many).toMatchObject({ status: 503, body: { code: 'HTTP_STREAMS_TOO_MANY' } })
    // What ended makes room.
    const again = async (): Promise<boolean> => {
      const reader = await EventReader.open(fixture.api, '/v1/events').catch(() => null)
      await reader?.[Symbol.asyncDispose]()
      return reader !== null
    }
    await expect.poll(again, { timeout: 50_000 }).toBe(true)
  })
})

describe('the end', () => {
  test('a connection on which no request came yet does not hold the end up', async () => {
    const ending = await testNode()
    const { hostname, port } = new URL(ending.node.url)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    // An answered request on another connection shows that the server has taken this one, too.
    await ending.api.get('/livez')

    const ended = await ending.node.close()

    expect(ended).toEqual({ graceful: true })
    socket.destroy()
    await ending[Symbol.asyncDispose]()
  })

  test('a node that ends ends its streams, and does not wait for their readers', async () => {
    const ending = await testNode()
    await ending.api.put('/v1/shards/x', { dimension: 2 })
    const reader = await EventReader.open(ending.api, '/v1/shards/x/events')
    await reader.next('open')

    const ended = await ending.node.close()

    expect(ended).toEqual({ graceful: true })
    expect(await reader.ended()).toBe(true)
    await ending[Symbol.asyncDispose]()
  })
})
