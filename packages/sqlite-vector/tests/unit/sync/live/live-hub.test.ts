/**
 * Who hears of a commit, over real stores and without a network: what the simulator found.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createVectorDB, type SQLiteVectorDB } from '../../../../src/store/vector-db.ts'
import { RELAY_PATIENCE_MS } from '../../../../src/limits.ts'
import { SessionDriver } from '../../../../src/sync/session/driver.ts'
import { type ControlFrame, decodeFrame } from '../../../../src/sync/wire/control-frames.ts'
import { createPuller } from '../../../../src/sync/session/puller.ts'
import { createSender } from '../../../../src/sync/session/sender.ts'
import { LiveHub } from '../../../../src/sync/live/live-hub.ts'
import { VirtualClock, VirtualTime } from '../../../simulation/virtual-clock.ts'
import { type Running } from '../../../../src/sync/session/types.ts'

const SHARD = 'notes'
const PEER = 'ab'.repeat(32)
const RELAY_DELAY_MS = 10

let folder: string
let db: SQLiteVectorDB
let hub: LiveHub
let time: VirtualTime

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hub-'))
  db = await createVectorDB({ path: join(folder, 'a.db'), durability: 'normal' })
  db.createShard(SHARD, { dimension: 2, metric: 'l2' })
  time = new VirtualTime()
  hub = new LiveHub({
    store: db.replica,
    clock: new VirtualClock(time),
    relayDelayMs: RELAY_DELAY_MS,
    checkIntervalMs: 60_000,
    onError: (error) => {
      throw error
    },
  })
})

afterEach(() => {
  hub.close()
  db.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Subscribed {
  readonly sender: Running
  readonly driver: SessionDriver
}

/** A peer has subscribed live to everything we have; our side of it, before it answers. */
function inspecting(): Subscribed {
  const setup = { store: db.replica, nodeId: 'node', batchSize: 8 }
  const driver: SessionDriver = new SessionDriver(
    createSender({ peer: PEER, shardId: SHARD }),
    setup,
  )
  const sender: Running = {
    get session() {
      return driver.session
    },
    tell(event) {
      driver.tell(event)
      hub.stepped(sender)
    },
  }
  // The puller's first frames are those of a real one; its store is of no account.
  const pulling = new SessionDriver(createPuller({ peer: PEER, shardId: SHARD, live: true }), setup)
  pulling.start()
  while (pulling.busy) {
    const effect = pulling.advance()
    if (effect?.type === 'send') driver.take(effect.bytes)
  }
  return { sender, driver }
}

/** The same, caught up and with nothing left to do. */
function subscribed(): Subscribed {
  const { sender, driver } = inspecting()
  while (driver.busy) driver.advance()
  hub.stepped(sender)
  return { sender, driver }
}

interface Following {
  readonly running: Running
  readonly sent: ControlFrame[]
}

/** We pull live from `other` under the fingerprint `peer`, and have all that it has. */
function following(other: SQLiteVectorDB, peer: string): Following {
  const puller: SessionDriver = new SessionDriver(
    createPuller({ peer, shardId: SHARD, live: true }),
    {
      store: db.replica,
      nodeId: 'node',
      batchSize: 8,
    },
  )
  const sender: SessionDriver = new SessionDriver(
    createSender({ peer: 'ef'.repeat(32), shardId: SHARD }),
    {
      store: other.replica,
      nodeId: 'other',
      batchSize: 8,
    },
  )
  const sent: ControlFrame[] = []
  const running: Running = {
    get session() {
      return puller.session
    },
    tell(event) {
      puller.tell(event)
      pump()
      hub.stepped(running)
    },
  }
  const pump = (): void => {
    while (puller.busy || sender.busy) {
      const ours = puller.busy ? puller.advance() : null
      if (ours?.type === 'send') {
        sent.push(decodeFrame(ours.bytes))
        sender.take(ours.bytes)
      }
      const theirs = sender.busy ? sender.advance() : null
      if (theirs?.type === 'send') puller.take(theirs.bytes)
    }
  }
  puller.start()
  pump()
  hub.stepped(running)
  hub.stepped(running)
  return { running, sent }
}

function sourcesTold({ sent }: Following): unknown[] {
  return sent.flatMap((frame) =>
    frame.type === 'holds' && frame.sources !== undefined ? [frame.sources] : [],
  )
}

function ownActor(): string {
  return db.replica.identity().actor
}

