/**
 * The totals of the two sessions of one sync, as its result counts them. Pure.
 */
import type { PullSession, SendSession } from '../session/types.ts'
import { NOTHING_PULLED } from './sessions.ts'
import type { RunResult } from './session-runner.ts'
import type { SyncResult } from '../types.ts'

/** Only what was committed counts, here (pulled) or at the peer (pushed). */
export function syncTally(
  pulled: RunResult<PullSession> | null,
  pushed: RunResult<SendSession> | null,
): Pick<
  SyncResult,
  | 'applied'
  | 'received'
  | 'sent'
  | 'conflicts'
  | 'quarantined'
  | 'batches'
  | 'bytesSent'
  | 'bytesReceived'
  | 'bytes'
> {
  const { applied, received, conflicts, quarantined, batches } =
    pulled?.session.tally ?? NOTHING_PULLED
  const bytesSent = (pulled?.bytesSent ?? 0) + (pushed?.bytesSent ?? 0)
  const bytesReceived = (pulled?.bytesReceived ?? 0) + (pushed?.bytesReceived ?? 0)
  return {
    applied,
    received,
    sent: pushed?.session.tally.acked ?? 0,
    conflicts,
    quarantined,
    batches: batches + (pushed?.session.tally.batches ?? 0),
    bytesSent,
    bytesReceived,
    bytes: bytesSent + bytesReceived,
  }
}
