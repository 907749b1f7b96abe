/**
 * Every phase x every event, of both roles: the tables as one reads them, against the tables that run.
 *
 *   a phase   the phase that the session is in afterwards
 *   =         nothing happens
 *   !         the peer broke the protocol: ERROR is sent, the session is closed
 *   x         the session is closed with an error
 *   ?         the shell cannot report that: an assertion fails
 */
import { describe, expect, test } from 'vitest'

import { AssertionError } from '../../../../src/assert.ts'
import { step } from '../../../../src/sync/session/step.ts'
import type { Session, SessionEventType } from '../../../../src/sync/session/types.ts'
import { EVENTS, PULLERS, SENDERS } from './session-events.ts'

type Expectations = Record<SessionEventType, string>

const NEVER_FOR_PULLERS = {
  hello: '!',
  subscribe: '!',
  ack: '!',
  done: '!',
  invite: '!',
  ping: '!',
  pong: '!',
  holds: '!',
  need: '!',
  compare: '!',
  summarized: '?',
  recordsRead: '?',
  inspected: '?',
  read: '?',
  readOwn: '?',
  committed: '=',
  wrote: '=',
}

const PULLER: Expectations = {
  ...NEVER_FOR_PULLERS,
  start: '?',
  welcome: '!',
  batch: '!',
  caughtUp: '!',
  push: '!',
  ranges: '!',
  records: '!',
  applied: '?',
  joined: '?',
  behind: '?',
  doubtful: '?',
  compared: '?',
  repaired: '?',
  payloadsCompared: '?',
  moved: '=',
  stop: 'leaving',
  error: 'x',
  finished: 'x',
  failed: 'x',
}

const PULL_PHASES: Record<Exclude<keyof typeof PULLERS, 'closed'>, Expectations> = {
  idle: { ...PULLER, start: 'greeting', stop: 'closed' },
  greeting: { ...PULLER, welcome: 'streaming' },
  streaming: { ...PULLER, batch: 'applying', caughtUp: 'joining' },
  applying: {
    ...PULLER,
    batch: '?',
    caughtUp: '?',
    applied: 'streaming',
    push: '?',
    ranges: '?',
    records: '?',
  },
  joining: {
    ...PULLER,
    batch: '?',
    caughtUp: '?',
    joined: 'leaving',
    push: '?',
    ranges: '?',
    records: '?',
    behind: 'comparing',
    doubtful: 'fetching',
  },
  comparing: { ...PULLER, batch: '?', caughtUp: '?', push: '?', ranges: 'differing' },
  differing: {
    ...PULLER,
    batch: '?',
    caughtUp: '?',
    push: '?',
    ranges: '?',
    records: '?',
    compared: 'joining',
  },
  fetching: { ...PULLER, batch: '?', caughtUp: '?', push: '?', records: 'repairing' },
  repairing: {
    ...PULLER,
    batch: '?',
    caughtUp: '?',
    push: '?',
    ranges: '?',
    records: '?',
    repaired: 'joining',
    payloadsCompared: 'joining',
  },
  live: { ...PULLER, batch: 'applying', caughtUp: 'joining', push: 'live', moved: 'live' },
  leaving: {
    ...PULLER,
    welcome: '=',
    batch: '=',
    caughtUp: '=',
    push: '=',
    ranges: '=',
    records: '=',
    applied: 'leaving',
    joined: '=',
    behind: '=',
    doubtful: '=',
    compared: '=',
    repaired: '=',
    payloadsCompared: '=',
    stop: '=',
    error: 'closed',
    finished: 'closed',
    failed: 'closed',
  },
}

const SENDER: Expectations = {
  hello: '!',
  subscribe: '!',
  welcome: '!',
  batch: '!',
  caughtUp: '!',
  ack: '!',
  done: '!',
  invite: '!',
  ping: '!',
  pong: '!',
  push: '!',
  holds: '!',
  compare: '!',
  need: '!',
  ranges: '!',
  records: '!',
  start: '?',
  applied: '?',
  joined: '?',
  behind: '?',
  doubtful: '?',
  compared: '?',
  repaired: '?',
  payloadsCompared: '?',
  summarized: '?',
  recordsRead: '?',
  inspected: '?',
  read: '?',
  readOwn: '?',
  committed: '=',
  wrote: '=',
  moved: '=',
  stop: 'x',
  error: 'x',
  finished: 'x',
  failed: 'x',
}

