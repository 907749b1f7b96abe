/**
 * A puller's questions to its sender beside the feed, as pure transitions: embeddings that a batch
 * left out, ranges of rows, and the records that differ. session/puller.ts says when, and holds the
 * table.
 *
 *   ask ──► fetching ──records──► applying (embeddings lacking) │ repairing (a comparison)
 *       repairing ──repaired──► ask
 *       └─► comparing ──ranges──► differing ──compared──► ask        └──payloadsCompared──► ask
 *       └─► joining, when nothing is left to ask
 */
import { AssertionError, must } from '../../assert.ts'
import { DAMAGED_NAMED_MAX, NEED_IDS_MAX, RANGES_ASKED_MAX } from '../../limits.ts'
import { refuse, violationError } from './endings.ts'
import type {
  Inquiry,
  PullSession,
  PullTally,
  SessionEventType,
  Step,
  Transition,
} from './types.ts'
import { EMPTY_VECTOR } from '../../model/version-vector.ts'
import {
  type ApplyResult,
  type CompareMode,
  type DeltaSource,
  type IdRange,
  type RangeAnswer,
} from '../../store/replica/types.ts'

type On<T extends SessionEventType> = Transition<PullSession, T>

/**
 * Ranges waiting to be asked about; an honest sender gives no more than its depth times its parts.
 */
const PENDING_MAX = 65_536

/** Everything. */
const WHOLE: IdRange = { from: '', to: null }

/** The source of a batch of the feed, and how far it goes. */
export function sourceOf(session: PullSession, cursor: number): DeltaSource {
  const logId = must(session.logId, 'a streaming puller knows the feed')
  return { peer: session.peer, logId, cursor }
}

/** The tally after one more result. */
export function addToTally({ tally }: PullSession, result: ApplyResult): PullTally {
  return {
    ...tally,
    received: tally.received + result.applied + result.redundant + result.quarantined,
    applied: tally.applied + result.applied,
    redundant: tally.redundant + result.redundant,
    conflicts: tally.conflicts + result.conflicts,
    quarantined: tally.quarantined + result.quarantined,
    skewMsMax: Math.max(tally.skewMsMax, result.skewMsMax),
  }
}

/** Joins the sender's vector: nothing is left to ask. */
export function join(session: PullSession): Step<PullSession> {
  const frame = must(session.caughtUp, 'a joining puller has been told CAUGHT_UP')
  const { versionVector, gcFloor, digest } = frame
  return {
    session: { ...session, phase: 'joining', inquiry: null },
    effects: [
      {
        type: 'join',
        source: sourceOf(session, frame.head),
        versionVector,
        gcFloor,
        digest,
        since: session.compared.since,
      },
    ],
  }
}

/** Begins to compare rows, from the whole shard down. */
export function compare(session: PullSession, mode: CompareMode): Step<PullSession> {
  const { equal } = session.compared
  const compared = { ...session.compared, equal: mode === 'equal' ? equal + 1 : equal, found: 0 }
  const inquiry: Inquiry = { type: 'comparison', mode, asked: [], pending: [WHOLE], ids: [] }
  return ask({ ...session, compared }, inquiry)
}

/** Asks for records, if there are any to ask for, else about ranges, else goes on. */
export function ask(session: PullSession, inquiry: Inquiry): Step<PullSession> {
  if (inquiry.ids.length > 0) {
    const ids = inquiry.ids.slice(0, NEED_IDS_MAX)
    return {
      session: { ...session, phase: 'fetching', inquiry },
      effects: [{ type: 'send', frame: { type: 'need', ids } }],
    }
  }
  if (inquiry.type === 'lacking' || inquiry.pending.length === 0) return join(session)
  const asked = inquiry.pending.slice(0, RANGES_ASKED_MAX)
  const pending = inquiry.pending.slice(RANGES_ASKED_MAX)
  return {
    session: { ...session, phase: 'comparing', inquiry: { ...inquiry, asked, pending } },
    effects: [
      {
        type: 'send',
        frame: {
          type: 'compare',
          ranges: asked,
          ...(inquiry.mode === 'payloads' ? { payloads: true } : {}),
        },
      },
    ],
  }
}

