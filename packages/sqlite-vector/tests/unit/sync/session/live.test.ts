/**
 * Live sessions: our own writes ahead of the rest, what is relayed later, and what peers say they hold.
 */
import { describe, expect, test } from 'vitest'

import type { SqliteVectorError } from '../../../../src/errors.ts'
import { PUSHES_UNACKED_MAX, UNACKED_BATCHES_MAX } from '../../../../src/limits.ts'
import { step } from '../../../../src/sync/session/step.ts'
import type { SendSession, SessionEffect } from '../../../../src/sync/session/types.ts'
import { ACTOR_A, ACTOR_B, changeOf, dotOf, put } from '../changes.ts'
import {
  after,
  batchOf,
  EVENTS,
  LOG_THEIRS,
  newSender,
  ownOf,
  PEER,
  PULLERS,
  stateOf,
} from './session-events.ts'

const { hello, subscribe, inspected, wrote, holds, committed } = EVENTS

/** A sender whose live subscriber has all up to 30, acknowledged. */
function liveSender(): SendSession {
  const versionVector = new Map([
    [ACTOR_A, 30],
    [ACTOR_B, 1],
  ])
  return after(
    newSender(),
    hello,
    { ...subscribe, live: true },
    inspected,
    {
      type: 'read',
      batch: batchOf({ bytes: null, changeCount: 0, through: 30, atHead: true }),
    },
    { type: 'ack', cursor: 30, versionVector },
  ).session
}

function sentTypes(effects: readonly SessionEffect[]): string[] {
  return effects.map((effect) => (effect.type === 'send' ? effect.frame.type : effect.type))
}

describe('a live sender', () => {
  test('pushes a write of its own at once, and leaves the cursor where it is', () => {
    const pushed = after(liveSender(), wrote, { type: 'readOwn', batch: ownOf() })

    expect(pushed.effects[0]).toEqual({
      type: 'readOwn',
      after: 30,
      known: liveSender().known,
      actor: ACTOR_A,
      above: 30,
      through: 30,
    })
    expect(sentTypes(pushed.effects.slice(1))).toEqual(['push', 'sendBatch'])
    expect(pushed.session.sentThrough).toBe(30)
    expect(pushed.session.own).toEqual({ cursor: 31, counter: 31 })
  })

  test('knows that the peer holds what it acknowledged', () => {
    const { session } = after(liveSender(), wrote, { type: 'readOwn', batch: ownOf() })
    expect(session.known.get(ACTOR_A)).toBe(30)

    const acked = after(session, { type: 'ack', cursor: 30, versionVector: null }).session
    expect(acked.known.get(ACTOR_A)).toBe(31)
    expect(acked.unacked).toEqual([])
  })

  test('takes ACKs of several pushes one by one, though they share a cursor', () => {
    const two = after(liveSender(), wrote, { type: 'readOwn', batch: ownOf() }, wrote, {
      type: 'readOwn',
      batch: ownOf({ through: 32, counter: 32 }),
    }).session
    const ack = { type: 'ack', cursor: 30, versionVector: null } as const

    expect(after(two, ack).session.unacked.length).toBe(1)
    expect(after(two, ack, ack).session.known.get(ACTOR_A)).toBe(32)
    const third = after(two, ack, ack, ack).session
    expect((third.error as SqliteVectorError | null)?.code).toBe('SYNC_PROTOCOL_VIOLATION')
  })

  test('vouches for its writes only once all are sent', () => {
    const part = { type: 'readOwn', batch: ownOf({ atHead: false }) } as const
    const { session, effects } = after(liveSender(), wrote, part)

    expect(sentTypes(effects.slice(1))).toEqual(['sendBatch', 'readOwn'])
    expect(session.own).toEqual({ cursor: 31, counter: 30 })
  })

  test('vouches for no write whose delete it may have forgotten unsent, and tells of its floor instead', () => {
    const kept = after(liveSender(), wrote, {
      type: 'readOwn',
      batch: ownOf({ through: 33, counter: 33, forgotten: 30 }),
    })
    expect(sentTypes(kept.effects.slice(1))).toEqual(['push', 'sendBatch'])

    const { session, effects } = after(liveSender(), wrote, {
      type: 'readOwn',
      batch: ownOf({ through: 33, counter: 33, forgotten: 32 }),
    })
    expect(sentTypes(effects.slice(1))).toEqual(['sendBatch', 'read'])
    const gcFloor = new Map([[ACTOR_A, 32]])
    const read = batchOf({ bytes: null, changeCount: 0, through: 33, atHead: true })
    const caughtUp = after(session, {
      type: 'read',
      batch: { ...read, state: { ...read.state, gcFloor } },
    })
    expect(caughtUp.effects).toMatchObject([{ frame: { type: 'caughtUp', gcFloor } }])
  })

  test('keeps nothing but a mark while its window is full, and goes on when there is room', () => {
    let { session } = after(liveSender(), wrote)
    for (let count = 0; count < UNACKED_BATCHES_MAX; count += 1) {
      session = after(session, { type: 'readOwn', batch: ownOf({ atHead: false }) }).session
    }
    const full = after(session, wrote)
    expect(full.effects).toEqual([])
    expect(full.session.behind).toBe('own')

    const ack = { type: 'ack', cursor: 30, versionVector: null } as const
    const acks = Array.from({ length: UNACKED_BATCHES_MAX - PUSHES_UNACKED_MAX + 1 }, () => ack)
    expect(after(full.session, ...acks).effects.map(({ type }) => type)).toEqual(['readOwn'])
    const all = after(full.session, committed, wrote, ack)
    expect(all.effects.map(({ type }) => type)).toEqual(['read'])
  })

  test('lets new writes wait while a few pushes are unacknowledged, to send them together', () => {
    let session = liveSender()
    for (let count = 0; count < PUSHES_UNACKED_MAX; count += 1) {
      session = after(session, wrote, { type: 'readOwn', batch: ownOf() }).session
    }
    const waiting = after(session, wrote, wrote)
    expect(waiting.effects).toEqual([])
    expect(waiting.session.behind).toBe('own')

    const ack = { type: 'ack', cursor: 30, versionVector: null } as const
    const next = after(waiting.session, ack)

    expect(next.effects.map(({ type }) => type)).toEqual(['readOwn'])
    expect(next.session.behind).toBe('no')
  })

  test('does not send what the peer says it holds', () => {
    const [effect] = after(liveSender(), holds, committed).effects

    expect(effect?.type === 'read' ? effect.known.get(ACTOR_B) : effect).toBe(12)
  })

  test('remembers whose writes the peer is sent by themselves until it says otherwise', () => {
    const said = { type: 'holds', versionVector: new Map(), sources: [ACTOR_B] } as const
    expect(liveSender().sources).toBeNull()

    expect(after(liveSender(), said).session.sources).toEqual([ACTOR_B])
    expect(after(liveSender(), said, holds).session.sources).toEqual([ACTOR_B])
    expect(after(liveSender(), said, { ...said, sources: [] }).session.sources).toEqual([])
  })

  test.each([
    ['wrote', wrote],
    ['committed', committed],
  ] as const)('sees what it is told "%s" of while it reads by that reading', (_, event) => {
    const { session, effects } = after(liveSender(), committed, event)
    expect(effects.map(({ type }) => type)).toEqual(['read'])

    const read = after(session, {
      type: 'read',
      batch: batchOf({ through: 40, atHead: true, state: stateOf({ head: 40 }) }),
    })
    expect([read.session.phase, read.session.behind]).toEqual(['caughtUp', 'no'])
    expect(sentTypes(read.effects)).toEqual(['sendBatch', 'caughtUp'])
  })
})

