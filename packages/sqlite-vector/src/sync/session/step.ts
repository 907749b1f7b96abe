/**
 * One shard synced with one peer in one direction, as a pure state machine: no socket, no timer, no
 * SQL. Both roles step here; their tables are session/puller.ts and session/sender.ts.
 *
 * The driver (session/driver.ts) reports events and carries effects out, in order. It reads the
 * next frame of a puller only after the effects of the last are done; a sender's ACKs it reads at
 * any time.
 *
 * Invariants, asserted after every step:
 *   I1  A closed session stays closed and has no effects.
 *   I2  A puller's cursor never falls within one feed, and it never acknowledges beyond it.
 *   I3  A sender's ackedThrough never passes its sentThrough.
 *   I4  At most UNACKED_BATCHES_MAX + 1 frames are unacknowledged (the last is CAUGHT_UP).
 *   I5  acked changes never exceed sent ones.
 *
 * A peer's numbers are input, not invariants: they are checked, and a lie closes the session with
 * `SYNC_PROTOCOL_VIOLATION`.
 */
import { assert } from '../../assert.ts'
import { UNACKED_BATCHES_MAX } from '../../limits.ts'
import { PULL_TABLE } from './puller.ts'
import { SEND_TABLE } from './sender.ts'
import type { PullSession, SendSession, Session, SessionEvent, Step } from './types.ts'

/** The session after `event`, and the effects that the driver carries out. */
export function step(session: PullSession, event: SessionEvent): Step<PullSession>
export function step(session: SendSession, event: SessionEvent): Step<SendSession>
export function step(session: Session, event: SessionEvent): Step
export function step(session: Session, event: SessionEvent): Step {
  if (session.phase === 'closed') return { session, effects: [] }
  if (session.role === 'puller') {
    const next = (PULL_TABLE[session.phase][event.type] as Handler<PullSession>)(session, event)
    checkPuller(session, next)
    return next
  }
  const next = (SEND_TABLE[session.phase][event.type] as Handler<SendSession>)(session, event)
  checkSender(next.session)
  return next
}

// The tables prove that every pair has a handler for its own event; an index with both loses that.
type Handler<S extends Session> = (session: S, event: SessionEvent) => Step<S>

function checkPuller(before: PullSession, { session, effects }: Step<PullSession>): void {
  assert(
    before.logId !== session.logId || session.cursor >= before.cursor,
    'I2: a cursor never falls within one feed',
  )
  for (const effect of effects) {
    if (effect.type !== 'send' || effect.frame.type !== 'ack') continue
    assert(effect.frame.cursor === session.cursor, 'I2: what is acknowledged is committed')
  }
}

function checkSender(session: SendSession): void {
  assert(session.ackedThrough <= session.sentThrough, 'I3: acknowledged was sent')
  assert(session.unacked.length <= UNACKED_BATCHES_MAX + 1, 'I4: the window is kept')
  assert(session.tally.acked <= session.tally.sent, 'I5: acknowledged changes were sent')
}
