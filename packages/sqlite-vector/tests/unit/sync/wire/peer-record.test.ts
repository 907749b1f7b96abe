/**
 * Peer records and the frames that carry them: round trips, limits, and decoding that is total.
 */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { SqliteVectorError } from '../../../../src/errors.ts'
import {
  PEER_RECORD_BYTES_MAX,
  PEER_RECORD_SHARDS_MAX,
  PEER_RECORDS_PER_FRAME_MAX,
} from '../../../../src/limits.ts'
import {
  decodeMembers,
  encodeMembers,
  isMembersFrame,
} from '../../../../src/sync/wire/members-frame.ts'
import {
  decodeRecord,
  decodeStatement,
  encodeRecord,
  encodeStatement,
  PEER_RECORD_CONTEXT,
  type PeerStatement,
  shardTag,
} from '../../../../src/sync/wire/peer-record.ts'
import { decodeFrame } from '../../../../src/sync/wire/control-frames.ts'
import { createIdentity } from '../../../../src/transport/identity/identity.ts'
import { statementSigner } from '../../../../src/transport/identity/signed-statement.ts'
import { X509Certificate } from 'node:crypto'

const STATEMENT: PeerStatement = {
  nodeId: 'node-1',
  address: '[::1]:4433',
  status: 'offline',
  sequence: 1_700_000_000_000,
  shards: [shardTag('a'), shardTag('b')],
}

function codeOf(fn: () => unknown): string | null {
  try {
    fn()
    return null
  } catch (error) {
    if (error instanceof SqliteVectorError) return error.code
    throw error
  }
}

test('statements and records survive the way through bytes', () => {
  for (const shards of [STATEMENT.shards, [], null]) {
    expect(decodeStatement(encodeStatement({ ...STATEMENT, shards }))).toEqual({
      ...STATEMENT,
      shards,
    })
  }
  const given = { ...STATEMENT, address: null }
  expect(decodeStatement(encodeStatement(given))).toEqual(given)
  const signed = {
    statement: encodeStatement(STATEMENT),
    certificate: Uint8Array.of(1, 2),
    signature: Uint8Array.of(3),
  }
  const decoded = decodeRecord(encodeRecord(signed))
  expect([...decoded.statement]).toEqual([...signed.statement])
  expect([...decoded.certificate]).toEqual([1, 2])
})

test('a record with the most shards and a real certificate fits', () => {
  const identity = createIdentity({ nodeId: 'n'.repeat(64) })
  const shards = Array.from({ length: PEER_RECORD_SHARDS_MAX }, (_, index) => shardTag(`${index}`))
  const statement = encodeStatement({ ...STATEMENT, shards })
  const certificate = new X509Certificate(identity.certificatePem).raw
  const signature = identity.sign(PEER_RECORD_CONTEXT, statement)
  const bytes = encodeRecord({ statement, certificate, signature })

  expect(bytes.byteLength).toBeLessThanOrEqual(PEER_RECORD_BYTES_MAX)
  expect(decodeStatement(decodeRecord(bytes).statement).shards).toEqual(shards)
  const over = encodeStatement({ ...STATEMENT, shards: [...shards, shardTag('one more')] })
  expect(codeOf(() => decodeStatement(over))).toBe('SYNC_FRAME_CORRUPT')
})

test('only the holder of the certificate’s key signs, and only for one purpose', () => {
  const [mine, other] = [createIdentity(), createIdentity()]
  const statement = encodeStatement(STATEMENT)
  const certificate = new X509Certificate(mine.certificatePem).raw
  const signer = (signature: Uint8Array, context = PEER_RECORD_CONTEXT): string | null =>
    statementSigner(certificate, context, statement, signature)

  expect(signer(mine.sign(PEER_RECORD_CONTEXT, statement))).toBe(mine.fingerprint)
  expect(signer(other.sign(PEER_RECORD_CONTEXT, statement))).toBeNull()
  expect(signer(mine.sign('something else', statement))).toBeNull()
  expect(signer(new Uint8Array(64))).toBeNull()
  expect(signer(new Uint8Array(3))).toBeNull()
  expect(
    statementSigner(Uint8Array.of(1), PEER_RECORD_CONTEXT, statement, new Uint8Array(64)),
  ).toBe(null)
})

test('many records go in several frames, of which the last asks', () => {
  const records = Array.from({ length: PEER_RECORDS_PER_FRAME_MAX + 1 }, (_, index) =>
    Uint8Array.of(index),
  )
  const frames = encodeMembers(records, true)

  expect(frames.map((frame) => decodeMembers(frame).asks)).toEqual([false, true])
  expect(frames.every(isMembersFrame)).toBe(true)
  expect(frames.flatMap((frame) => decodeMembers(frame).records.map((one) => [...one]))).toEqual(
    records.map((one) => [...one]),
  )
  expect(decodeMembers(encodeMembers([], true)[0] as Uint8Array)).toEqual({
    records: [],
    asks: true,
  })
})

test('too large a record and too many records are refused, and MEMBERS is no other frame', () => {
  const large = new Uint8Array(PEER_RECORD_BYTES_MAX + 1)
  expect(codeOf(() => decodeMembers(encodeMembers([large], false)[0] as Uint8Array))).toBe(
    'SYNC_FRAME_CORRUPT',
  )
  expect(codeOf(() => decodeRecord(large))).toBe('SYNC_FRAME_CORRUPT')
  expect(codeOf(() => decodeFrame(encodeMembers([], false)[0] as Uint8Array))).toBe(
    'SYNC_FRAME_CORRUPT',
  )
})

test('any bytes are decoded or refused by name', () => {
  const whole = encodeMembers([encodeStatement(STATEMENT)], true)[0] as Uint8Array
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(whole.byteLength - 1),
      fc.nat(255),
      (noise, at, value) => {
        const flipped = whole.slice()
        flipped[at] = value
        for (const bytes of [noise, flipped, whole.subarray(0, at)]) {
          for (const decode of [decodeMembers, decodeRecord, decodeStatement]) {
            expect([null, 'SYNC_FRAME_CORRUPT', 'SYNC_PROTOCOL_VERSION']).toContain(
              codeOf(() => decode(bytes)),
            )
          }
        }
      },
    ),
  )
})
