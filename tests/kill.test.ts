/**
 * `kill -9` in the middle of a transfer: either process, ten times, at random moments.
 *
 * What must hold after each: the file opens again, what the dead process had acknowledged is there,
 * the transfer resumes instead of starting over, and both files end with the same rows.
 *
 * A failure prints the seed; `KILL_SEED=… npx vitest run tests/kill.test.ts` replays its targets.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compareFiles } from '../packages/cli/src/demo/compare.ts'
import { NodeHandle } from './helpers/node-handle.ts'
import { randomFrom } from './helpers/records.ts'

const SHARD = 'killed'
const DIMENSION = 384
const RECORDS = 10_000
const TRIALS_EACH = 5
const SEED = Number(process.env['KILL_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

let folder: string
let senderPath: string
/** Records that the sender had acknowledged, by index: the fill, then those of the trials. */
let written = RECORDS

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-kill-'))
  senderPath = join(folder, 'sender.db')
  await using sender = new NodeHandle()
  await sender.call('open', { path: senderPath, nodeId: 'sender', shardId: SHARD })
  await sender.call('fill', {
    shardId: SHARD,
    dimension: DIMENSION,
    count: RECORDS,
    metric: 'cosine',
  })
  await sender.close()
}, 120_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Pair {
  readonly sender: NodeHandle
  readonly receiver: NodeHandle
  readonly address: string
}

/** Opens both files in new processes that trust each other; the sender listens. */
async function openPair(receiverPath: string): Promise<Pair> {
  const sender = new NodeHandle()
  const receiver = new NodeHandle()
  const [senderCard, receiverCard] = await Promise.all([
    sender.call('open', { path: senderPath, nodeId: 'sender', shardId: SHARD }),
    receiver.call('open', { path: receiverPath, nodeId: 'receiver', shardId: SHARD }),
  ])
  await sender.call('trust', { nodeId: 'receiver', certificatePem: receiverCard.certificatePem })
  await receiver.call('trust', { nodeId: 'sender', certificatePem: senderCard.certificatePem })
  const { address } = await sender.call('listen', {})
  return { sender, receiver, address }
}

/**
 * Kills `victim` as soon as the receiver committed `target` records. Resolves with what must be in the
 * receiver's file afterwards: what it said it committed, and what it acknowledged to the sender.
 */
async function killInTheMiddle(
  pair: Pair,
  victim: 'sender' | 'receiver',
  target: number,
): Promise<{ readonly committed: number; readonly acked: number }> {
  const reached = new Promise<void>((resolve) => {
    pair.receiver.onCommit((records) => {
      if (records >= target) resolve()
    })
  })
  const syncing = pair.receiver.call('sync', { shardId: SHARD, address: pair.address })
  const ended = syncing.then(
    () => 'finished',
    () => 'failed',
  )
  const first = await Promise.race([reached.then(() => 'reached'), ended])
  expect(first, 'the transfer ended before its target').toBe('reached')
  // One more write, acknowledged before the kill: it must survive on the sender.
  await pair.sender.call('write', { shardId: SHARD, dimension: DIMENSION, index: written })
  written += 1
  const ackedBefore = victim === 'sender' ? await pair.sender.call('acked', {}) : 0
  await pair[victim].kill()
  expect(await ended, 'a transfer whose peer was killed reports no success').toBe('failed')
  const acked = victim === 'sender' ? ackedBefore : await pair.sender.call('acked', {})
  return { committed: pair.receiver.committedRecords, acked }
}

const random = randomFrom(SEED)
const trials = Array.from({ length: 2 * TRIALS_EACH }, (_, number) => ({
  number,
  victim: number % 2 === 0 ? ('receiver' as const) : ('sender' as const),
  target: Math.floor(RECORDS * (0.1 + 0.75 * random())),
}))

describe(`kill -9 during a transfer of ${RECORDS} records (seed ${SEED})`, () => {
  test.each(trials)(
    'trial $number: the $victim dies at $target records',
    async (trial) => {
      const receiverPath = join(folder, `receiver-${trial.number}.db`)
      const before = await openPair(receiverPath)
      const { committed, acked } = await killInTheMiddle(before, trial.victim, trial.target)
      await Promise.all([before.sender.kill(), before.receiver.kill()])

      const after = await openPair(receiverPath)
      const reopened = await after.receiver.call('state', { shardId: SHARD })
      const result = await after.receiver.call('sync', { shardId: SHARD, address: after.address })
      const ids = Array.from({ length: written }, (_, index) => `record-${index}`)
      const missing = await after.sender.call('missing', { shardId: SHARD, ids })
      await Promise.all([after.sender.close(), after.receiver.close()])
      const comparison = await compareFiles(senderPath, receiverPath, SHARD)

      expect(acked, 'the receiver acknowledges as it goes').toBeGreaterThan(0)
      expect(reopened?.records, 'what was committed is there').toBeGreaterThanOrEqual(committed)
      expect(reopened?.records, 'what was acknowledged is there').toBeGreaterThanOrEqual(acked)
      expect(missing, 'what the sender acknowledged is there').toEqual([])
      expect(result.received, 'the transfer resumed').toBe(written - (reopened?.records ?? 0))
      expect(comparison).toMatchObject({ rowsA: written, rowsB: written, differenceCount: 0 })
    },
    60_000,
  )
})
