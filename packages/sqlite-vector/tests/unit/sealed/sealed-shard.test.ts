/**
 * Sealed shards: members read and write them, relays carry them, and nothing else gets out.
 */
import {
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  chmodSync,
  readdirSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'

import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { must } from '../../../src/assert.ts'
import { SqliteVectorError } from '../../../src/errors.ts'
import { openSealedShard, type SealedShard, ShardKeys } from '../../../src/sealed/index.ts'
import { Sealer, SEALED_BYTES_MAX, SEALED_ID_BYTES_MAX } from '../../../src/sealed/sealer.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../../src/store/vector-db.ts'
import { createVectorSync, type VectorSync } from '../../../src/sync/index.ts'
import { MemoryNetwork } from '../../../src/transport/memory/network.ts'
import { ACTOR_A, ACTOR_B, dotOf } from '../sync/changes.ts'

const SHARD = 'diary'

let folder: string
let network: MemoryNetwork
let nodes: Node[]

interface Node {
  readonly db: SQLiteVectorDB
  readonly sync: VectorSync
  readonly address: string
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealed-'))
  network = new MemoryNetwork()
  nodes = []
})

afterEach(async () => {
  for (const { sync, db } of nodes) {
    await sync.close()
    db.close()
  }
  rmSync(folder, { recursive: true })
})

async function openNode(): Promise<Node> {
  const db = await createVectorDB({
    path: join(folder, `${nodes.length}.db`),
    durability: 'normal',
  })
  const transport = network.transport(String(nodes.length).padStart(64, '0'))
  const sync = createVectorSync(db, `node-${nodes.length}`, { transport })
  const node = { db, sync, address: await sync.listen('127.0.0.1:0') }
  nodes.push(node)
  return node
}

function member(node: Node, keys: ShardKeys, openedPath = ':memory:'): Promise<SealedShard> {
  return openSealedShard(node.db, SHARD, { dimension: 3, metric: 'l2', keys, openedPath })
}

const SECRET = {
  id: 'monday-the-first',
  embedding: [0.123, 4.567, -8.9],
  metadata: { mood: 'unmistakable-word' },
  text: 'a sentence that no relay may read',
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'nothing thrown'
  } catch (error) {
    return error instanceof SqliteVectorError ? error.code : must(error as Error, 'an error').name
  }
}

