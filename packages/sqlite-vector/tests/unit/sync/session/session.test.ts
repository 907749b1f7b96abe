/**
 * The session as a pure state machine: what follows what, on both sides.
 */
import { describe, expect, test } from 'vitest'

import { SqliteVectorError } from '../../../../src/errors.ts'
import { UNACKED_BATCHES_MAX } from '../../../../src/limits.ts'
import { step } from '../../../../src/sync/session/step.ts'
import type { PullSession, SendSession } from '../../../../src/sync/session/types.ts'
import { ACTOR_A, ACTOR_B, changeOf, dotOf, put } from '../changes.ts'
import {
  after,
  batchOf,
  EVENTS,
  LOCAL,
  LOG_THEIRS,
  newPuller,
  newSender,
  PEER,
  PULLERS,
  SENDERS,
  SHARD,
  stateOf,
} from './session-events.ts'

const { start, welcome, batch, caughtUp, joined, applied, hello, subscribe, inspected } = EVENTS

function codeOf(session: PullSession | SendSession): string | undefined {
  return (session.error as SqliteVectorError | null)?.code
}

function subscribed(
  over: Partial<typeof subscribe>,
  head = 30,
): ReturnType<typeof after<SendSession>> {
  return after(
    newSender(),
    hello,
    { ...subscribe, ...over },
    { ...inspected, state: stateOf({ head }) },
  )
}

