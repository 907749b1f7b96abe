/**
 * Permissions where they hold: a peer that may only read takes and gives nothing, one that may nothing cannot even tell
 * that there is a shard, and a grant that is taken back ends what was under way.
 */
import { describe, expect, test } from 'vitest'
import { SqliteVectorError } from '../../src/errors.ts'
import { Permissions } from '../../src/sync/index.ts'
import { decodeFrame, encodeFrame, type ControlFrame } from '../../src/sync/wire/control-frames.ts'
import { EMPTY_VECTOR } from '../../src/model/version-vector.ts'
import { agree, LiveNodes, type LiveNode, SHARD, until, whenLive } from './live-nodes.ts'

const HIDDEN = 'hidden'
const PATIENCE_MS = 20_000

/** `a` with grants, and `b`, which asks. */
async function pair(): Promise<{
  nodes: LiveNodes
  a: LiveNode
  b: LiveNode
  permissions: Permissions
}> {
  const permissions = Permissions.inMemory()
  const nodes = new LiveNodes('memory')
  const a = await nodes.add({ permissions })
  const b = await nodes.add()
  a.db.createShard(SHARD, { dimension: 1, metric: 'l2' })
  a.db.insert(SHARD, { id: 'from-a', embedding: [1] })
  return { nodes, a, b, permissions }
}

describe('a peer that may only read', () => {
  test('gets what is here, and its own writes change nothing here', async () => {
    const { nodes, a, b, permissions } = await pair()
    await using _ = nodes
    permissions.grant(b.sync.fingerprint, SHARD, 'read')

    const first = await b.sync.sync(SHARD, a.address)
    b.db.insert(SHARD, { id: 'from-b', embedding: [2] })
    const second = await b.sync.sync(SHARD, a.address)

    expect(first).toMatchObject({ applied: 1, pulled: true, pushed: false })
    expect(second).toMatchObject({ sent: 0, pulled: true, pushed: false })
    expect(a.db.count(SHARD)).toBe(1)
    expect(a.db.get(SHARD, 'from-b')).toBeNull()
    const refused = a.events.filter(
      (event) => event.type === 'session-ended' && event.error !== null,
    )
    expect(refused).toMatchObject([
      { direction: 'pull', shardId: SHARD, error: { code: 'SYNC_FORBIDDEN' } },
      { direction: 'pull', shardId: SHARD, error: { code: 'SYNC_FORBIDDEN' } },
    ])
  })

  test('is sent everything by a node that dials it, and nothing is taken from it', async () => {
    const { nodes, a, b, permissions } = await pair()
    await using _ = nodes
    permissions.grant(b.sync.fingerprint, SHARD, 'read')
    await a.sync.sync(SHARD, b.address)
    b.db.insert(SHARD, { id: 'from-b', embedding: [2] })

    const result = await a.sync.sync(SHARD, b.address)

    expect(result).toMatchObject({ applied: 0, pulled: false, pushed: true })
    expect(a.db.count(SHARD)).toBe(1)
    expect(b.db.count(SHARD)).toBe(2)
  })

  test('stays live in the one direction, and in both once it may write', async () => {
    const { nodes, a, b, permissions } = await pair()
    await using _ = nodes
    permissions.grant(b.sync.fingerprint, SHARD, 'read')
    b.sync.startAutoSync(SHARD, a.address)
    await until(() => b.sync.getSession().autoSyncs[0]?.status === 'live', 'live', PATIENCE_MS)

    a.db.insert(SHARD, { id: 'later', embedding: [3] })
    b.db.insert(SHARD, { id: 'from-b', embedding: [2] })
    await until(() => b.db.get(SHARD, 'later') !== null, 'the write of a at b', PATIENCE_MS)
    const before = a.db.get(SHARD, 'from-b')
    const { lastError } = b.sync.getSession().autoSyncs[0] ?? {}
    permissions.grant(b.sync.fingerprint, SHARD, 'write')
    await until(() => agree([a, b]), 'agreement once b may write', PATIENCE_MS)

    expect(before).toBeNull()
    expect(lastError).toMatchObject({ code: 'SYNC_FORBIDDEN' })
    expect(a.db.get(SHARD, 'from-b')).not.toBeNull()
  })
})