describe('between members and relays', () => {
  test('a record travels through a relay that cannot read it, in neither direction nor at rest', async () => {
    const [writer, relay, reader] = [await openNode(), await openNode(), await openNode()]
    const keys = ShardKeys.create()
    await using ours = await member(writer, keys)
    await using theirs = await member(reader, keys)
    await ours.upsert(SECRET)
    await ours.upsert({ id: 'gone', embedding: [1, 1, 1] })
    await writer.sync.sync(SHARD, relay.address)
    await reader.sync.sync(SHARD, relay.address)

    expect(await theirs.get(SECRET.id)).toMatchObject({
      metadata: SECRET.metadata,
      text: SECRET.text,
    })
    expect((await theirs.search([0, 4.5, -9], { k: 1 }))[0]?.id).toBe(SECRET.id)

    await theirs.delete('gone')
    await reader.sync.sync(SHARD, relay.address)
    await writer.sync.sync(SHARD, relay.address)
    expect(await ours.get('gone')).toBeNull()
    expect(await ours.count()).toBe(1)

    relay.db.close()
    const vector = Buffer.from(Float32Array.from(SECRET.embedding).buffer)
    const kept = readdirSync(folder)
      .filter((name) => name.startsWith('1.db') && statSync(join(folder, name)).isFile())
      .map((name) => readFileSync(join(folder, name)))
    expect(kept.length).toBeGreaterThan(0)
    for (const bytes of kept) {
      for (const secret of [SECRET.id, 'unmistakable', 'sentence', 'mood', 'gone']) {
        expect(bytes.includes(secret)).toBe(false)
      }
      expect(bytes.includes(vector)).toBe(false)
    }
  })

  test('members that write at once see one record, by the strategy, and one write decides', async () => {
    const [one, two] = [await openNode(), await openNode()]
    const keys = ShardKeys.create()
    await using ours = await openSealedShard(one.db, SHARD, {
      dimension: 2,
      keys,
      conflictStrategy: 'merge',
    })
    await using theirs = await openSealedShard(two.db, SHARD, {
      dimension: 2,
      keys,
      conflictStrategy: 'merge',
    })
    await ours.upsert({ id: 'r', embedding: [1, 0], metadata: { ours: 1 } })
    await theirs.upsert({ id: 'r', embedding: [0, 1], metadata: { theirs: 2 } })
    await one.sync.sync(SHARD, two.address)

    const [here, there] = [await ours.get('r'), await theirs.get('r')]
    expect(here).toEqual(there)
    expect(here?.metadata).toEqual({ ours: 1, theirs: 2 })
    expect(one.db.listConflicts(SHARD).conflicts.length).toBe(1)

    await ours.update('r', { metadata: { decided: true } })
    await one.sync.sync(SHARD, two.address)
    expect(two.db.listConflicts(SHARD).conflicts.length).toBe(0)
    expect((await theirs.get('r'))?.metadata).toEqual({ ours: 1, theirs: 2, decided: true })
  })

  test('a node with the wrong keys reads nothing, says so, and can be given the right ones', async () => {
    const [writer, reader] = [await openNode(), await openNode()]
    const keys = ShardKeys.create()
    await using ours = await member(writer, keys)
    await using theirs = await member(reader, ShardKeys.create())
    await ours.upsert(SECRET)
    await writer.sync.sync(SHARD, reader.address)

    expect(await theirs.count()).toBe(0)
    expect((await theirs.unopened()).map(({ reason }) => reason)).toEqual([
      'its id was made by no member of these keys',
    ])
    expect(await theirs.useKeys(keys)).toBe(0)
    expect(await theirs.get(SECRET.id)).toMatchObject({ text: SECRET.text })
    expect(await theirs.unopened()).toEqual([])
  })

  test('what a relay changed, moved to another record or brings again as newer is not shown', async () => {
    const [writer, relay, reader] = [await openNode(), await openNode(), await openNode()]
    const keys = ShardKeys.create()
    await using ours = await member(writer, keys)
    await using theirs = await member(reader, keys)
    await ours.upsert({ id: 'old', embedding: [1, 1, 1], metadata: { version: 1 } })
    await ours.upsert({ id: 'other', embedding: [2, 2, 2] })
    await writer.sync.sync(SHARD, relay.address)
    const [first, second] = relay.db.list(SHARD).records
    if (first === undefined || second === undefined) throw new Error('the relay has two records')
    // The relay writes as itself, which it may: contents of the one under the name of the other,
    // and a repetition.
    relay.db.upsert(SHARD, { id: first.id, embedding: [0], metadata: second.metadata })
    relay.db.upsert(SHARD, { id: second.id, embedding: [0], metadata: second.metadata })
    relay.db.upsert(SHARD, { id: 'made-up', embedding: [0], metadata: { sealed: 'AAAA' } })
    await reader.sync.sync(SHARD, relay.address)

    expect(await theirs.count()).toBe(0)
    expect((await theirs.unopened()).length).toBe(3)
  })

  test('keys are rotated: members with the new ones read everything, the old key alone reads nothing new', async () => {
    const [writer, reader] = [await openNode(), await openNode()]
    const before = ShardKeys.create()
    await using ours = await member(writer, before)
    await using left = await member(reader, before)
    await ours.upsert({ id: 'a', embedding: [1, 2, 3] })
    const after = before.rotate()
    expect(await ours.useKeys(after)).toBe(0)
    await ours.upsert({ id: 'b', embedding: [4, 5, 6] })
    expect(await ours.reseal()).toEqual({ resealed: 1, skipped: 0 })
    expect(await ours.reseal()).toEqual({ resealed: 0, skipped: 0 })
    await writer.sync.sync(SHARD, reader.address)

    expect(await left.count()).toBe(0)
    expect((await left.unopened()).every(({ reason }) => reason.includes(after.currentId))).toBe(
      true,
    )
    expect(await left.useKeys(after.without(before.currentId))).toBe(0)
    expect((await left.list()).records.map(({ id }) => id)).toEqual(['a', 'b'])
  })
})

