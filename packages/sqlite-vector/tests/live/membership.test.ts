/**
 * Nodes that introduce one another: over the memory network with real keys, and once over QUIC.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { X509Certificate } from 'node:crypto'

import { describe, expect, test } from 'vitest'

import { createVectorDB, type SQLiteVectorDB } from '../../src/store/vector-db.ts'
import {
  type CoordinatorConfig,
  createShardCoordinator,
  type Member,
  type ShardCoordinator,
  type SyncEvent,
} from '../../src/sync/index.ts'
import { encodeMembers, isMembersFrame } from '../../src/sync/wire/members-frame.ts'
import {
  encodeRecord,
  encodeStatement,
  PEER_RECORD_CONTEXT,
  type PeerStatement,
} from '../../src/sync/wire/peer-record.ts'
import { decodeFrame } from '../../src/sync/wire/control-frames.ts'
import { createIdentity, type NodeIdentity } from '../../src/transport/identity/identity.ts'
import { MemoryNetwork } from '../../src/transport/memory/network.ts'
import { TrustList } from '../../src/transport/identity/trust.ts'
import type { Transport } from '../../src/transport/types.ts'

const SHARD = 'notes'
const PATIENCE = { timeout: 20_000, interval: 20 }

interface Node {
  readonly name: string
  readonly identity: NodeIdentity
  readonly trust: TrustList
  readonly db: SQLiteVectorDB
  readonly coordinator: ShardCoordinator
  readonly address: string
  readonly events: SyncEvent[]
}

class Cluster implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'membership-'))
  readonly network = new MemoryNetwork()
  readonly #nodes: Node[] = []

  async add(
    name: string,
    options: { identity?: NodeIdentity; fileOf?: string } = {},
  ): Promise<Node> {
    const { identity = createIdentity({ nodeId: name }), fileOf = name } = options
    const trust = TrustList.inMemory()
    const db = await createVectorDB({ path: join(this.folder, `${fileOf}.db`) })
    const events: SyncEvent[] = []
    const config: CoordinatorConfig = {
      transport: this.transport(identity, trust),
      onEvent: (event) => events.push(event),
    }
    const coordinator = createShardCoordinator(db, name, config)
    const address = await coordinator.sync.listen('127.0.0.1:0')
    const node = { name, identity, trust, db, coordinator, address, events }
    this.#nodes.push(node)
    return node
  }

  /** A bare end of the network, with keys: nodes talk to it, and it says what it likes. */
  transport(identity: NodeIdentity, trust = TrustList.inMemory()): Transport {
    return Object.assign(this.network.transport(identity.fingerprint), {
      credentials: {
        certificate: new X509Certificate(identity.certificatePem).raw,
        sign: (context: string, statement: Uint8Array) => identity.sign(context, statement),
        isTrusted: (certificate: Uint8Array) => trust.judge(certificate, Date.now()).trusted,
        onTrustChange: (listener: () => void) => trust.onChange(listener),
      },
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { coordinator } of this.#nodes) await coordinator.close()
    for (const { db } of this.#nodes) db.close()
    rmSync(this.folder, { recursive: true })
  }
}

function trustEachOther(...nodes: readonly Node[]): void {
  for (const { trust, name } of nodes) {
    for (const other of nodes) {
      if (other.name !== name) trust.add(other.identity.certificatePem, other.name)
    }
  }
}

function member(of: Node, name: string): Member | undefined {
  return of.coordinator.sync.getMembers().find(({ nodeId }) => nodeId === name)
}

function meet(from: Node, to: Node): Promise<number> {
  return from.coordinator.sync.ping(to.address)
}

function record(
  identity: NodeIdentity,
  said: Partial<PeerStatement>,
  signedBy = identity,
): Uint8Array {
  const statement = encodeStatement({
    nodeId: 'forged',
    address: '127.0.0.1:1',
    status: 'online',
    sequence: 1,
    shards: [],
    ...said,
  })
  return encodeRecord({
    statement,
    certificate: new X509Certificate(identity.certificatePem).raw,
    signature: signedBy.sign(PEER_RECORD_CONTEXT, statement),
  })
}

/** Sends records to `to` as `identity`; what comes back, null for an orderly end. */
async function tell(cluster: Cluster, identity: NodeIdentity, to: Node, records: Uint8Array[]) {
  const transport = cluster.transport(identity)
  const wait = { signal: AbortSignal.timeout(20_000) }
  const channel = await (await transport.dial(to.address)).openChannel(wait)
  for (const frame of encodeMembers(records, false)) await channel.send(frame, wait)
  await channel.finish()
  const answer = await channel.receive(wait)
  await transport.close()
  return answer === null || isMembersFrame(answer) ? null : decodeFrame(answer)
}

describe('introductions', () => {
  test('a node that knows one address learns of the others, and syncs with those it trusts', async () => {
    await using cluster = new Cluster()
    const [a, b, c] = [await cluster.add('a'), await cluster.add('b'), await cluster.add('c')]
    const stranger = await cluster.add('stranger')
    trustEachOther(a, b, c)
    trustEachOther(a, stranger)
    for (const { db } of [a, b, c]) db.createShard(SHARD, { dimension: 2 })
    await meet(b, a)
    await meet(stranger, a)
    await expect.poll(() => a.coordinator.sync.getMembers().length, PATIENCE).toBe(2)

    c.coordinator.registerPeer({ nodeId: 'a', address: a.address })
    c.coordinator.startAutoSyncAll()

    await expect
      .poll(() => c.coordinator.getPeers().map(({ nodeId }) => nodeId), PATIENCE)
      .toEqual(['a', 'b'])
    await expect
      .poll(() => member(c, 'stranger'), PATIENCE)
      .toMatchObject({
        trusted: false,
        introducedBy: a.identity.fingerprint,
        peer: stranger.identity.fingerprint,
      })
    b.db.insert(SHARD, { id: 'from b', embedding: [1, 0] })
    await expect.poll(() => c.db.get(SHARD, 'from b')?.id, PATIENCE).toBe('from b')
    expect(c.coordinator.getPeers()[1]).toMatchObject({
      source: 'introduced',
      peer: b.identity.fingerprint,
    })
    expect(c.coordinator.getSession().autoSyncs.map(({ address }) => address)).not.toContain(
      stranger.address,
    )
  })

  test('a node that becomes trusted after its introduction becomes a peer', async () => {
    await using cluster = new Cluster()
    const [a, b, c] = [await cluster.add('a'), await cluster.add('b'), await cluster.add('c')]
    trustEachOther(a, b)
    trustEachOther(a, c)
    await meet(b, a)
    await meet(c, a)
    await expect.poll(() => member(c, 'b')?.trusted, PATIENCE).toBe(false)
    expect(c.coordinator.getPeers().map(({ nodeId }) => nodeId)).toEqual(['a'])

    c.trust.add(b.identity.certificatePem, 'b')

    expect(member(c, 'b')?.trusted).toBe(true)
    expect(c.coordinator.getPeers()).toMatchObject([
      { nodeId: 'a' },
      { nodeId: 'b', source: 'introduced' },
    ])
  })

  test('a node that leaves is marked everywhere and is nobody’s peer any more', async () => {
    await using cluster = new Cluster()
    const [a, b, c] = [await cluster.add('a'), await cluster.add('b'), await cluster.add('c')]
    trustEachOther(a, b, c)
    await meet(b, a)
    await meet(c, a)
    await expect
      .poll(
        () =>
          c.coordinator
            .getPeers()
            .map(({ nodeId }) => nodeId)
            .toSorted(),
        PATIENCE,
      )
      .toEqual(['a', 'b'])

    await b.coordinator.leave()

    await expect.poll(() => member(c, 'b')?.status, PATIENCE).toBe('left')
    expect(c.coordinator.getPeers().map(({ nodeId }) => nodeId)).toEqual(['a'])
    expect(
      c.events.some((event) => event.type === 'member' && event.member.status === 'left'),
    ).toBe(true)
  })

  test('a node that left holds no delete back; back again, it brings none of them to life', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add('a'), await cluster.add('b')]
    trustEachOther(a, b)
    a.db.createShard(SHARD, { dimension: 2 })
    for (const id of ['kept', 'dead']) a.db.insert(SHARD, { id, embedding: [1, 0] })
    await b.coordinator.sync.sync(SHARD, a.address)
    await expect.poll(() => member(b, 'a')?.status, PATIENCE).toBe('online')
    a.db.delete(SHARD, 'dead')
    expect(a.db.collectTombstones(SHARD)).toBe(0)

    await b.coordinator.leave()
    await expect.poll(() => member(a, 'b')?.status, PATIENCE).toBe('left')
    expect(a.db.collectTombstones(SHARD)).toBe(1)
    b.db.update(SHARD, 'kept', { metadata: { edited: true } })
    b.db.close()
    const back = await cluster.add('b', { identity: b.identity })
    trustEachOther(a, back)
    await back.coordinator.sync.sync(SHARD, a.address)

    for (const { db } of [a, back]) {
      expect(db.list(SHARD, {}).records.map(({ id }) => id)).toEqual(['kept'])
      expect(db.get(SHARD, 'kept')?.metadata).toEqual({ edited: true })
    }
    // From now on it is waited for again.
    await expect.poll(() => member(a, 'b')?.status, PATIENCE).toBe('online')
    a.db.delete(SHARD, 'kept')
    expect(a.db.collectTombstones(SHARD)).toBe(0)
    await back.coordinator.sync.sync(SHARD, a.address)
    expect(a.db.collectTombstones(SHARD)).toBe(1)
  })

  test('a node that closes is shown as offline, and as online once it is back', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add('a'), await cluster.add('b')]
    trustEachOther(a, b)
    await meet(b, a)
    await expect.poll(() => member(a, 'b')?.status, PATIENCE).toBe('online')
    // Both sides have greeted once b knows a, too.
    await expect.poll(() => member(b, 'a')?.status, PATIENCE).toBe('online')
    await b.coordinator.close()
    await expect.poll(() => member(a, 'b')?.status, PATIENCE).toBe('offline')
    b.db.close()

    const back = await cluster.add('b', { identity: b.identity })
    trustEachOther(a, back)
    await meet(back, a)

    await expect.poll(() => member(a, 'b')?.status, PATIENCE).toBe('online')
    expect(member(a, 'b')?.address).toBe(back.address)
  })

  test('what is known of members outlives a restart, without network', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add('a'), await cluster.add('b')]
    trustEachOther(a, b)
    await meet(b, a)
    await expect.poll(() => member(b, 'a')?.status, PATIENCE).toBe('online')
    const { address } = member(b, 'a') ?? {}
    await b.coordinator.close()
    b.db.close()

    using db = await createVectorDB({ path: join(cluster.folder, 'b.db') })
    const transport = cluster.transport(createIdentity())
    await using again = createShardCoordinator(db, 'b', { transport })

    expect(again.sync.getMembers()).toMatchObject([{ nodeId: 'a', address, trusted: true }])
    expect(again.getSession().members.length).toBe(1)
    expect(again.getPeers()).toMatchObject([{ nodeId: 'a', source: 'introduced' }])
    expect(again.getSession().connections).toEqual([])
  })

  test('a shard that is made later is told of, so that others sync it', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add('a'), await cluster.add('b')]
    trustEachOther(a, b)
    await meet(b, a)
    await expect.poll(() => member(a, 'b')?.status, PATIENCE).toBe('online')
    expect(a.coordinator.sync.sharedWith(b.identity.fingerprint)).toEqual([])

    for (const { db, name } of [a, b]) {
      db.createShard(SHARD, { dimension: 2 })
      db.insert(SHARD, { id: name, embedding: [1, 0] })
    }

    await expect
      .poll(() => a.coordinator.sync.sharedWith(b.identity.fingerprint), PATIENCE)
      .toEqual([SHARD])
  })
})

