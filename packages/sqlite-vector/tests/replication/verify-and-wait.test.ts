/**
 * `verify()` and `waitForPeers()` between whole nodes, over the memory network.
 */
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'

import { createVectorSync, type SyncEvent, type VectorSync } from '../../src/sync/index.ts'
import { MemoryNetwork } from '../../src/transport/memory/network.ts'
import { type Fixture, folder, open, record } from '../unit/store/fixture.ts'

interface Nodes extends AsyncDisposable {
  readonly events: SyncEvent[]
  readonly a: Fixture
  readonly b: Fixture
  readonly syncA: VectorSync
  readonly syncB: VectorSync
  readonly address: string
}

async function nodes(): Promise<Nodes> {
  const place = folder()
  const network = new MemoryNetwork()
  const [a, b] = await Promise.all([
    open({ path: place.file('a.db') }),
    open({ path: place.file('b.db') }),
  ])
  const events: SyncEvent[] = []
  const syncA = createVectorSync(a.db, 'a', {
    transport: network.transport('a'.repeat(64)),
    onEvent: (event) => void events.push(event),
  })
  const syncB = createVectorSync(b.db, 'b', { transport: network.transport('b'.repeat(64)) })
  const address = await syncB.listen()
  const dispose = async (): Promise<void> => {
    await Promise.all([syncA.close(), syncB.close()])
    a.db.close()
    b.db.close()
    place[Symbol.dispose]()
  }
  return { a, b, syncA, syncB, address, events, [Symbol.asyncDispose]: dispose }
}

test('verify() says that two replicas in step are equal, having compared their rows', async () => {
  await using all = await nodes()
  for (let n = 0; n < 100; n += 1) all.a.db.insert('docs', record(`r${n}`))

  const result = await all.syncA.verify('docs', all.address)

  expect(result).toMatchObject({
    correct: true,
    compared: true,
    equal: true,
    divergences: 0,
    repaired: 0,
    onlyHere: 0,
  })
})

test('verify() with payloads names what is not the same on both sides', async () => {
  await using all = await nodes()
  for (const id of ['x', 'y']) all.a.db.insert('docs', record(id))
  await all.syncA.sync('docs', all.address)
  {
    using raw = new DatabaseSync(all.b.db.path)
    raw.exec(`UPDATE embeddings SET embedding = zeroblob(12) WHERE record = 1`)
  }

  const names = await all.syncA.verify('docs', all.address)
  const payloads = await all.syncA.verify('docs', all.address, { payloads: true })

  expect(names).toMatchObject({ equal: true, damaged: null })
  expect(payloads).toMatchObject({ equal: true, damaged: { count: 1, ids: ['x'] }, repaired: 0 })
  await expect(all.syncA.verify('docs', all.address, { payloads: 1 as never })).rejects.toThrow(
    TypeError,
  )
})

test('verify() says what was wrong with the own counts, and mends it', async () => {
  await using all = await nodes()
  all.a.db.insert('docs', record('x'))
  await all.syncA.sync('docs', all.address)
  {
    using raw = new DatabaseSync(all.a.db.path)
    raw.exec('UPDATE shard_metadata SET record_count = 5')
  }

  const first = await all.syncA.verify('docs', all.address)
  const second = await all.syncA.verify('docs', all.address)

  expect([first.correct, second.correct]).toEqual([false, true])
  expect(second.state.recordCount).toBe(1)
})

test('a wrong clock and a divergence are told as events', async () => {
  await using all = await nodes()
  all.b.clock.ms += 10 * 86_400_000
  all.b.db.insert('docs', record('x'))
  all.b.db.insert('docs', record('y'))
  await all.syncA.sync('docs', all.address)
  {
    using raw = new DatabaseSync(all.a.db.path)
    raw.exec(`UPDATE shard_metadata SET fingerprint = x'0000000000000001'`)
  }

  await all.syncA.sync('docs', all.address)

  expect(all.events).toContainEqual(
    expect.objectContaining({ type: 'skew', shardId: 'docs', peer: 'b'.repeat(64) }),
  )
  expect(all.events).toContainEqual(
    expect.objectContaining({ type: 'repair', diverged: true, dropped: 0, repaired: 0 }),
  )
})

test('waitForPeers() resolves when a peer has durably applied what was written', async () => {
  await using all = await nodes()
  await all.syncA.sync('docs', all.address)
  all.a.db.insert('docs', record('x'))
  let isDone = false

  const waiting = all.syncA.waitForPeers('docs', { acks: 1 }).then((peers) => {
    isDone = true
    return peers
  })
  await new Promise((resolve) => setImmediate(resolve))
  const before = isDone
  await all.syncA.sync('docs', all.address)

  expect(before).toBe(false)
  expect(await waiting).toEqual(['b'.repeat(64)])
  expect(all.b.db.get('docs', 'x')).not.toBeNull()
})

test('waitForPeers() is at once done when peers have it already, and ends with its signal', async () => {
  await using all = await nodes()
  all.a.db.insert('docs', record('x'))
  await all.syncA.sync('docs', all.address)
  const abort = new AbortController()

  const now = await all.syncA.waitForPeers('docs', { acks: 1 })
  const never = all.syncA.waitForPeers('docs', { acks: 2, signal: abort.signal })
  abort.abort(new Error('no patience'))

  expect(now).toHaveLength(1)
  await expect(never).rejects.toMatchObject({ code: 'TRANSPORT_ABORTED' })
  await expect(all.syncA.waitForPeers('docs', { acks: 0 })).rejects.toThrow(RangeError)
})

test('a sync that finds its own file to be a copy goes on under a new name by itself', async () => {
  await using all = await nodes()
  const network = new MemoryNetwork()
  const b = createVectorSync(all.b.db, 'b', { transport: network.transport('b'.repeat(64)) })
  const address = await b.listen()
  all.a.db.insert('docs', record('common'))
  await all.syncA.sync('docs', all.address)
  const place = folder()
  await all.a.db.snapshot(place.file('backup.db'))
  {
    // As if the backup had been taken by copying the file together with the folder beside it.
    using raw = new DatabaseSync(place.file('backup.db'))
    raw.exec('UPDATE database_metadata SET open_token = NULL')
  }
  all.a.db.insert('docs', record('later'))
  await all.syncA.sync('docs', all.address)
  using back = await open({ path: place.file('backup.db') })
  back.db.insert('docs', record('since'))
  await using sync = createVectorSync(back.db, 'a', {
    transport: network.transport('a'.repeat(64)),
  })

  await sync.sync('docs', address)

  const ids = ['common', 'later', 'since']
  expect(back.db.list('docs').records.map(({ id }) => id)).toEqual(ids)
  expect(all.b.db.list('docs').records.map(({ id }) => id)).toEqual(ids)
  await b.close()
  place[Symbol.dispose]()
})