describe('the opened records', () => {
  test('are a function of the carrier: kept, restarted, thrown away and dropped behind forgotten deletes', async () => {
    const node = await openNode()
    const keys = ShardKeys.create()
    const path = join(folder, 'opened.db')
    const records = Array.from({ length: 600 }, (_, index) => ({
      id: `r${String(index).padStart(3, '0')}`,
      embedding: [index, 1, 2],
    }))
    const first = await member(node, keys, path)
    await first.insertBatch(records)
    const all = await first.list({ limit: 1_000, includeVectors: true })
    expect(all.records.length).toBe(600)
    await first.close()
    // Between two reads, records are deleted and the deletes forgotten.
    const sealer = new Sealer(SHARD, keys)
    for (const { id } of records.slice(0, 50)) node.db.delete(SHARD, sealer.idToToken(id))
    expect(node.db.collectTombstones(SHARD)).toBe(50)

    await using again = await member(node, keys, path)
    const left = await again.list({ limit: 1_000, includeVectors: true })
    expect(left.records).toEqual(all.records.slice(50))
    await using fresh = await member(node, keys)
    expect((await fresh.list({ limit: 1_000, includeVectors: true })).records).toEqual(left.records)
  })

  test('a shard of the same name that is not sealed is refused, and so is bad input, which changes nothing', async () => {
    const node = await openNode()
    const keys = ShardKeys.create()
    node.db.createShard('plain', { dimension: 3 })
    expect(await codeOf(openSealedShard(node.db, 'plain', { dimension: 3, keys }))).toBe(
      'STORE_SHARD_MISMATCH',
    )
    await using shard = await member(node, keys)
    await shard.insert({ id: 'there', embedding: [1, 2, 3] })
    const head = node.db.replica.shardState(SHARD).head
    expect(await codeOf(shard.insert({ id: 'there', embedding: [1, 2, 3] }))).toBe(
      'STORE_RECORD_EXISTS',
    )
    expect(await codeOf(shard.upsert({ id: 'x', embedding: [1, 2] }))).toBe(
      'STORE_DIMENSION_MISMATCH',
    )
    expect(
      await codeOf(shard.upsert({ id: 'x'.repeat(SEALED_ID_BYTES_MAX + 1), embedding: [1, 2, 3] })),
    ).toBe('RangeError')
    const text = 'x'.repeat(SEALED_BYTES_MAX)
    expect(await codeOf(shard.upsert({ id: 'x', embedding: [1, 2, 3], text }))).toBe('RangeError')
    expect(await codeOf(shard.update('absent', { metadata: {} }))).toBe('STORE_RECORD_UNKNOWN')
    expect(node.db.replica.shardState(SHARD).head).toBe(head)
    await shard.upsert({ id: 'x'.repeat(SEALED_ID_BYTES_MAX), embedding: [1, 2, 3] })
    expect(await shard.count()).toBe(2)
  })
})