/** Questions about rows leave a sender where it is. */
const askedIn = (
  phase: string,
): Pick<Expectations, 'compare' | 'need' | 'summarized' | 'recordsRead'> => ({
  compare: phase,
  need: phase,
  summarized: phase,
  recordsRead: phase,
})

const SEND_PHASES: Record<Exclude<keyof typeof SENDERS, 'closed'>, Expectations> = {
  awaitingHello: { ...SENDER, hello: 'awaitingSubscribe' },
  awaitingSubscribe: { ...SENDER, subscribe: 'inspecting' },
  inspecting: { ...SENDER, inspected: 'reading', done: 'closed' },
  reading: {
    ...SENDER,
    ...askedIn('reading'),
    read: 'reading',
    ack: 'reading',
    holds: 'reading',
    done: 'closed',
  },
  pushing: {
    ...SENDER,
    ...askedIn('pushing'),
    readOwn: 'caughtUp',
    ack: 'pushing',
    holds: 'pushing',
    committed: 'pushing',
    done: 'closed',
  },
  waiting: { ...SENDER, ...askedIn('waiting'), ack: 'reading', holds: 'waiting', done: 'closed' },
  caughtUp: {
    ...SENDER,
    ...askedIn('caughtUp'),
    ack: 'caughtUp',
    holds: 'caughtUp',
    done: 'closed',
  },
  absent: { ...SENDER, done: 'closed' },
}

function cases(
  phases: Record<string, Expectations>,
  sessions: Record<string, Session>,
): [string, SessionEventType, string, Session][] {
  return Object.entries(phases).flatMap(([phase, row]) =>
    Object.entries(row).map(([event, expected]): [string, SessionEventType, string, Session] => [
      phase,
      event as SessionEventType,
      expected,
      sessions[phase] as Session,
    ]),
  )
}

function check(event: SessionEventType, expected: string, session: Session): void {
  const run = (): ReturnType<typeof step> => step(session, EVENTS[event])
  if (expected === '?') {
    expect(run).toThrow(AssertionError)
    return
  }
  const { session: next, effects } = run()
  const code = (next.error as { code?: string } | null)?.code
  if (expected === '=') {
    expect({ session: next, effects }).toEqual({ session, effects: [] })
  } else if (expected === '!') {
    expect([next.phase, code]).toEqual(['closed', 'SYNC_PROTOCOL_VIOLATION'])
    expect(effects.map(({ type }) => type)).toEqual(['send', 'finish', 'close'])
  } else if (expected === 'x') {
    expect(next.phase).toBe('closed')
    expect(next.error).not.toBeNull()
  } else {
    expect([next.phase, next.error]).toEqual([expected, null])
  }
}

describe('the puller’s table', () => {
  // The batch of EVENTS ends where CAUGHT_UP has put the live puller: it is one ahead of the cursor.
  test.each(cases(PULL_PHASES, PULLERS))('%s, %s: %s', (_, event, expected, session) => {
    check(event, expected, session)
  })
})

describe('the sender’s table', () => {
  test.each(cases(SEND_PHASES, SENDERS))('%s, %s: %s', (_, event, expected, session) => {
    const toAck = event === 'ack' && session.phase === 'waiting' ? 1 : 10
    if (toAck === 10) check(event, expected, session)
    else
      expect(step(session, { type: 'ack', cursor: toAck, versionVector: null }).session.phase).toBe(
        expected,
      )
  })
})

test('a session that is closed stays as it is and does nothing, whatever happens', () => {
  for (const session of [PULLERS.closed, SENDERS.closed]) {
    for (const event of Object.values(EVENTS)) {
      expect(step(session, event)).toEqual({ session, effects: [] })
    }
  }
})