describe('a peer that may nothing', () => {
  test('is answered about a hidden shard as about one that is not there, to the byte', async () => {
    const { nodes, a, b, permissions } = await pair()
    await using _ = nodes
    a.db.createShard(HIDDEN, { dimension: 1, metric: 'l2' })
    a.db.insert(HIDDEN, { id: 'secret', embedding: [1] })
    permissions.grant(b.sync.fingerprint, SHARD, 'write')
    await b.sync.close()
    await using raw = nodes.impostorOf(1)
    const connection = await raw.dial(a.address)

    const ask = async (...frames: ControlFrame[]): Promise<string[]> => {
      const channel = await connection.openChannel()
      for (const frame of frames) await channel.send(encodeFrame(frame))
      const answer = await channel.receive({ signal: AbortSignal.timeout(10_000) })
      channel.abort('enough')
      return answer === null ? [] : [decodeFrame(answer).type, Buffer.from(answer).toString('hex')]
    }
    const subscribe = (shardId: string): Promise<string[]> =>
      ask(hello, {
        type: 'subscribe',
        shardId,
        logId: null,
        cursor: 0,
        versionVector: EMPTY_VECTOR,
        uncovered: EMPTY_VECTOR,
        shard: null,
        live: false,
      })
    const invite = (shardId: string): Promise<string[]> =>
      ask({ type: 'invite', shardId, live: false })

    const [hidden, missing] = [await subscribe(HIDDEN), await subscribe('absent')]
    const [toHidden, toMissing] = [await invite(HIDDEN), await invite('absent')]
    const readable = await subscribe(SHARD)

    expect(hidden[0]).toBe('welcome')
    expect(hidden).toEqual(missing)
    // The answer names the shard that was asked for, and nothing else differs.
    expect(toHidden[0]).toBe('error')
    expect(nameless(toHidden[1], HIDDEN).length).toBe(nameless(toMissing[1], 'absent').length)
    expect(readable).not.toEqual(hidden)
    expect(a.db.shards().map(({ shardId }) => shardId)).toEqual([HIDDEN, SHARD])
    expect(a.db.count(HIDDEN)).toBe(1)
  })

  test('cannot make a shard here, and is not told of ours when we would sync with it', async () => {
    const { nodes, a, b, permissions } = await pair()
    await using _ = nodes
    permissions.grant(b.sync.fingerprint, 'other', 'read')
    b.db.createShard('theirs', { dimension: 1, metric: 'l2' })
    b.db.insert('theirs', { id: 'x', embedding: [1] })

    await expect(b.sync.sync('theirs', a.address)).rejects.toMatchObject({ code: 'SYNC_FORBIDDEN' })
    await expect(a.sync.sync(SHARD, b.address)).rejects.toMatchObject({ code: 'SYNC_FORBIDDEN' })

    expect(a.db.shards().map(({ shardId }) => shardId)).toEqual([SHARD])
    expect(b.db.shards().map(({ shardId }) => shardId)).toEqual(['theirs'])
  })
})

test('a grant that is taken back ends live sessions before the next change leaves', async () => {
  const { nodes, a, b, permissions } = await pair()
  await using _ = nodes
  b.sync.startAutoSync(SHARD, a.address)
  await whenLive(b, a)

  permissions.grant(b.sync.fingerprint, SHARD, 'none')
  a.db.insert(SHARD, { id: 'after', embedding: [4] })
  b.db.insert(SHARD, { id: 'from-b', embedding: [5] })
  await until(() => isForbidden(a), 'a session that was refused', PATIENCE_MS)
  await until(
    () => b.sync.getSession().autoSyncs[0]?.status !== 'live',
    'the end of live',
    PATIENCE_MS,
  )

  expect(b.db.get(SHARD, 'after')).toBeNull()
  expect(a.db.get(SHARD, 'from-b')).toBeNull()
})

const hello: ControlFrame = {
  type: 'hello',
  nodeId: 'impostor',
  actor: 'a'.repeat(32),
}

function nameless(hex: string | undefined, name: string): string {
  return (hex ?? '').replaceAll(Buffer.from(name).toString('hex'), '')
}

function isForbidden({ events }: LiveNode): boolean {
  return events.some(
    (event) =>
      event.type === 'session-ended' &&
      event.error instanceof SqliteVectorError &&
      event.error.code === 'SYNC_FORBIDDEN',
  )
}
