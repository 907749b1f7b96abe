/**
 * Golden bytes: frames as version 1 of the protocol writes them. A change of these files is a change
 * of the protocol; `UPDATE_VECTORS=1 npx vitest run …/vectors.test.ts` writes them anew.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { decodeDelta } from '../../../../src/sync/wire/delta-decode.ts'
import { type Delta, encodeDelta } from '../../../../src/sync/delta.ts'
import {
  type ControlFrame,
  decodeFrame,
  encodeFrame,
} from '../../../../src/sync/wire/control-frames.ts'
import { ACTOR_A, ACTOR_B, changeOf, dotOf, put, tombstone } from '../changes.ts'

const FOLDER = join(import.meta.dirname, '../../../vectors/v1')
const LOG_ID = '0f'.repeat(16)
const VECTOR = new Map([
  [ACTOR_A, 300],
  [ACTOR_B, 1],
])

const CONTROL: Readonly<Record<string, ControlFrame>> = {
  hello: { type: 'hello', nodeId: 'node-1', actor: ACTOR_A },
  'subscribe-first': {
    type: 'subscribe',
    shardId: 'notes',
    shard: null,
    logId: null,
    cursor: 0,
    versionVector: new Map(),
    live: false,
    uncovered: new Map(),
  },
  'subscribe-again': {
    type: 'subscribe',
    shardId: 'notes',
    shard: { dimension: 384, metric: 'cosine', modelId: 'some-model' },
    logId: LOG_ID,
    cursor: 2 ** 33,
    versionVector: VECTOR,
    live: true,
    uncovered: new Map(),
  },
  'subscribe-ahead': {
    type: 'subscribe',
    shardId: 'notes',
    shard: { dimension: 384, metric: 'cosine', modelId: 'some-model' },
    logId: LOG_ID,
    cursor: 7,
    versionVector: new Map(),
    live: false,
    uncovered: VECTOR,
  },
  welcome: {
    type: 'welcome',
    nodeId: 'node-2',
    actor: ACTOR_B,
    logId: LOG_ID,
    shard: { dimension: 128, metric: 'l2', modelId: null },
    cursor: 70_000,
  },
  'welcome-absent': {
    type: 'welcome',
    nodeId: 'node-2',
    actor: ACTOR_B,
    logId: LOG_ID,
    shard: null,
    cursor: 0,
  },
  'caught-up': {
    type: 'caughtUp',
    head: 70_001,
    versionVector: VECTOR,
    digest: '0123456789abcdef',
    recordCount: 301,
    gcFloor: new Map(),
    uncovered: new Map(),
  },
  'caught-up-floor': {
    type: 'caughtUp',
    head: 70_001,
    versionVector: VECTOR,
    digest: null,
    recordCount: 301,
    gcFloor: new Map([[ACTOR_B, 7]]),
    uncovered: new Map(),
  },
  'caught-up-ahead': {
    type: 'caughtUp',
    head: 70_001,
    versionVector: VECTOR,
    digest: '0123456789abcdef',
    recordCount: 301,
    gcFloor: new Map(),
    uncovered: new Map([[ACTOR_B, 9]]),
  },
  need: { type: 'need', ids: ['first', 'Grüße'] },
  compare: {
    type: 'compare',
    ranges: [
      { from: '', to: 'm' },
      { from: 'm', to: null },
    ],
  },
  ranges: {
    type: 'ranges',
    answers: [
      { type: 'list', records: [{ id: 'first', hash: '0123456789abcdef' }] },
      {
        type: 'parts',
        parts: [
          { to: 's', count: 17, digest: '00000000000000aa' },
          { to: null, count: 300, digest: '00000000000000bb' },
        ],
      },
    ],
  },
  'ack-batch': { type: 'ack', cursor: 100, versionVector: null },
  'ack-caught-up': { type: 'ack', cursor: 70_001, versionVector: VECTOR },
  error: { type: 'error', code: 'SYNC_SHARD_MISMATCH', message: 'dimension is 3 and 4' },
  done: { type: 'done' },
  invite: { type: 'invite', shardId: 'notes', live: false },
  'invite-live': { type: 'invite', shardId: 'notes', live: true },
  ahead: { type: 'push', versionVector: VECTOR },
  holds: { type: 'holds', versionVector: VECTOR },
  'holds-sources': { type: 'holds', versionVector: new Map(), sources: [ACTOR_A, ACTOR_B] },
  ping: { type: 'ping', nonce: 1 },
  pong: { type: 'pong', nonce: 1 },
}

const DELTA: Delta = {
  through: 12,
  changes: [
    changeOf('first', [put(dotOf(ACTOR_A, 1), { text: 'Grüße' })]),
    changeOf(
      'second',
      [
        put(dotOf(ACTOR_A, 3), { embedding: null, embeddingDot: dotOf(ACTOR_A, 2) }),
        tombstone(dotOf(ACTOR_B, 9)),
      ],
      new Map([
        [ACTOR_A, 3],
        [ACTOR_B, 9],
        ['cc'.repeat(16), 4],
      ]),
    ),
  ],
}

function golden(name: string, bytes: Uint8Array): Uint8Array {
  const path = join(FOLDER, `${name}.hex`)
  if (process.env['UPDATE_VECTORS'] === '1') {
    const lines =
      Buffer.from(bytes)
        .toString('hex')
        .match(/.{1,64}/g) ?? []
    writeFileSync(path, `${lines.join('\n')}\n`)
  }
  return new Uint8Array(Buffer.from(readFileSync(path, 'utf8').replaceAll('\n', ''), 'hex'))
}

describe('golden bytes of protocol version 1', () => {
  test.each(Object.entries(CONTROL))('%s', (name, frame) => {
    const bytes = golden(name, encodeFrame(frame))

    expect(Buffer.from(encodeFrame(frame)).toString('hex')).toBe(Buffer.from(bytes).toString('hex'))
    expect(decodeFrame(bytes)).toEqual(frame)
  })

  test('delta-two-changes', () => {
    const bytes = golden('delta-two-changes', encodeDelta(DELTA, 3))

    expect(Buffer.from(encodeDelta(DELTA, 3)).toString('hex')).toBe(
      Buffer.from(bytes).toString('hex'),
    )
    expect(decodeDelta(bytes, 3)).toEqual(DELTA)
  })
})