describe('a puller', () => {
  test('says who it is, what it has and how far it has read', () => {
    const { effects } = step(PULLERS.idle, start)

    expect(effects).toEqual([
      { type: 'send', frame: { type: 'hello', nodeId: 'us', actor: ACTOR_A } },
      {
        type: 'send',
        frame: {
          type: 'subscribe',
          shardId: 'notes',
          shard: SHARD,
          logId: LOG_THEIRS,
          cursor: 5,
          versionVector: LOCAL.versionVector,
          live: false,
          uncovered: new Map(),
        },
      },
    ])
  })

  test('acknowledges a batch after its commit, never before', () => {
    const received = step(PULLERS.streaming, batch)
    const committed = step(received.session, applied)

    expect(received.effects).toEqual([
      {
        type: 'apply',
        delta: batch.delta,
        source: { peer: PEER, logId: LOG_THEIRS, cursor: 9 },
        join: null,
      },
    ])
    expect(received.session.cursor).toBe(5)
    expect(committed.session.cursor).toBe(9)
    expect(committed.effects).toEqual([
      { type: 'send', frame: { type: 'ack', cursor: 9, versionVector: null } },
    ])
  })

  test('joins the sender’s vector at CAUGHT_UP only', () => {
    const whole = after(newPuller(), start, welcome, batch, applied, caughtUp)

    expect(whole.effects.filter(({ type }) => type === 'join')).toEqual([
      {
        type: 'join',
        source: { peer: PEER, logId: LOG_THEIRS, cursor: 9 },
        versionVector: caughtUp.versionVector,
        gcFloor: new Map(),
        digest: caughtUp.digest,
        since: null,
      },
    ])
    expect(whole.session.complete).toBe(false)
  })

  test('acknowledges CAUGHT_UP with its own vector, then leaves', () => {
    const { session, effects } = step(PULLERS.joining, joined)

    expect(session.complete).toBe(true)
    expect(effects).toEqual([
      {
        type: 'send',
        frame: { type: 'ack', cursor: 9, versionVector: joined.state.versionVector },
      },
      { type: 'send', frame: { type: 'done' } },
      { type: 'finish' },
    ])
  })

  test('goes on after CAUGHT_UP when it is live', () => {
    const later = { ...batch, delta: { through: 12, changes: [] } }
    const { session } = after(
      PULLERS.live,
      later,
      { ...applied, cursor: 12 },
      {
        ...caughtUp,
        head: 12,
      },
    )

    expect(session.phase).toBe('joining')
    expect(after(session, joined).session.phase).toBe('live')
  })

  test('counts what was committed', () => {
    const { session } = after(PULLERS.applying, applied)

    expect(session.tally).toEqual({
      batches: 1,
      received: 4,
      applied: 2,
      redundant: 1,
      conflicts: 1,
      quarantined: 1,
      skewMsMax: 3,
      divergences: 0,
      dropped: 0,
      repaired: 0,
    })
  })

  test('creates the shard that only the sender has', () => {
    const nothing = { ...start, local: { ...LOCAL, shard: null, pulled: null } }
    const { effects } = after(newPuller(), nothing, { ...welcome, cursor: 0 })

    expect(effects.at(-1)).toEqual({ type: 'createShard', shardId: 'notes', shard: SHARD })
  })

  test('is content when the sender has no such shard, and fails when neither side has', () => {
    const absent = { ...welcome, shard: null, cursor: 0 }
    const ours = step(PULLERS.greeting, absent).session
    const nobodys = after(
      newPuller(),
      { ...start, local: { ...LOCAL, shard: null } },
      absent,
    ).session

    expect([ours.phase, ours.complete]).toEqual(['leaving', true])
    expect(codeOf(nobodys)).toBe('SYNC_SHARD_UNKNOWN')
  })

  test.each([
    ['dimension', { ...SHARD, dimension: 4 }],
    ['metric', { ...SHARD, metric: 'l2' as const }],
    ['modelId', { ...SHARD, modelId: 'another' }],
  ])('refuses a shard of another %s and tells the sender', (what, shard) => {
    const { session, effects } = step(PULLERS.greeting, { ...welcome, shard })

    expect(codeOf(session)).toBe('SYNC_SHARD_MISMATCH')
    expect(session.error?.message).toContain(what)
    expect(effects[0]).toMatchObject({ frame: { type: 'error', code: 'SYNC_SHARD_MISMATCH' } })
  })

  test('takes a feed from 0 when the sender does not know its cursor', () => {
    const anew = step(PULLERS.greeting, { ...welcome, logId: '09'.repeat(16), cursor: 0 }).session

    expect([anew.phase, anew.cursor, anew.logId]).toEqual(['streaming', 0, '09'.repeat(16)])
  })

  test.each([
    ['a cursor that it did not give', { ...welcome, cursor: 4 }],
    ['its cursor in another feed', { ...welcome, logId: '09'.repeat(16) }],
  ])('refuses a WELCOME with %s', (_, frame) => {
    expect(codeOf(step(PULLERS.greeting, frame).session)).toBe('SYNC_PROTOCOL_VIOLATION')
  })

  test.each([
    ['a batch that does not advance', { ...batch, delta: { through: 5, changes: [] } }],
    ['a CAUGHT_UP before its cursor', { ...caughtUp, head: 4 }],
  ])('refuses %s', (_, event) => {
    expect(codeOf(step(PULLERS.streaming, event).session)).toBe('SYNC_PROTOCOL_VIOLATION')
  })

  const unequal = { ...joined, state: stateOf({ versionVector: caughtUp.versionVector }) }
  const nothingFound = {
    ...EVENTS.compared,
    comparison: { descend: [], need: [], extra: 0 },
  }

  test('compares rows when vectors are equal and digests are not', () => {
    const { session, effects } = step(PULLERS.joining, unequal)

    expect([session.phase, session.tally.divergences]).toEqual(['comparing', 1])
    expect(effects).toEqual([
      { type: 'send', frame: { type: 'compare', ranges: [{ from: '', to: null }] } },
    ])
  })

  test('believes a comparison that found equal rows more than the digest of before', () => {
    const { session } = after(PULLERS.joining, unequal, EVENTS.ranges, nothingFound, unequal)

    expect([session.phase, session.error]).toEqual(['leaving', null])
  })

  test('reports equal vectors over unequal rows that three comparisons did not mend', () => {
    const round = [
      unequal,
      EVENTS.ranges,
      { ...nothingFound, comparison: { ...nothingFound.comparison, need: ['first'] } },
      EVENTS.records,
      EVENTS.repaired,
    ]
    const { session, effects } = after(PULLERS.joining, ...round, ...round, ...round, unequal)

    expect(codeOf(session)).toBe('SYNC_DIVERGED')
    expect(effects.at(-3)).toMatchObject({ frame: { type: 'error', code: 'SYNC_DIVERGED' } })
  })

  test('leaves it to the sender to take what only the puller has', () => {
    const { session } = after(
      PULLERS.joining,
      unequal,
      EVENTS.ranges,
      { ...nothingFound, comparison: { ...nothingFound.comparison, extra: 1 } },
      unequal,
    )

    expect([session.phase, session.error]).toEqual(['leaving', null])
  })

  test('asks for the records that lack their embedding before it acknowledges their batch', () => {
    const lacking = { ...applied, result: { ...applied.result, lacking: ['first'] } }
    const asking = after(PULLERS.applying, lacking)
    const whole = after(asking.session, EVENTS.records, applied)

    expect(asking.effects).toEqual([{ type: 'send', frame: { type: 'need', ids: ['first'] } }])
    expect(whole.effects.map(({ type }) => type)).toEqual(['apply', 'send'])
    expect(whole.effects[1]).toMatchObject({ frame: { type: 'ack', cursor: 9 } })
  })

  test('refuses records that it did not ask for, and answers that are none', () => {
    const change = changeOf('second', [put(dotOf(ACTOR_A, 1))])
    const unasked = { ...EVENTS.records, delta: { through: 0, changes: [change] } }
    const short = { ...EVENTS.ranges, answers: [] }
    const uncut = {
      ...EVENTS.ranges,
      answers: [{ type: 'parts' as const, parts: [] }],
    }

    expect(codeOf(step(PULLERS.fetching, unasked).session)).toBe('SYNC_PROTOCOL_VIOLATION')
    expect(codeOf(step(PULLERS.comparing, short).session)).toBe('SYNC_PROTOCOL_VIOLATION')
    expect(codeOf(step(PULLERS.comparing, uncut).session)).toBe('SYNC_PROTOCOL_VIOLATION')
  })

  test('is in order when vectors and digests are equal', () => {
    const { session } = step(PULLERS.joining, {
      ...joined,
      state: stateOf({
        versionVector: caughtUp.versionVector,
        digest: '00000000000000bb',
      }),
    })

    expect(session.error).toBeNull()
  })

  test('does not compare rows while it holds writes of an unfinished transfer', () => {
    const { session } = step(PULLERS.joining, {
      ...joined,
      state: stateOf({
        versionVector: caughtUp.versionVector,
        settled: false,
        uncovered: new Map([[ACTOR_A, 3]]),
      }),
    })

    expect(session.error).toBeNull()
  })

  test('compares rows when both sides hold the same writes of transfers that never came to their end', () => {
    const uncovered = new Map([[ACTOR_A, 3]])
    const joining = step(PULLERS.streaming, { ...caughtUp, uncovered }).session
    const { session } = step(joining, {
      ...joined,
      state: stateOf({ versionVector: caughtUp.versionVector, settled: false, uncovered }),
    })

    expect(session.phase).toBe('comparing')
  })

  test('compares rows with a sender that holds more beyond its vector, of which all was sent', () => {
    const uncovered = new Map([[ACTOR_A, 3]])
    const joining = step(PULLERS.streaming, { ...caughtUp, uncovered }).session
    const { session } = step(joining, {
      ...joined,
      state: stateOf({ versionVector: caughtUp.versionVector }),
    })

    expect(session.phase).toBe('comparing')
  })

  test('does not compare rows when what the sender holds more may lie in quarantine here', () => {
    const uncovered = new Map([[ACTOR_A, 3]])
    const joining = step(PULLERS.streaming, { ...caughtUp, uncovered }).session
    const { session } = step(joining, {
      ...joined,
      // As far as counters tell, we hold the same: one that is lower may be the one in quarantine.
      state: stateOf({ versionVector: caughtUp.versionVector, quarantineCount: 1, uncovered }),
    })

    expect(session.phase).toBe('leaving')
    expect(session.error).toBeNull()
  })

  test('does not compare rows with a sender that gives no digest', () => {
    const joining = step(PULLERS.streaming, { ...caughtUp, digest: null }).session
    const { session } = step(joining, {
      ...joined,
      state: stateOf({ versionVector: caughtUp.versionVector }),
    })

    expect(session.phase).toBe('leaving')
    expect(session.error).toBeNull()
  })
})

