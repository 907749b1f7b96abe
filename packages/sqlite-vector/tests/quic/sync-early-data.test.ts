/**
 * Sync over resumed sessions: the second sync of two nodes asks in its first datagram, across restarts, and
 * somebody who sends that datagram again changes nothing.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createVectorDB, type SQLiteVectorDB } from '../../src/store/vector-db.ts'
import { createVectorSync, type SyncEvent, type VectorSync } from '../../src/sync/index.ts'
import { UdpRelay } from './udp-relay.ts'

const SHARD = 'notes'
const PATIENCE = { timeout: 20_000 }

interface Node extends AsyncDisposable {
  readonly db: SQLiteVectorDB
  readonly sync: VectorSync
  readonly events: SyncEvent[]
}

async function openNode(folder: string, name: string): Promise<Node> {
  const db = await createVectorDB({ path: join(folder, `${name}.db`) })
  const events: SyncEvent[] = []
  const sync = createVectorSync(db, name, { onEvent: (event) => events.push(event) })
  return {
    db,
    sync,
    events,
    async [Symbol.asyncDispose]() {
      await sync.close()
      db.close()
    },
  }
}

/** All that a replay could change in a file, but for when peers were last heard of. */
function stateOf({ db }: Node): unknown {
  const { replica } = db
  return {
    shard: replica.shardState(SHARD),
    rows: db.list(SHARD),
    peers: replica.peerCursors(),
  }
}

/** Control streams and the first bytes of channels, which name their types, are far smaller. */
const HELLO_AND_SUBSCRIBE_BYTES_MIN = 80

function bytesHeard({ sync }: Node): number {
  const { connections } = sync.getSession()
  return Math.max(0, ...connections.map(({ stats }) => stats.channelBytesReceived))
}

test(
  'a sync after a restart asks in its first datagram, and sending that again changes nothing',
  { timeout: 60_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sync-early-'))
    await using listener = await openNode(folder, 'listener')
    listener.db.createShard(SHARD, { dimension: 2 })
    listener.db.insert(SHARD, { id: 'first', embedding: [1, 0] })
    await using relay = await UdpRelay.open(await listener.sync.listen('127.0.0.1:0'))
    {
      await using dialler = await openNode(folder, 'dialler')
      dialler.sync.trust.add(listener.sync.certificatePem)
      listener.sync.trust.add(dialler.sync.certificatePem)
      await dialler.sync.sync(SHARD, relay.address)
      expect(dialler.sync.getSession().transport).toMatchObject({ resumed: 0, earlyDataTaken: 0 })
    }
    const mode = statSync(join(folder, 'dialler.db-node', 'tickets.json')).mode & 0o777
    expect(mode).toBe(0o600)

    await using dialler = await openNode(folder, 'dialler')
    dialler.db.insert(SHARD, { id: 'second', embedding: [0, 1] })
    relay.isCapturing = true
    relay.behaviour.isDeaf = true
    const syncing = dialler.sync.sync(SHARD, relay.address)
    // The listener has been asked although not a byte of it has arrived at the dialler.
    await expect
      .poll(() => bytesHeard(listener), PATIENCE)
      .toBeGreaterThan(HELLO_AND_SUBSCRIBE_BYTES_MIN)
    relay.isCapturing = false
    relay.behaviour.isDeaf = false
    await syncing
    expect(dialler.sync.getSession().transport).toMatchObject({ resumed: 1, earlyDataTaken: 1 })
    expect(listener.db.get(SHARD, 'second')).not.toBeNull()
    await dialler.sync.close()
    listener.db.insert(SHARD, { id: 'third', embedding: [1, 1] })
    const before = stateOf(listener)
    const quic = () => listener.sync.getSession().transport
    const { created = 0, earlyDataTaken = 0 } = quic() ?? {}

    // It is heard once the first connection is forgotten; but its handshake never ends, so it is nobody's.
    const replayed = async (): Promise<number | undefined> => {
      await relay.replay(relay.captured)
      return quic()?.earlyDataTaken
    }
    await expect.poll(replayed, PATIENCE).toBeGreaterThan(earlyDataTaken)
    await expect.poll(() => quic()?.handshakesUnderWay, PATIENCE).toBe(0)
    expect(quic()?.created).toBe(created)
    expect(stateOf(listener)).toEqual(before)
    rmSync(folder, { recursive: true })
  },
)