describe('the hub of live sessions', () => {
  test('tells a peer that holds all rows when the version vector moves without them', async () => {
    const other = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    other.createShard(SHARD, { dimension: 2, metric: 'l2' })
    other.insert(SHARD, { id: 'one', embedding: [1, 2] })
    const { changes, through, state } = other.replica.readDelta(SHARD, {
      after: 0,
      countMax: 10,
      bytesMax: 1_000,
      known: new Map(),
    })
    other.close()
    const source = { peer: 'cd'.repeat(32), logId: state.logId, cursor: through }
    hub.whileApplying(() => db.replica.applyDelta(SHARD, changes, source))
    // The peer got the row and the vector of before, as a transfer of ours is not at its end.
    const { driver } = subscribed()
    driver.tell({ type: 'ack', cursor: 1, versionVector: null })
    driver.tell({ type: 'ack', cursor: 1, versionVector: new Map() })
    while (driver.busy) driver.advance()

    hub.whileApplying(() => db.replica.joinVector(SHARD, source, state.versionVector))
    for (let ms = 0; ms < 3_000 && !driver.busy; ms += 10) time.advance(10)

    expect(driver.busy).toBe(true)
    while (driver.busy) driver.advance()
    expect(driver.session).toMatchObject({ announced: state.versionVector })
  })

  test('wakes the session that a newer one took the place of and left behind', async () => {
    const first = subscribed()
    const second = subscribed()
    second.sender.tell({ type: 'stop' })
    expect(first.driver.session.phase).toBe('caughtUp')
    expect(second.driver.session.phase).toBe('closed')

    db.insert(SHARD, { id: 'one', embedding: [1, 2] })
    await nextTurn()
    await nextTurn()

    expect(first.driver.busy).toBe(true)
    expect(hub.find(SHARD, PEER, 'sender')).toBe(first.sender)
  })

  test('a peer that follows nobody else is passed what others wrote as soon as that is here', async () => {
    using other = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    other.createShard(SHARD, { dimension: 2, metric: 'l2' })
    const { driver, sender } = subscribed()
    acknowledge(driver)
    sender.tell({ type: 'holds', versionVector: new Map(), sources: [ownActor()] })

    expect(msUntilBusy(driver, () => receiveFrom(other, 'one'))).toBeLessThan(RELAY_DELAY_MS)
  })

  test('a peer that has not said whom it follows is passed it after the delay of relays', async () => {
    using other = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    other.createShard(SHARD, { dimension: 2, metric: 'l2' })
    const { driver } = subscribed()
    acknowledge(driver)

    const waitedMs = msUntilBusy(driver, () => receiveFrom(other, 'one'))

    expect(waitedMs).toBeGreaterThanOrEqual(RELAY_DELAY_MS)
    expect(waitedMs).toBeLessThan(3 * RELAY_DELAY_MS)
  })

  test('a peer that follows the writer is left to it, and passed all once it gets nothing', async () => {
    using other = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    other.createShard(SHARD, { dimension: 2, metric: 'l2' })
    const { driver, sender } = subscribed()
    acknowledge(driver)
    const { actor } = other.replica.identity()
    sender.tell({ type: 'holds', versionVector: new Map(), sources: [actor] })

    const waitedMs = msUntilBusy(driver, () => {
      receiveFrom(other, 'one')
    })

    expect(waitedMs).toBeGreaterThanOrEqual(RELAY_PATIENCE_MS)
    expect(waitedMs).toBeLessThan(2 * RELAY_PATIENCE_MS)
  })

  test('what we passed on does not count as the time that the other way takes', async () => {
    using other = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    other.createShard(SHARD, { dimension: 2, metric: 'l2' })
    const { driver, sender } = subscribed()
    acknowledge(driver)
    const { actor } = other.replica.identity()
    sender.tell({ type: 'holds', versionVector: new Map(), sources: [actor] })
    msUntilBusy(driver, () => receiveFrom(other, 'one'))
    while (driver.busy) driver.advance()

    const nextMs = msUntilBusy(driver, () => {
      receiveFrom(other, 'two')
      acknowledge(driver)
      hub.stepped(sender)
    })

    expect(nextMs).toBeLessThan(1.5 * RELAY_PATIENCE_MS)
  })

  test('what others wrote is not passed on because our own write is on its way', async () => {
    using other = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    other.createShard(SHARD, { dimension: 2, metric: 'l2' })
    const { driver, sender } = subscribed()
    acknowledge(driver)
    const { actor } = other.replica.identity()
    sender.tell({ type: 'holds', versionVector: new Map(), sources: [ownActor(), actor] })
    db.insert(SHARD, { id: 'ours', embedding: [1, 2] })
    await nextTurn()
    await nextTurn()
    while (driver.busy) driver.advance()
    receiveFrom(other, 'theirs')
    // The peer gets it from the other, and says so.
    const { versionVector } = other.replica.shardState(SHARD)
    sender.tell({ type: 'holds', versionVector })
    receiveFrom(other, 'more')
    for (let ms = 0; ms < 20 * RELAY_DELAY_MS; ms += 1) time.advance(1)

    expect(driver.busy).toBe(false)
    expect(driver.session).toMatchObject({ unacked: [{}] })
  })

  test('the next lot waits until the peer has taken the one before', async () => {
    using other = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    other.createShard(SHARD, { dimension: 2, metric: 'l2' })
    const { driver, sender } = subscribed()
    acknowledge(driver)
    sender.tell({ type: 'holds', versionVector: new Map(), sources: [ownActor()] })
    msUntilBusy(driver, () => receiveFrom(other, 'one'))
    while (driver.busy) driver.advance()

    expect(msUntilBusy(driver, () => receiveFrom(other, 'two'))).toBe(5_000)
    acknowledge(driver)
    hub.stepped(sender)
    for (let ms = 0; ms < 5_000 && !driver.busy; ms += 1) time.advance(1)

    expect(driver.busy).toBe(true)
  })

  test('peers are told whom we follow, and when that is over', async () => {
    using one = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    using two = await createVectorDB({ path: join(folder, 'c.db'), durability: 'normal' })
    one.createShard(SHARD, { dimension: 2, metric: 'l2' })
    two.createShard(SHARD, { dimension: 2, metric: 'l2' })
    const [a, b] = [one.replica.identity().actor, two.replica.identity().actor]
    const first = following(one, PEER)
    for (let ms = 0; ms < 100; ms += 1) time.advance(1)
    const second = following(two, 'cd'.repeat(32))
    for (let ms = 0; ms < 100; ms += 1) time.advance(1)
    second.running.tell({ type: 'failed', error: new Error('gone') })
    for (let ms = 0; ms < 100; ms += 1) time.advance(1)

    const both = [a, b].toSorted()
    expect(sourcesTold(first)).toEqual([[a], both, [a]])
    expect(sourcesTold(second)).toEqual([both])
  })

  test('a write is noted as sent in its own transaction while a live session sends it at once', () => {
    db.insert(SHARD, { id: 'before', embedding: [1, 2] })
    expect(confirmed()).toBe(0)

    const { sender } = subscribed()
    db.insert(SHARD, { id: 'pushed', embedding: [1, 2] })
    expect(confirmed()).toBe(2)

    sender.tell({ type: 'stop' })
    db.insert(SHARD, { id: 'after', embedding: [1, 2] })
    expect(confirmed()).toBe(2)
  })

  test('a subscriber that was not welcomed yet is not told what it holds', async () => {
    using other = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    other.createShard(SHARD, { dimension: 2, metric: 'l2' })
    other.insert(SHARD, { id: 'one', embedding: [1, 2] })
    const { driver, sender } = inspecting()
    following(other, PEER)
    hub.stepped(sender)
    receiveFrom(other, 'two')
    for (let ms = 0; ms < 100; ms += 1) time.advance(1)

    expect(driver.session).toMatchObject({ phase: 'inspecting', error: null })
  })

  test('a subscriber that was not met yet has no write noted as sent', () => {
    const { driver, sender } = inspecting()
    hub.stepped(sender)
    expect(driver.session.phase).toBe('inspecting')

    db.insert(SHARD, { id: 'one', embedding: [1, 2] })

    expect(confirmed()).toBe(0)
  })
})