describe('records that are not to be believed', () => {
  test('one that another signed is refused, and nothing of its frame is taken', async () => {
    await using cluster = new Cluster()
    const a = await cluster.add('a')
    const [peer, victim] = [createIdentity(), createIdentity()]
    const frame = await tell(cluster, peer, a, [
      record(peer, { nodeId: 'peer' }),
      record(victim, { nodeId: 'victim' }, peer),
    ])

    expect(frame).toMatchObject({ type: 'error', code: 'SYNC_PROTOCOL_VIOLATION' })
    expect(a.coordinator.sync.getMembers()).toEqual([])
    expect(a.events).toContainEqual(expect.objectContaining({ type: 'error', willRetry: false }))
  })

  test('an older one than is known changes nothing', async () => {
    await using cluster = new Cluster()
    const a = await cluster.add('a')
    const [peer, other] = [createIdentity(), createIdentity()]
    const tellOf = (sequence: number, address: string) =>
      tell(cluster, peer, a, [record(other, { nodeId: 'other', sequence, address })])
    expect(await tellOf(7, '127.0.0.1:7')).toBeNull()
    expect(await tellOf(6, '127.0.0.1:6')).toBeNull()
    expect(await tellOf(7, '127.0.0.1:8')).toBeNull()
    expect(member(a, 'other')?.address).toBe('127.0.0.1:7')
    expect(await tellOf(8, '127.0.0.1:9')).toBeNull()
    expect(member(a, 'other')?.address).toBe('127.0.0.1:9')
  })

  test('one of our own that is newer than ours is outdone', async () => {
    await using cluster = new Cluster()
    const [a, b] = [await cluster.add('a'), await cluster.add('b')]
    trustEachOther(a, b)
    const sequence = Date.now() + 3_600_000
    await tell(cluster, createIdentity(), a, [
      record(b.identity, { nodeId: 'b', sequence, address: '127.0.0.1:1' }),
    ])
    expect(member(a, 'b')?.address).toBe('127.0.0.1:1')

    await meet(b, a)

    await expect.poll(() => member(a, 'b')?.address, PATIENCE).toBe(b.address)
  })

  test.each([
    ['an address that is none', { address: 'nowhere' }],
    ['too large a record', { nodeId: 'x'.repeat(3_000) }],
  ])('%s is refused', async (_what, said) => {
    await using cluster = new Cluster()
    const a = await cluster.add('a')
    const peer = createIdentity()

    const frame = await tell(cluster, peer, a, [record(peer, said)])

    expect(frame?.type).toBe('error')
    expect(a.coordinator.sync.getMembers()).toEqual([])
  })
})
