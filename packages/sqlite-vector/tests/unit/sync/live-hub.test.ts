/**
 * Who hears of a commit, over real stores and without a network: what the simulator found.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createVectorDB, type SQLiteVectorDB } from '../../../src/store/vector-db.ts'
import { SessionDriver } from '../../../src/sync/driver.ts'
import { createPuller } from '../../../src/sync/session-puller.ts'
import { createSender } from '../../../src/sync/session-sender.ts'
import { LiveHub } from '../../../src/sync/shell/live-hub.ts'
import type { Running } from '../../../src/sync/shell/session-runner.ts'
import { VirtualClock, VirtualTime } from '../../simulation/virtual-clock.ts'

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

/** A peer subscribes live to everything we have; our side of it, caught up and with nothing left to do. */
function subscribed(): { readonly sender: Running; readonly driver: SessionDriver } {
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
  while (driver.busy) driver.advance()
  hub.stepped(sender)
  return { sender, driver }
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
    expect(driver.session).toMatchObject({ said: state.versionVector })
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

  test('the first relay of somebody’s writes to a peer waits for it to show another way; later ones do not', async () => {
    using other = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    other.createShard(SHARD, { dimension: 2, metric: 'l2' })
    const { driver } = subscribed()
    driver.tell({ type: 'ack', cursor: 0, versionVector: new Map() })
    while (driver.busy) driver.advance()

    const firstMs = msUntilBusy(driver, () => receiveFrom(other, 'one'))
    while (driver.busy) driver.advance()
    acknowledge(driver)
    const secondMs = msUntilBusy(driver, () => receiveFrom(other, 'two'))

    expect(firstMs).toBeGreaterThanOrEqual(5 * RELAY_DELAY_MS)
    expect(secondMs).toBeLessThan(3 * RELAY_DELAY_MS)
  })

  test('what others wrote is not relayed because our own write is on its way', async () => {
    using other = await createVectorDB({ path: join(folder, 'b.db'), durability: 'normal' })
    other.createShard(SHARD, { dimension: 2, metric: 'l2' })
    const { driver } = subscribed()
    driver.tell({ type: 'ack', cursor: 0, versionVector: new Map() })
    while (driver.busy) driver.advance()
    db.insert(SHARD, { id: 'ours', embedding: [1, 2] })
    await nextTurn()
    await nextTurn()
    while (driver.busy) driver.advance()
    receiveFrom(other, 'theirs')
    // The peer gets it elsewhere, and says so.
    const { versionVector } = other.replica.shardState(SHARD)
    driver.tell({ type: 'holds', versionVector })
    hub.whileApplying(() => receiveFrom(other, 'more'))
    for (let ms = 0; ms < 20 * RELAY_DELAY_MS; ms += 1) time.advance(1)

    expect(driver.busy).toBe(false)
    expect(driver.session).toMatchObject({ unacked: [{}] })
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

  test('a subscriber that was not met yet has no write noted as sent', () => {
    const setup = { store: db.replica, nodeId: 'node', batchSize: 8 }
    const driver = new SessionDriver(createSender({ peer: PEER, shardId: SHARD }), setup)
    const pulling = new SessionDriver(
      createPuller({ peer: PEER, shardId: SHARD, live: true }),
      setup,
    )
    pulling.start()
    while (pulling.busy) {
      const effect = pulling.advance()
      if (effect?.type === 'send') driver.take(effect.bytes)
    }
    hub.stepped({
      session: driver.session,
      tell: (event) => {
        driver.tell(event)
      },
    })
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
    const versionVector = caughtUp ? session.said : null
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