describe('a sender', () => {
  test('honours a cursor of its own log', () => {
    const { session, effects } = subscribed({ logId: stateOf().logId, cursor: 30 })

    expect(session.sentThrough).toBe(30)
    expect(effects.at(-1)).toEqual({
      type: 'read',
      after: 30,
      known: subscribe.versionVector,
    })
    expect(effects.at(-2)).toMatchObject({ frame: { type: 'welcome', cursor: 30 } })
  })

  test.each([
    ['of another log', { logId: LOG_THEIRS, cursor: 7 }],
    ['beyond its head', { logId: stateOf().logId, cursor: 31 }],
    ['of no log', { logId: null, cursor: 7 }],
  ])('reads from 0 for a cursor %s', (_, over) => {
    const { session, effects } = subscribed(over)

    expect(session.sentThrough).toBe(0)
    expect(effects.at(-2)).toMatchObject({ frame: { type: 'welcome', cursor: 0 } })
  })

  test('says that it has no such shard without saying more', () => {
    const { effects } = after(newSender(), hello, subscribe, { ...inspected, state: null })

    expect(effects.at(-1)).toMatchObject({ frame: { type: 'welcome', shard: null, cursor: 0 } })
  })

  test('refuses a shard of another dimension and tells the puller', () => {
    const { session, effects } = subscribed({ shard: { ...SHARD, dimension: 9 } })

    expect(codeOf(session)).toBe('SYNC_SHARD_MISMATCH')
    expect(effects).toContainEqual(
      expect.objectContaining({ frame: expect.objectContaining({ code: 'SYNC_SHARD_MISMATCH' }) }),
    )
  })

  test('serves only the shard that it invited to', () => {
    const { session } = after(newSender('other'), hello, subscribe)

    expect(codeOf(session)).toBe('SYNC_PROTOCOL_VIOLATION')
  })

  test('reads on while the window has room, and stops when it is full', () => {
    let session = after(newSender(), hello, subscribe, inspected).session
    for (let count = 1; count < UNACKED_BATCHES_MAX; count += 1) {
      session = after(session, { type: 'read', batch: batchOf({ through: count }) }).session
      expect(session.phase).toBe('reading')
    }
    const full = after(session, { type: 'read', batch: batchOf({ through: 20 }) })

    expect(full.session.phase).toBe('waiting')
    expect(full.effects.map(({ type }) => type)).toEqual(['sendBatch'])
  })

  test('an ACK makes room, also one that skips some', () => {
    const { session, effects } = after(SENDERS.waiting, {
      type: 'ack',
      cursor: 3,
      versionVector: null,
    })

    expect(session.unacked).toHaveLength(UNACKED_BATCHES_MAX - 3)
    expect(effects).toEqual([{ type: 'read', after: 16, known: subscribe.versionVector }])
  })

  test('sends nothing for a stretch that the reader has', () => {
    const skipped = batchOf({ bytes: null, changeCount: 0, through: 20 })
    const { effects } = after(SENDERS.reading, { type: 'read', batch: skipped })

    expect(effects).toEqual([{ type: 'read', after: 20, known: subscribe.versionVector }])
  })

  test('counts as sent what was acknowledged', () => {
    const { session } = after(SENDERS.reading, EVENTS.ack)

    expect(session.tally).toEqual({ batches: 1, sent: 10, acked: 10 })
    expect(SENDERS.reading.tally.acked).toBe(0)
  })

  test('records the vector that acknowledges CAUGHT_UP, and is complete then', () => {
    const versionVector = new Map([
      [ACTOR_A, 30],
      [ACTOR_B, 1],
    ])
    const { session, effects } = after(SENDERS.caughtUp, { type: 'ack', cursor: 30, versionVector })

    expect(session.complete).toBe(true)
    expect(effects).toEqual([{ type: 'recordAck', cursor: 30, versionVector }])
  })

  test('a puller that leaves before that leaves it incomplete', () => {
    const { session } = after(SENDERS.caughtUp, EVENTS.done)

    expect([session.phase, session.error, session.complete]).toEqual(['closed', null, false])
  })

  test.each([
    ['what was never sent', { type: 'ack' as const, cursor: 11, versionVector: null }],
    ['what was acknowledged already', { type: 'ack' as const, cursor: 9, versionVector: null }],
    ['a batch with a vector', { type: 'ack' as const, cursor: 10, versionVector: new Map() }],
    [
      'a vector that lost what it covered',
      { type: 'ack' as const, cursor: 30, versionVector: new Map() },
    ],
  ])('refuses an ACK of %s', (_, frame) => {
    expect(codeOf(after(SENDERS.caughtUp, frame).session)).toBe('SYNC_PROTOCOL_VIOLATION')
  })

  test('sends what is committed later to a live subscriber only', () => {
    const live = after(newSender(), hello, { ...subscribe, live: true }, inspected, {
      type: 'read',
      batch: batchOf({ bytes: null, changeCount: 0, through: 30, atHead: true }),
    }).session

    const known = new Map([...subscribe.versionVector, [ACTOR_A, 30] as const])
    expect(after(live, EVENTS.committed).effects).toEqual([{ type: 'read', after: 30, known }])
    expect(after(SENDERS.caughtUp, EVENTS.committed).effects).toEqual([])
  })

  test('ends when its feed began anew while it read', () => {
    const state = stateOf({ logId: '09'.repeat(16) })

    expect(
      codeOf(after(SENDERS.reading, { type: 'read', batch: batchOf({ state }) }).session),
    ).toBe('SYNC_REMOTE_FAILED')
  })
})

describe('both roles', () => {
  const lost = new SqliteVectorError('TRANSPORT_CLOSED', 'gone')
  test.each([
    ['puller', PULLERS.streaming],
    ['sender', SENDERS.reading],
  ])('a %s whose connection is lost tells nobody', (_, session) => {
    const { session: next, effects } = step(session, { type: 'failed', error: lost })

    expect(next.error).toBe(lost)
    expect(effects).toEqual([{ type: 'close' }])
  })

  test.each([
    ['puller', PULLERS.streaming],
    ['sender', SENDERS.reading],
  ])('a %s whose store fails tells the peer', (_, session) => {
    const error = new SqliteVectorError('STORE_FULL', 'no space in /secret')
    const { effects } = step(session, { type: 'failed', error })

    expect(effects[0]).toEqual({
      type: 'send',
      frame: { type: 'error', code: 'SYNC_REMOTE_FAILED', message: 'failed with STORE_FULL' },
    })
  })

  test.each([
    ['puller', PULLERS.streaming],
    ['sender', SENDERS.reading],
  ])('a %s ends with the code that the peer reports', (_, session) => {
    expect(codeOf(step(session, EVENTS.error).session)).toBe('SYNC_SHARD_UNKNOWN')
  })
})
