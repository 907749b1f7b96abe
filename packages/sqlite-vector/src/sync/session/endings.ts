/**
 * The ways in which both roles of a session end, and what an event is where it must not occur.
 * Pure.
 */
import { AssertionError } from '../../assert.ts'
import { SqliteVectorError } from '../../errors.ts'
import type { CaughtUpFrame, ErrorFrame, ShardDescriptor } from '../wire/control-frames.ts'
import { errorToFrame, frameToError } from '../wire/control-frames.ts'
import type { Session, SessionEvent, Step } from './types.ts'
import { dominates, vectorsEqual } from '../../model/version-vector.ts'
import { type ShardState } from '../../model/records.ts'

/** Nothing happens. */
export function stay<S extends Session>(session: S): Step<S> {
  return { session, effects: [] }
}

/** Ends the session and tells the peer why. */
export function refuse<S extends Session>(session: S, error: Error): Step<S> {
  return {
    session: { ...session, phase: 'closed', error },
    effects: [{ type: 'send', frame: errorToFrame(error) }, { type: 'finish' }, { type: 'close' }],
  }
}

/** The peer sent what it may not send now. */
export function violation<S extends Session>(session: S, event: SessionEvent): Step<S> {
  return refuse(session, violationError(`${event.type} while ${session.phase}`))
}

/** A peer's number or frame that cannot be true. */
export function violationError(what: string): SqliteVectorError {
  return new SqliteVectorError('SYNC_PROTOCOL_VIOLATION', `the peer broke the protocol: ${what}`)
}

/** The driver reported what it was not asked for: a bug of ours. */
export function impossible<S extends Session>(session: S, event: SessionEvent): Step<S> {
  throw new AssertionError(`a ${session.role} that is ${session.phase} was told "${event.type}"`)
}

/** A fault of this node as a coded error; its cause says where. */
export function faultOf(error: unknown): SqliteVectorError {
  if (error instanceof SqliteVectorError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new SqliteVectorError('SYNC_FAULT', `a fault of this node ended the session: ${reason}`, {
    cause: error,
  })
}

/** Our side failed. A peer that cannot be reached is not told. */
export function fail<S extends Session>(session: S, { error }: { readonly error: Error }): Step<S> {
  if (error instanceof SqliteVectorError && error.code.startsWith('TRANSPORT_')) {
    return { session: { ...session, phase: 'closed', error }, effects: [{ type: 'close' }] }
  }
  return refuse(session, error)
}

/** The peer gave up and said why. */
export function failedByPeer<S extends Session>(session: S, frame: ErrorFrame): Step<S> {
  return {
    session: { ...session, phase: 'closed', error: frameToError(frame) },
    effects: [{ type: 'finish' }, { type: 'close' }],
  }
}

/** The peer's frames ended before its task did. */
export function endedEarly<S extends Session>(session: S): Step<S> {
  const error = new SqliteVectorError(
    'SYNC_REMOTE_FAILED',
    `the peer ended the channel while the ${session.role} was ${session.phase}`,
  )
  return { session: { ...session, phase: 'closed', error }, effects: [{ type: 'close' }] }
}

/** Ends the session in good order. */
export function closeInOrder<S extends Session>(session: S, finish: boolean): Step<S> {
  return {
    session: { ...session, phase: 'closed' },
    effects: finish ? [{ type: 'finish' }, { type: 'close' }] : [{ type: 'close' }],
  }
}

/** The differences between two descriptors of a shard, for both sides; null without any. */
export function mismatch(
  shardId: string,
  ours: ShardDescriptor,
  theirs: ShardDescriptor,
): SqliteVectorError | null {
  const differences: string[] = []
  for (const key of ['dimension', 'metric', 'modelId', 'text'] as const) {
    const [our, their] = [ours, theirs].map(
      (side) => side[key] ?? (key === 'text' ? 'words' : null),
    )
    if (our !== their) {
      differences.push(`${key} is ${our} on one side and ${their} on the other`)
    }
  }
  if (differences.length === 0) return null
  return new SqliteVectorError(
    'SYNC_SHARD_MISMATCH',
    `shard ${JSON.stringify(shardId)}: ${differences.join(', ')}`,
  )
}

/**
 * Equal vectors mean equal rows; where the digests say otherwise, something is broken. Not so while
 * we hold writes beyond the vector that the sender does not: of what it holds, we have been sent
 * all.
 */
export function divergence(
  shardId: string,
  frame: CaughtUpFrame,
  state: ShardState,
): SqliteVectorError | null {
  if (frame.digest === null || frame.digest === state.digest) return null
  // The sender's uncovered writes may be those in quarantine here.
  const mayLack = state.quarantineCount > 0 && frame.uncovered.size > 0
  if (mayLack || !dominates(frame.uncovered, state.uncovered)) return null
  if (!vectorsEqual(frame.versionVector, state.versionVector)) return null
  return new SqliteVectorError(
    'SYNC_DIVERGED',
    `shard ${JSON.stringify(shardId)}: equal version vectors, but digests ` +
      `${frame.digest} and ${state.digest} of ${frame.recordCount} and ${state.recordCount} records`,
  )
}