describe('a live puller', () => {
  const push = { type: 'push', versionVector: new Map([[ACTOR_B, 10]]) } as const
  const pushed = { type: 'batch', delta: { through: 9, changes: [] } } as const

  test('joins what PUSH vouches for together with the batch, and moves no cursor', () => {
    const { session, effects } = after(PULLERS.live, push, pushed, {
      ...EVENTS.applied,
      cursor: 9,
    })

    expect(effects).toEqual([
      {
        type: 'apply',
        delta: pushed.delta,
        source: { peer: PEER, logId: LOG_THEIRS, cursor: 9 },
        join: push.versionVector,
      },
      { type: 'send', frame: { type: 'ack', cursor: 9, versionVector: null } },
    ])
    expect([session.phase, session.cursor, session.vouched]).toEqual(['streaming', 9, null])
  })

  test('knows that who sends writes of its own holds all of them, also where it vouches for nothing yet', () => {
    const delta = {
      through: 9,
      changes: [
        changeOf('a', [put(dotOf(ACTOR_B, 12))]),
        changeOf('b', [put(dotOf(ACTOR_B, 11)), put(dotOf(ACTOR_A, 99))]),
      ],
    }
    const { session } = after(PULLERS.live, { type: 'batch', delta })

    expect(session.role === 'puller' && session.peerActor).toBe(ACTOR_B)
    expect(session.role === 'puller' && [...session.peerVector]).toEqual([[ACTOR_B, 12]])
  })

  test('joins nothing with the batch after that', () => {
    const { effects } = after(PULLERS.live, push, pushed, { ...EVENTS.applied, cursor: 9 }, pushed)
    expect(effects.at(-1)).toMatchObject({ type: 'apply', join: null })
  })

  test.each([
    ['PUSH twice', [push, push]],
    [
      'PUSH before a batch that moves the cursor',
      [push, { ...pushed, delta: { through: 10, changes: [] } }],
    ],
  ])('refuses %s', (_, events) => {
    const { session } = after(PULLERS.live, ...events)
    expect((session.error as SqliteVectorError | null)?.code).toBe('SYNC_PROTOCOL_VIOLATION')
  })

  test('refuses PUSH before it has caught up', () => {
    const { session } = step(PULLERS.streaming, push)
    expect((session.error as SqliteVectorError | null)?.code).toBe('SYNC_PROTOCOL_VIOLATION')
  })

  test('tells the sender what others brought', () => {
    const { effects, session } = step(PULLERS.live, EVENTS.moved)
    expect(effects).toEqual([
      { type: 'send', frame: { type: 'holds', versionVector: new Map([[ACTOR_A, 31]]) } },
    ])
    expect(session.phase === 'live' && session.advertised.get(ACTOR_A)).toBe(31)
  })

  test('tells the sender whom it follows by itself', () => {
    const { effects } = step(PULLERS.live, {
      type: 'moved',
      versionVector: new Map(),
      sources: [ACTOR_B],
    })
    expect(effects).toEqual([
      { type: 'send', frame: { type: 'holds', versionVector: new Map(), sources: [ACTOR_B] } },
    ])
  })
})