export const ranges: On<'ranges'> = (session, { answers }) => {
  const inquiry = comparisonOf(session)
  const { asked, mode } = inquiry
  const isWhole =
    answers.length === asked.length &&
    answers.every((answer, index) => fits(answer, must(asked[index], 'a range that was asked')))
  if (!isWhole) return refuse(session, violationError('answers that are not those to the question'))
  return {
    session: { ...session, phase: 'differing' },
    effects: [{ type: 'compareRows', ranges: asked, answers, mode }],
  }
}

/** True when the answer cuts the range into two parts or more, or lists records. */
function fits(answer: RangeAnswer, { to }: IdRange): boolean {
  if (answer.type === 'list') return true
  return answer.parts.length > 1 && answer.parts.at(-1)?.to === to
}

export const comparedRows: On<'compared'> = (session, { comparison }) => {
  const inquiry = comparisonOf(session)
  const pending = [...comparison.descend, ...inquiry.pending]
  if (pending.length > PENDING_MAX) {
    return refuse(session, violationError('a comparison without end'))
  }
  const next = { ...inquiry, pending, ids: comparison.need }
  if (inquiry.mode === 'payloads') return ask(session, next)
  const { compared } = session
  return ask(
    {
      ...session,
      compared: {
        ...compared,
        found: compared.found + comparison.need.length,
        extra: compared.extra + comparison.extra,
      },
    },
    next,
  )
}

export const records: On<'records'> = (session, { delta }) => {
  const inquiry = must(session.inquiry, 'a fetching puller has asked')
  const asked = inquiry.ids.slice(0, NEED_IDS_MAX)
  let last = -1
  for (const { id } of delta.changes) {
    last = asked.indexOf(id, last + 1)
    if (last < 0) return refuse(session, violationError('records that were not asked for'))
  }
  // Ids left out before the last one given are gone; without any given, all are.
  const end = last < 0 ? asked.length : last + 1
  const ids = inquiry.ids.slice(end)
  if (inquiry.type === 'comparison') {
    const given = new Set(delta.changes.map(({ id }) => id))
    const gone = asked.slice(0, end).filter((id) => !given.has(id))
    const { mode } = inquiry
    if (mode === 'payloads') {
      return {
        session: { ...session, phase: 'repairing', inquiry: { ...inquiry, ids } },
        effects: [{ type: 'comparePayloads', changes: delta.changes }],
      }
    }
    const theirs = must(session.caughtUp, 'comparing follows CAUGHT_UP').versionVector
    const floor = session.state?.gcFloor ?? EMPTY_VECTOR
    return {
      session: { ...session, phase: 'repairing', inquiry: { ...inquiry, ids } },
      effects: [{ type: 'repair', changes: delta.changes, gone, mode, theirs, floor }],
    }
  }
  // The cursor moves, and the vector is joined, with the last of them.
  const isLast = ids.length === 0
  const source = isLast ? inquiry.source : { ...inquiry.source, cursor: session.cursor }
  return {
    session: { ...session, phase: 'applying', inquiry: { ...inquiry, ids } },
    effects: [{ type: 'apply', delta, source, join: isLast ? inquiry.join : null }],
  }
}

export const repaired: On<'repaired'> = (session, { result }) => {
  const inquiry = comparisonOf(session)
  const tally = addToTally(session, result)
  const { compared } = session
  return ask(
    {
      ...session,
      compared: { ...compared, extra: compared.extra + result.extra },
      tally: {
        ...tally,
        repaired: tally.repaired + result.applied,
        dropped: tally.dropped + result.dropped,
      },
    },
    inquiry,
  )
}

export const payloadsCompared: On<'payloadsCompared'> = (session, { damaged }) => {
  const { compared } = session
  const room = DAMAGED_NAMED_MAX - compared.damaged.length
  return ask(
    {
      ...session,
      compared: {
        ...compared,
        damagedCount: compared.damagedCount + damaged.length,
        damaged: [...compared.damaged, ...damaged.slice(0, room)],
      },
    },
    comparisonOf(session),
  )
}

function comparisonOf({ inquiry }: PullSession): Extract<Inquiry, { type: 'comparison' }> {
  if (inquiry?.type !== 'comparison') throw new AssertionError('a puller that compares')
  return inquiry
}