describe('sealing', () => {
  const keys = ShardKeys.create()
  const sealer = new Sealer(SHARD, keys)
  const content = { embedding: Float32Array.of(1, 2, 3), metadata: '{"a":1}', text: null }

  test('opens only for its own shard, record and write, and with every bit in place', () => {
    const token = sealer.idToToken('id')
    const dot = dotOf(ACTOR_A, 7)
    const sealed = sealer.seal(token, dot, content)
    expect(sealer.open(token, dot, sealed)).toEqual({ content })
    const elsewhere = [
      new Sealer('another', keys).open(token, dot, sealed),
      sealer.open(sealer.idToToken('id2'), dot, sealed),
      sealer.open(token, dotOf(ACTOR_B, 7), sealed),
      sealer.open(token, dotOf(ACTOR_A, 8), sealed),
    ]
    for (const result of elsewhere) expect(result).toHaveProperty('fault')
    const bytes = Buffer.from((JSON.parse(sealed) as { sealed: string }).sealed, 'base64')
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const flipped = Buffer.from(bytes)
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        const text = JSON.stringify({ sealed: flipped.toString('base64') })
        expect(sealer.open(token, dot, text)).toHaveProperty('fault')
      }),
    )
  })

  test('ids come back from their tokens, and other shards and keys give other tokens', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), (id) => {
        expect(sealer.tokenToId(sealer.idToToken(id))).toBe(id)
      }),
    )
    expect(new Sealer('another', keys).idToToken('id')).not.toBe(sealer.idToToken('id'))
    expect(new Sealer(SHARD, ShardKeys.create()).tokenToId(sealer.idToToken('id'))).toBeNull()
    expect(sealer.tokenToId('no token')).toBeNull()
  })

  test('two seals of one content differ', () => {
    const token = sealer.idToToken('id')
    const dot = dotOf(ACTOR_A, 7)
    expect(sealer.seal(token, dot, content)).not.toBe(sealer.seal(token, dot, content))
  })
})

describe('files of keys', () => {
  test('come back as they were, private, and never printed', () => {
    const path = join(folder, 'keys.json')
    const keys = ShardKeys.create().rotate()
    keys.write(path)
    const read = ShardKeys.read(path)

    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(read.currentId).toBe(keys.currentId)
    expect(read.keyIds).toEqual(keys.keyIds)
    const token = new Sealer(SHARD, keys).idToToken('id')
    expect(new Sealer(SHARD, read).tokenToId(token)).toBe('id')
    const { idKey } = JSON.parse(readFileSync(path, 'utf8')) as { idKey: string }
    expect(inspect(keys, { depth: 9, showHidden: true })).not.toContain(idKey)
    expect(JSON.stringify(keys)).toBe(JSON.stringify({ currentId: keys.currentId }))
  })

  test.each([
    ['no JSON', '{'],
    ['another format', '{"format":"x"}'],
    ['no keys', '{"format":"sqlite-vector shard keys 1","keys":[]}'],
    ['a short key', '{"format":"sqlite-vector shard keys 1","keys":["AAAA"]}'],
  ])('%s is refused by name', (_what, content) => {
    const path = join(folder, 'bad.json')
    writeFileSync(path, content, { mode: 0o600 })
    expect(() => ShardKeys.read(path)).toThrow(
      expect.objectContaining({ code: 'SEALED_KEYS_INVALID' }),
    )
  })

  test('a file that others may read is refused', () => {
    const path = join(folder, 'keys.json')
    ShardKeys.create().write(path)
    chmodSync(path, 0o644)
    expect(() => ShardKeys.read(path)).toThrow(/chmod 600/)
  })
})

describe('updates at the same time', () => {
  test('20 updates of one record keep what all of them wrote', async () => {
    const node = await openNode()
    await using shard = await member(node, ShardKeys.create())
    await shard.insert({ id: 'one', embedding: [1, 2, 3], metadata: { first: true } })

    const updates = Array.from({ length: 20 }, (_, i) =>
      shard.update('one', { metadata: { [`key ${i}`]: i } }),
    )
    const failed = shard.update('absent', { metadata: {} }).catch((error: unknown) => error)
    await Promise.all(updates)

    expect(await failed).toBeInstanceOf(SqliteVectorError)
    expect(Object.keys((await shard.get('one'))?.metadata ?? {})).toHaveLength(21)
  })

  test('updates through two members on one file keep what both wrote', async () => {
    const node = await openNode()
    const keys = ShardKeys.create()
    await using one = await member(node, keys)
    await using two = await member(node, keys)
    await one.insert({ id: 'one', embedding: [1, 2, 3] })

    await Promise.all(
      Array.from({ length: 10 }, (_, i) => [
        one.update('one', { metadata: { [`a${i}`]: i } }),
        two.update('one', { metadata: { [`b${i}`]: i } }),
      ]).flat(),
    )

    expect(Object.keys((await two.get('one'))?.metadata ?? {})).toHaveLength(20)
  })
})