/** Another node writes a record, and we get it. */
function receiveFrom(other: SQLiteVectorDB, id: string): void {
  const { head } = other.replica.shardState(SHARD)
  other.insert(SHARD, { id, embedding: [1, 2] })
  const { changes, through, state } = other.replica.readDelta(SHARD, {
    after: head,
    countMax: 10,
    bytesMax: 1_000,
    known: new Map(),
  })
  const source = { peer: 'cd'.repeat(32), logId: state.logId, cursor: through }
  hub.whileApplying(() => {
    db.replica.applyDelta(SHARD, changes, source)
    db.replica.joinVector(SHARD, source, state.versionVector)
  })
}

function msUntilBusy(driver: SessionDriver, receive: () => void): number {
  receive()
  let ms = 0
  for (; ms < 5_000 && !driver.busy; ms += 1) time.advance(1)
  return ms
}

/** The peer has committed all that is on its way to it. */
function acknowledge(driver: SessionDriver): void {
  const { session } = driver
  if (session.role !== 'sender') throw new TypeError('a sender')
  for (const { through, caughtUp } of session.unacked) {
    const versionVector = caughtUp ? session.announced : null
    driver.tell({ type: 'ack', cursor: through, versionVector })
  }
  while (driver.busy) driver.advance()
}

/** How many of our writes the file notes as seen by others. */
function confirmed(): number {
  using file = new DatabaseSync(join(folder, 'a.db'), { readOnly: true })
  const row = file.prepare('SELECT max(confirmed) AS confirmed FROM own_writes').get()
  return Number(row?.['confirmed'] ?? 0)
}
