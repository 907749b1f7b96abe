/**
 * A peer that says what no node would: frames of its choice over a connection that proves its identity. No tests here.
 */
import { EMPTY_VECTOR } from '../../src/model/version-vector.ts'
import type { ActorId, Change, VersionVector } from '../../src/model/types.ts'
import { SqliteVectorError } from '../../src/errors.ts'
import { encodeDelta } from '../../src/sync/delta.ts'
import {
  type CaughtUpFrame,
  type ControlFrame,
  decodeFrame,
  encodeFrame,
  type SubscribeFrame,
} from '../../src/sync/wire/control-frames.ts'
import { FRAME_TYPES } from '../../src/sync/wire/frame.ts'
import type { Channel, Connection } from '../../src/transport/types.ts'
import { SHARD } from '../live/live-nodes.ts'

export const LIAR_LOG = 'ee'.repeat(16)
export const LIAR_ACTOR = 'ab'.repeat(16)

/** A frame that a node sent: its type, and its content where it is a control frame. */
export interface Heard {
  readonly type: string
  readonly frame: ControlFrame | null
}

export function hello(actor: ActorId = LIAR_ACTOR, nodeId = 'liar'): ControlFrame {
  return { type: 'hello', nodeId, actor }
}

export function subscribe(claims: Partial<SubscribeFrame> = {}): ControlFrame {
  return {
    type: 'subscribe',
    shardId: SHARD,
    shard: null,
    logId: null,
    cursor: 0,
    versionVector: EMPTY_VECTOR,
    uncovered: EMPTY_VECTOR,
    live: false,
    ...claims,
  }
}

export function welcome(actor: ActorId = LIAR_ACTOR): ControlFrame {
  const shard = { dimension: 1, metric: 'l2', modelId: null } as const
  return { type: 'welcome', nodeId: 'liar', actor, logId: LIAR_LOG, shard, cursor: 0 }
}

export function caughtUp(
  head: number,
  versionVector: VersionVector,
  rest: Partial<CaughtUpFrame> = {},
): ControlFrame {
  return {
    type: 'caughtUp',
    head,
    versionVector,
    digest: null,
    recordCount: 0,
    gcFloor: EMPTY_VECTOR,
    uncovered: EMPTY_VECTOR,
    ...rest,
  }
}

/** A record of one put, as a liar may forge it. */
export function forged(id: string, actor: ActorId, counter: number): Change {
  const dot = { actor, counter }
  const value = { embedding: new Float32Array([7]), embeddingDot: dot, metadata: '{}', text: null }
  return { id, siblings: [{ dot, stamp: { ms: 1, logical: 0 }, value }], context: null }
}

export function batch(through: number, changes: readonly Change[]): Uint8Array {
  return encodeDelta({ through, changes }, 1)
}

export function records(changes: readonly Change[]): Uint8Array {
  return encodeDelta({ through: 0, changes }, 1, 'records')
}

/** The next frame; null at the end of the channel, however it ended. */
export async function hear(channel: Channel, deadlineMs = 5_000): Promise<Heard | null> {
  try {
    const bytes = await channel.receive({ signal: AbortSignal.timeout(deadlineMs) })
    if (bytes === null) return null
    if (bytes[0] === FRAME_TYPES.batch) return { type: 'batch', frame: null }
    if (bytes[0] === FRAME_TYPES.records) return { type: 'records', frame: null }
    const frame = decodeFrame(bytes)
    return { type: frame.type, frame }
  } catch (error) {
    if (error instanceof SqliteVectorError) return null
    throw error
  }
}

/** Opens a channel, sends `frames`, and returns what the node answers until `type` comes or the channel ends. */
export async function say(
  connection: Connection,
  frames: readonly (ControlFrame | Uint8Array)[],
  last = 'caughtUp',
): Promise<readonly Heard[]> {
  const channel = await connection.openChannel()
  for (const frame of frames) await send(channel, frame)
  const heard: Heard[] = []
  for (;;) {
    const next = await hear(channel)
    if (next === null) break
    heard.push(next)
    if (next.type === last || next.type === 'error') break
  }
  channel.abort('enough')
  return heard
}

/** Invites the node to pull, and plays the sender that `answer` describes. Resolves once the node leaves. */
export async function serveLies(
  connection: Connection,
  answer: (heard: Heard) => readonly (ControlFrame | Uint8Array)[],
  live = false,
): Promise<readonly Heard[]> {
  const channel = await connection.openChannel()
  await send(channel, { type: 'invite', shardId: SHARD, live })
  const heard: Heard[] = []
  for (;;) {
    const next = await hear(channel)
    if (next === null) break
    heard.push(next)
    if (next.type === 'done' || next.type === 'error') break
    for (const frame of answer(next)) await send(channel, frame)
  }
  channel.abort('enough')
  return heard
}

async function send(channel: Channel, frame: ControlFrame | Uint8Array): Promise<void> {
  try {
    await channel.send(frame instanceof Uint8Array ? frame : encodeFrame(frame))
  } catch (error) {
    // The node gave the channel up: what it said before that is still to be read.
    if (!(error instanceof SqliteVectorError)) throw error
  }
}
