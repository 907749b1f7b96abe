/**
 * When changes of others are passed on: each rule by itself.
 */
import { describe, expect, test } from 'vitest'

import {
  PUSHES_UNACKED_MAX,
  RELAY_PATIENCE_MS,
  RELAY_PATIENCE_MS_MAX,
} from '../../../../src/limits.ts'
import { createSender } from '../../../../src/sync/session/sender.ts'
import type { SendSession, Unacked } from '../../../../src/sync/session/types.ts'
import {
  restartProgress,
  decideRelay,
  isFullyAnnounced,
  isSlow,
  isUnderWay,
  NO_PROGRESS,
  type Progress,
  progressOf,
  type RelayNode,
  type RelayView,
} from '../../../../src/sync/live/relay-rules.ts'
import { stateOf } from '../session/session-events.ts'

const DELAY_MS = 100
const [WRITER, A, SELF, Z, PEER] = ['0c', '0d', '0e', '0f', '10'].map((byte) =>
  byte.repeat(16),
) as [string, string, string, string, string]

function node(actor: string, sources: readonly string[] | null, offers = 0): RelayNode {
  return {
    actor,
    sources: sources === null ? null : new Set(sources),
    offers: offers === 0 ? new Map() : new Map([[WRITER, offers]]),
  }
}

/** The peer follows us and nobody else, and lacks a write of WRITER that we got 0 ms ago. */
function viewOf(changes: {
  readonly sources?: readonly string[] | null
  readonly ours?: readonly string[]
  readonly others?: readonly RelayNode[]
  readonly progress?: Progress
  readonly isSlow?: boolean
}): RelayView {
  const peer = node(PEER, changes.sources === undefined ? [SELF] : changes.sources)
  return {
    self: { actor: SELF, sources: new Set(changes.ours ?? [WRITER, A, Z]) },
    peer,
    peers: [peer, ...(changes.others ?? [])],
    progress: changes.progress ?? lacks(WRITER),
    isSlow: changes.isSlow ?? false,
    relayDelayMs: DELAY_MS,
  }
}

function lacks(...actors: readonly string[]): Progress {
  return { lacking: new Map(actors.map((actor) => [actor, { counter: 4, sinceMs: 0 }])), lagMs: 0 }
}

/** After how many milliseconds the peer is passed what it lacks. */
function waitOf(view: RelayView): number {
  const decision = decideRelay(view, 0)
  if (decision.type === 'rest') return Infinity
  return decision.type === 'wait' ? decision.untilMs : 0
}

describe('what a peer lacks', () => {
  test('goes at once when it follows nobody else', () => {
    expect(waitOf(viewOf({}))).toBe(0)
  })

  test('is left to the writer that the peer follows, until nothing comes from there', () => {
    const view = viewOf({ sources: [SELF, WRITER] })
    expect(waitOf(view)).toBe(RELAY_PATIENCE_MS)
    expect(decideRelay(view, RELAY_PATIENCE_MS)).toEqual({ type: 'pass-on' })
  })

  test('is pushed and not passed on when we wrote it, as long as the peer takes it', () => {
    const view = viewOf({ progress: lacks(SELF), sources: null })
    expect(waitOf(view)).toBe(RELAY_PATIENCE_MS)
  })

  test('waits where the peer has not said whom it follows', () => {
    expect(waitOf(viewOf({ sources: null }))).toBe(DELAY_MS)
  })

  test('is brought by one of several that have it from the writer, then by the next', () => {
    const near = [node(A, [WRITER, SELF, PEER]), node(Z, [WRITER, SELF, PEER])]
    expect(waitOf(viewOf({ sources: [A, SELF, Z], others: near }))).toBe(DELAY_MS)
    const [, z] = near
    expect(waitOf(viewOf({ sources: [SELF, Z], others: z === undefined ? [] : [z] }))).toBe(0)
  })

  test('is left to those that are nearer to the writer than we are', () => {
    const near = node(Z, [WRITER])
    expect(waitOf(viewOf({ sources: [SELF, Z], ours: [Z], others: [near] }))).toBe(DELAY_MS)
  })

  test('is left to the one that offered it to us, where nobody is near the writer', () => {
    const view = { sources: [SELF, Z], ours: [Z] }
    expect(waitOf(viewOf({ ...view, others: [node(Z, [], 5)] }))).toBe(DELAY_MS)
    expect(waitOf(viewOf({ ...view, others: [node(Z, [], 4)] }))).toBe(0)
  })

  test('does not wait for a node that the peer does not follow', () => {
    expect(waitOf(viewOf({ sources: [SELF], ours: [A], others: [node(A, [WRITER], 5)] }))).toBe(0)
  })

  test('waits a little for what comes by itself, since all of it would go', () => {
    const view = viewOf({ sources: [SELF, A], progress: lacks(WRITER, A) })
    expect(waitOf(view)).toBe(DELAY_MS)
  })

  test('does not wait for our own writes, which are on their way', () => {
    expect(waitOf(viewOf({ progress: lacks(WRITER, SELF) }))).toBe(0)
  })

  test('waits no longer than patience lasts, however many come before us', () => {
    const many = Array.from({ length: 50 }, (_, n) =>
      node(n.toString(16).padStart(32, '0'), [WRITER]),
    )
    const sources = [SELF, ...many.map(({ actor }) => actor ?? '')]
    expect(waitOf(viewOf({ sources, others: many }))).toBe(RELAY_PATIENCE_MS)
    const view = viewOf({ sources: [SELF, A], progress: lacks(WRITER, A) })
    expect(waitOf({ ...view, relayDelayMs: 60_000 })).toBe(RELAY_PATIENCE_MS)
  })

  test('is left to the writer for longer where it has come late before', () => {
    const sources = [SELF, WRITER]
    const late = (lagMs: number): Progress => ({ ...lacks(WRITER), lagMs })
    expect(waitOf(viewOf({ sources, progress: late(1_500) }))).toBe(3_000)
    expect(waitOf(viewOf({ sources, progress: late(60_000) }))).toBe(RELAY_PATIENCE_MS_MAX)
    expect(waitOf(viewOf({ progress: late(60_000) }))).toBe(0)
  })

  test('is left to the writer for longer while the peer is slow to take what we write', () => {
    const view = viewOf({ sources: [SELF, WRITER], isSlow: true })
    expect(decideRelay(view, 10 * RELAY_PATIENCE_MS)).toEqual({ type: 'rest' })
    expect(waitOf(viewOf({ isSlow: true }))).toBe(0)
  })

  test('is nothing when it lacks nothing', () => {
    expect(decideRelay(viewOf({ progress: NO_PROGRESS }), 0)).toEqual({ type: 'rest' })
  })
})

describe('how a peer fares', () => {
  const ours = new Map([
    [A, 7],
    [Z, 3],
  ])
  const first = progressOf(NO_PROGRESS, new Map([[A, 5]]), ours, 10)

  test('is what it lacks, since it was first behind', () => {
    expect(progressOf(first, new Map([[A, 5]]), ours, 30)).toEqual({
      lacking: new Map([
        [A, { counter: 5, sinceMs: 10 }],
        [Z, { counter: 0, sinceMs: 10 }],
      ]),
      lagMs: 0,
    })
  })

  test('begins anew with an actor of whose writes it got some', () => {
    const next = progressOf(first, new Map([[A, 6]]), ours, 30)
    expect(next.lacking.get(A)).toEqual({ counter: 6, sinceMs: 30 })
    expect(next.lacking.get(Z)?.sinceMs).toBe(10)
  })

  test('has a lag that grows at once and shrinks slowly', () => {
    const late = progressOf(first, new Map([[A, 7]]), ours, 4_010)
    expect(late.lagMs).toBe(4_000)
    expect(progressOf(late, ours, ours, 4_010).lagMs).toBe(4_000)
    const soon = { ...late, lacking: new Map([[A, { counter: 6, sinceMs: 5_000 }]]) }
    expect(progressOf(soon, ours, ours, 5_000)).toEqual({ lacking: new Map(), lagMs: 3_500 })
  })

  test('says nothing about other ways after something was passed on', () => {
    const anew = restartProgress(first, 9_000)
    expect(anew.lacking.get(A)).toEqual({ counter: 5, sinceMs: 9_000 })
    expect(progressOf(anew, ours, ours, 9_020).lagMs).toBe(20)
  })
})

function frame(caughtUp: boolean): Unacked {
  return { through: 9, changeCount: 1, caughtUp, holds: null }
}

describe('a sender', () => {
  const state = stateOf({ head: 9, versionVector: new Map([[A, 7]]) })
  const atRest: SendSession = {
    ...createSender({ peer: 'ab'.repeat(32), shardId: null }),
    phase: 'caughtUp',
    known: new Map([[A, 7]]),
    sentThrough: 9,
  }
  test('has said all once it sent all, and its vector', () => {
    expect(isFullyAnnounced(atRest, state)).toBe(true)
    expect(isFullyAnnounced({ ...atRest, sentThrough: 8 }, state)).toBe(false)
    const unsaid = { ...atRest, known: new Map() }
    expect(isFullyAnnounced(unsaid, state)).toBe(false)
    expect(isFullyAnnounced({ ...unsaid, announced: new Map([[A, 7]]) }, state)).toBe(true)
  })

  test('passes on one lot at a time', () => {
    expect(isUnderWay(atRest)).toBe(false)
    expect(isUnderWay({ ...atRest, unacked: [frame(false)] })).toBe(false)
    expect(isUnderWay({ ...atRest, unacked: [frame(true)] })).toBe(true)
    expect(isUnderWay({ ...atRest, behind: 'all' })).toBe(true)
    for (const phase of ['reading', 'waiting', 'inspecting', 'absent', 'closed'] as const) {
      expect(isUnderWay({ ...atRest, phase })).toBe(true)
    }
  })

  test('finds a peer slow that lets our own writes wait', () => {
    const some = Array.from({ length: PUSHES_UNACKED_MAX - 1 }, () => frame(false))
    expect(isSlow({ ...atRest, unacked: some })).toBe(false)
    expect(isSlow({ ...atRest, unacked: [...some, frame(false)] })).toBe(true)
  })
})
