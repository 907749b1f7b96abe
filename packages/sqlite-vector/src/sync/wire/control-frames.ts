/**
 * Protocol: the frames that carry no records, as bytes and back. Pure; decides nothing
 * (session/step.ts does). BATCH, which carries records, is delta.ts; what all frames begin with is
 * frame.ts.
 *
 * One channel serves one shard in one direction. Each body is a MessagePack array; a decoder
 * ignores values beyond those it knows, so a later release may append some.
 *
 * | frame     | sent by | values |
 * | --------- | ------- | -------- |
 * | HELLO     | puller  | node id, actor, sum of the numbers of codecs that it reads (optional) |
 * | SUBSCRIBE | puller  | shard id, descriptor, log id, cursor, vector, live, uncovered |
 * | WELCOME   | sender  | node id, actor, log id, descriptor, cursor that reading begins at |
 * | CAUGHT_UP | sender  | head, vector, digest or nil, records, floor, uncovered (optional) |
 * | ACK       | puller  | cursor, version vector or nil (given in answer to CAUGHT_UP) |
 * | DONE      | puller  | none: the subscription ends |
 * | ERROR     | either  | number of the code, message; nothing follows |
 * | INVITE    | opener  | shard id, live (optional): subscribe to this shard on this channel |
 * | PUSH      | sender  | the sender's own counter, to join with the next BATCH, which is a push |
 * | HOLDS     | puller  | news of the puller's vector; actors that it follows (optional) |
 * | NEED      | puller  | ids of records: answered by RECORDS, whole, as many as fit, in order |
 * | COMPARE   | puller  | ranges of ids, each from (included) and to (not included; nil: the end) |
 * | RANGES    | sender  | per range: its parts (to, records, digest), or its records (id, digest) |
 * | PING      | opener  | nonce; answered by PONG with the same, on a channel of its own |
 *
 * Actors and log ids are 16 bytes, digests 8; version vectors as in version-vector.ts; a descriptor
 * is the array dimension, metric (1 cosine, 2 l2, 3 dot), model id or nil. Decoding is total: any
 * bytes give a frame or `SYNC_FRAME_CORRUPT`, `SYNC_FRAME_TOO_LARGE`, `SYNC_PROTOCOL_VERSION`, at a
 * cost within the bytes' length.
 */
import { unreachable } from '../../assert.ts'
import { bytesToHex, hexToBytes } from '../../bytes.ts'
import { isErrorCode, SqliteVectorError, type ErrorCode } from '../../errors.ts'
import {
  CONTROL_FRAME_BYTES_MAX,
  DIMENSION_MAX,
  ID_BYTES_MAX,
  MODEL_ID_BYTES_MAX,
  NEED_IDS_MAX,
  NODE_ID_BYTES_MAX,
  RANGE_LEAF_RECORDS,
  RANGE_PARTS,
  RANGES_ASKED_MAX,
  SHARD_ID_BYTES_MAX,
  SOURCES_MAX,
} from '../../limits.ts'
import { corrupt, FRAME_HEAD_BYTES, openFrame, sealFrame, type FrameType } from './frame.ts'
import {
  bytesField,
  decodeArray,
  encodeArray,
  integerField,
  textField,
  type HeaderValue,
} from './messagepack.ts'
import type { ActorId, VersionVector } from '../../model/types.ts'
import { decodeVector, EMPTY_VECTOR, encodeVector } from '../../model/version-vector.ts'
import { type IdRange, type RangeAnswer } from '../../store/replica/types.ts'
import { type Metric } from '../../model/records.ts'
import { isTextAnalysis } from '../../search/text-analysis.ts'

/** The properties of a shard that two peers must share. */
export interface ShardDescriptor {
  readonly dimension: number
  readonly metric: Metric
  readonly modelId: string | null
  /** Tokenizer of the texts; left out: `words`, and from releases that know no other. */
  readonly text?: string
}

/** The part of a shard that two peers must have in common. */
export function descriptorOf({
  dimension,
  metric,
  modelId,
  text,
}: ShardDescriptor): ShardDescriptor {
  return { dimension, metric, modelId, ...(text === undefined ? {} : { text }) }
}

/** The puller's identity. */
export interface HelloFrame {
  readonly type: 'hello'
  readonly nodeId: string
  readonly actor: ActorId
  /** Sum of the numbers of the codecs that the puller can read (codecs.ts). Left out: none. */
  readonly codecs?: number
}

/** The puller's request. */
export interface SubscribeFrame {
  readonly type: 'subscribe'
  readonly shardId: string
  /** null while the puller has no such shard and takes the sender's. */
  readonly shard: ShardDescriptor | null
  /** The feed that `cursor` belongs to; null for none. */
  readonly logId: string | null
  readonly cursor: number
  readonly versionVector: VersionVector
  /** True to go on after CAUGHT_UP. */
  readonly live: boolean
  /**
   * Writes that the puller holds beyond its version vector: not skipped, but their dots are taken.
   */
  readonly uncovered: VersionVector
}

/** The sender's answer. */
export interface WelcomeFrame {
  readonly type: 'welcome'
  readonly nodeId: string
  readonly actor: ActorId
  readonly logId: string
  /** null when the sender has no such shard for this peer. */
  readonly shard: ShardDescriptor | null
  /** The cursor that reading begins at: the puller's when it was honoured, else 0. */
  readonly cursor: number
}

/** Everything up to `head` was sent or skipped. */
export interface CaughtUpFrame {
  readonly type: 'caughtUp'
  readonly head: number
  readonly versionVector: VersionVector
  /** 16 hexadecimal digits; null while the sender holds writes beyond the version vector. */
  readonly digest: string | null
  readonly recordCount: number
  /** The sender's floor: writes whose deletes it has forgotten. */
  readonly gcFloor: VersionVector
  /** Writes that the sender holds beyond its version vector; left out when empty. */
  readonly uncovered: VersionVector
}

/** Records to be sent whole, by id. */
export interface NeedFrame {
  readonly type: 'need'
  readonly ids: readonly string[]
}

/** A question about the sender's records of these ranges. */
export interface CompareFrame {
  readonly type: 'compare'
  readonly ranges: readonly IdRange[]
  /** By what was written, not only by names. */
  readonly payloads?: boolean
}

/** The answers to COMPARE, in its order. */
export interface RangesFrame {
  readonly type: 'ranges'
  readonly answers: readonly RangeAnswer[]
}

/** Committed up to `cursor`. */
export interface AckFrame {
  readonly type: 'ack'
  readonly cursor: number
  readonly versionVector: VersionVector | null
}

/** The other side gives up. */
export interface ErrorFrame {
  readonly type: 'error'
  readonly code: ErrorCode
  readonly message: string
}

/** The puller wants no more. */
export interface DoneFrame {
  readonly type: 'done'
}

/** The opener of the channel asks the other side to subscribe on it. */
export interface InviteFrame {
  readonly type: 'invite'
  readonly shardId: string
  /** True for a subscription that goes on after CAUGHT_UP. */
  readonly live: boolean
}

/**
 * The next BATCH holds writes of the sender's own, ahead of relayed ones that lie before them in
 * its feed: its `through` is the cursor as it was. After it the vector may be joined.
 */
export interface PushFrame {
  readonly type: 'push'
  readonly versionVector: VersionVector
}

/** The puller holds this too, so it need not be sent. Only news since the last such frame. */
export interface HoldsFrame {
  readonly type: 'holds'
  readonly versionVector: VersionVector
  /**
   * Actors whose feeds the puller follows live, in order; each pushes its own writes. Left out when
   * that is as it was said last.
   */
  readonly sources?: readonly ActorId[]
}

/** A sign of life; `pong` answers `ping`. */
export interface PingFrame {
  readonly type: 'ping' | 'pong'
  readonly nonce: number
}

/** Every frame but BATCH and RECORDS. */
export type ControlFrame =
  | HelloFrame
  | SubscribeFrame
  | WelcomeFrame
  | CaughtUpFrame
  | AckFrame
  | ErrorFrame
  | DoneFrame
  | InviteFrame
  | PushFrame
  | HoldsFrame
  | NeedFrame
  | CompareFrame
  | RangesFrame
  | PingFrame

/** Longest message of an ERROR, in UTF-16 units; the rest is cut. */
const MESSAGE_UNITS_MAX = 500

const METRICS: readonly Metric[] = ['cosine', 'l2', 'dot']

const REMOTE_FAILED_NUMBER = 8

/** Codes that travel, by number. A failure of another kind travels as SYNC_REMOTE_FAILED. */
export const WIRE_ERROR_NUMBERS: Readonly<Partial<Record<ErrorCode, number>>> = {
  SYNC_FRAME_CORRUPT: 1,
  SYNC_FRAME_TOO_LARGE: 2,
  SYNC_PROTOCOL_VERSION: 3,
  SYNC_PROTOCOL_VIOLATION: 4,
  SYNC_SHARD_UNKNOWN: 5,
  SYNC_SHARD_MISMATCH: 6,
  SYNC_DIVERGED: 7,
  SYNC_REMOTE_FAILED: REMOTE_FAILED_NUMBER,
  SYNC_CLOSED: 9,
  SYNC_IDENTITY_RENEWED: 10,
  SYNC_ALREADY_LIVE: 15,
  SYNC_FORBIDDEN: 16,
  SYNC_IDENTITY_DOUBTED: 17,
  SYNC_SESSION_LIMIT: 18,
}

const CODE_BY_NUMBER = new Map<number, ErrorCode>(
  Object.entries(WIRE_ERROR_NUMBERS).map(([code, number]) => [number, code as ErrorCode]),
)

/** The bytes of `frame`. */
export function encodeFrame(frame: ControlFrame): Uint8Array {
  const body = encodeArray(bodyOf(frame))
  const bytes = new Uint8Array(FRAME_HEAD_BYTES + body.byteLength)
  bytes.set(body, FRAME_HEAD_BYTES)
  return sealFrame(frame.type, bytes)
}

/**
 * The frame that `bytes` are, BATCH excepted.
 * @throws `SYNC_FRAME_CORRUPT`, `SYNC_FRAME_TOO_LARGE`, `SYNC_PROTOCOL_VERSION`
 */
export function decodeFrame(bytes: Uint8Array): ControlFrame {
  if (bytes.byteLength > CONTROL_FRAME_BYTES_MAX) {
    throw new SqliteVectorError(
      'SYNC_FRAME_TOO_LARGE',
      `a frame of ${bytes.byteLength} bytes that carries no records; at most ${CONTROL_FRAME_BYTES_MAX}`,
    )
  }
  const type = openFrame(bytes)
  if (type === 'batch' || type === 'records' || type === 'members') {
    throw corrupt(`${type.toUpperCase()} where another frame is due`)
  }
  const { values, end } = decodeArray(bytes, FRAME_HEAD_BYTES, BODY_VALUES[type])
  if (end !== bytes.byteLength) throw corrupt('bytes after the body')
  return BODY_READERS[type](values)
}

/** How a failure of ours is told to the peer: never a path or another's data. */
export function errorToFrame(error: unknown): ErrorFrame {
  if (error instanceof SqliteVectorError) {
    if (error.code in WIRE_ERROR_NUMBERS) {
      return { type: 'error', code: error.code, message: error.message }
    }
    return { type: 'error', code: 'SYNC_REMOTE_FAILED', message: `failed with ${error.code}` }
  }
  return { type: 'error', code: 'SYNC_REMOTE_FAILED', message: 'failed unexpectedly' }
}

/**
 * A peer's ERROR as an error here. A peer that closes may come back, so that is not our
 * SYNC_CLOSED.
 */
export function frameToError(frame: ErrorFrame): SqliteVectorError {
  if (frame.code === 'SYNC_CLOSED') {
    return new SqliteVectorError('SYNC_REMOTE_FAILED', `the peer closes: ${frame.message}`)
  }
  return new SqliteVectorError(frame.code, `the peer reports: ${frame.message}`)
}

function bodyOf(frame: ControlFrame): readonly HeaderValue[] {
  switch (frame.type) {
    case 'hello':
      return frame.codecs === undefined
        ? [frame.nodeId, hexField(frame.actor)]
        : [frame.nodeId, hexField(frame.actor), frame.codecs]
    case 'subscribe':
      return [
        frame.shardId,
        descriptorField(frame.shard),
        frame.logId === null ? null : hexField(frame.logId),
        frame.cursor,
        encodeVector(frame.versionVector),
        frame.live,
        ...(frame.uncovered.size === 0 ? [] : [encodeVector(frame.uncovered)]),
      ]
    case 'welcome':
      return [
        frame.nodeId,
        hexField(frame.actor),
        hexField(frame.logId),
        descriptorField(frame.shard),
        frame.cursor,
      ]
    case 'caughtUp':
      return [
        frame.head,
        encodeVector(frame.versionVector),
        frame.digest === null ? null : hexField(frame.digest),
        frame.recordCount,
        ...caughtUpVectors(frame),
      ]
    case 'ack':
      return [frame.cursor, frame.versionVector === null ? null : encodeVector(frame.versionVector)]
    case 'error':
      return [
        WIRE_ERROR_NUMBERS[frame.code] ?? REMOTE_FAILED_NUMBER,
        frame.message.slice(0, MESSAGE_UNITS_MAX).toWellFormed(),
      ]
    case 'done':
      return []
    case 'invite':
      return frame.live ? [frame.shardId, true] : [frame.shardId]
    case 'push':
      return [encodeVector(frame.versionVector)]
    case 'holds':
      return [
        encodeVector(frame.versionVector),
        ...(frame.sources === undefined ? [] : [hexField(frame.sources.join(''))]),
      ]
    case 'need':
      return [frame.ids]
    case 'compare':
      return [
        frame.ranges.map(({ from, to }) => [from, to]),
        ...(frame.payloads === undefined ? [] : [frame.payloads]),
      ]
    case 'ranges':
      return [frame.answers.map(answerField)]
    case 'ping':
    case 'pong':
      return [frame.nonce]
    default:
      return unreachable(frame)
  }
}

type ControlType = Exclude<FrameType, 'batch' | 'records' | 'members'>

/** Values that the body of each frame has at least. */
const BODY_VALUES: Readonly<Record<ControlType, number>> = {
  hello: 2,
  subscribe: 6,
  welcome: 5,
  caughtUp: 4,
  ack: 2,
  error: 2,
  done: 0,
  invite: 1,
  push: 1,
  holds: 1,
  need: 1,
  compare: 1,
  ranges: 1,
  ping: 1,
  pong: 1,
}

type Values = readonly HeaderValue[]

const BODY_READERS: Readonly<Record<ControlType, (values: Values) => ControlFrame>> = {
  hello: ([nodeId, actor, codecs]) => ({
    type: 'hello',
    nodeId: nameField(nodeId, NODE_ID_BYTES_MAX, 'node id'),
    actor: readHex(actor, 16, 'actor'),
    ...(codecs === undefined ? {} : { codecs: positionField(codecs, 'codecs') }),
  }),
  subscribe: ([shardId, shard, logId, cursor, vector, live, uncovered]) => ({
    type: 'subscribe',
    shardId: nameField(shardId, SHARD_ID_BYTES_MAX, 'shard id'),
    shard: readDescriptor(shard),
    logId: logId === null ? null : readHex(logId, 16, 'log id'),
    cursor: positionField(cursor, 'cursor'),
    versionVector: readVector(vector),
    live: booleanField(live, 'live'),
    uncovered: uncovered === undefined ? EMPTY_VECTOR : readVector(uncovered),
  }),
  welcome: ([nodeId, actor, logId, shard, cursor]) => ({
    type: 'welcome',
    nodeId: nameField(nodeId, NODE_ID_BYTES_MAX, 'node id'),
    actor: readHex(actor, 16, 'actor'),
    logId: readHex(logId, 16, 'log id'),
    shard: readDescriptor(shard),
    cursor: positionField(cursor, 'cursor'),
  }),
  caughtUp: ([head, vector, digest, recordCount, gcFloor, uncovered]) => ({
    type: 'caughtUp',
    head: positionField(head, 'head'),
    versionVector: readVector(vector),
    digest: digest === null ? null : readHex(digest, 8, 'digest'),
    recordCount: positionField(recordCount, 'number of records'),
    gcFloor: gcFloor === undefined ? EMPTY_VECTOR : readVector(gcFloor),
    uncovered: uncovered === undefined ? EMPTY_VECTOR : readVector(uncovered),
  }),
  ack: ([cursor, vector]) => ({
    type: 'ack',
    cursor: positionField(cursor, 'cursor'),
    versionVector: vector === null ? null : readVector(vector),
  }),
  error: ([number, message]) => readError(number, message),
  done: () => ({ type: 'done' }),
  invite: ([shardId, live]) => ({
    type: 'invite',
    shardId: nameField(shardId, SHARD_ID_BYTES_MAX, 'shard id'),
    live: live === undefined ? false : booleanField(live, 'live'),
  }),
  push: ([vector]) => ({ type: 'push', versionVector: readVector(vector) }),
  holds: ([vector, sources]) => ({
    type: 'holds',
    versionVector: readVector(vector),
    ...(sources === undefined ? {} : { sources: readActors(sources) }),
  }),
  need: ([ids]) => ({
    type: 'need',
    ids: listField(ids, NEED_IDS_MAX, 'ids').map((id) => nameField(id, ID_BYTES_MAX, 'id')),
  }),
  compare: ([ranges, payloads]) => ({
    type: 'compare',
    ranges: listField(ranges, RANGES_ASKED_MAX, 'ranges').map(readRange),
    ...(payloads === undefined ? {} : { payloads: booleanField(payloads, 'payloads') }),
  }),
  ranges: ([answers]) => ({
    type: 'ranges',
    answers: listField(answers, RANGES_ASKED_MAX, 'answers').map(readAnswer),
  }),
  ping: ([nonce]) => ({ type: 'ping', nonce: positionField(nonce, 'nonce') }),
  pong: ([nonce]) => ({ type: 'pong', nonce: positionField(nonce, 'nonce') }),
}

type Field = HeaderValue | undefined

/** A number that a later release uses is not a reason to fail on: the message says what it is. */
function readError(number: Field, message: Field): ErrorFrame {
  const code = CODE_BY_NUMBER.get(integerField(number, 0, 65_535, 'number of the error'))
  return {
    type: 'error',
    code: isErrorCode(code) ? code : 'SYNC_REMOTE_FAILED',
    message: textField(message, MESSAGE_UNITS_MAX * 3, 'message'),
  }
}

function readDescriptor(value: Field): ShardDescriptor | null {
  if (value === null) return null
  if (!Array.isArray(value) || value.length < 3) throw corrupt('no descriptor of a shard')
  const [dimension, metric, modelId, text] = value as Values
  if (text !== undefined && !isTextAnalysis(text)) throw corrupt('a tokenizer that is not known')
  const name = METRICS[integerField(metric, 1, METRICS.length, 'metric') - 1]
  return {
    dimension: integerField(dimension, 1, DIMENSION_MAX, 'dimension'),
    metric: name as Metric,
    modelId: modelId === null ? null : nameField(modelId, MODEL_ID_BYTES_MAX, 'model id'),
    ...(text === undefined ? {} : { text }),
  }
}

/** The floor and what is uncovered: from the end, empty ones are left out. */
function caughtUpVectors({ gcFloor, uncovered }: CaughtUpFrame): HeaderValue[] {
  if (uncovered.size > 0) return [encodeVector(gcFloor), encodeVector(uncovered)]
  return gcFloor.size > 0 ? [encodeVector(gcFloor)] : []
}

function descriptorField(shard: ShardDescriptor | null): HeaderValue {
  if (shard === null) return null
  const values = [shard.dimension, METRICS.indexOf(shard.metric) + 1, shard.modelId]
  return shard.text === undefined ? values : [...values, shard.text]
}

function readVector(value: Field): VersionVector {
  const vector = decodeVector(bytesField(value, 1, CONTROL_FRAME_BYTES_MAX, 'version vector'))
  if (vector === null) throw corrupt('no canonical version vector')
  return vector
}

/** Actors one after the other, in order and each once, so that equal sets have equal bytes. */
function readActors(value: Field): readonly ActorId[] {
  const hex = bytesToHex(bytesField(value, 0, SOURCES_MAX * 16, 'list of actors'))
  const actors: ActorId[] = []
  for (let at = 0; at < hex.length; at += 32) actors.push(hex.slice(at, at + 32))
  const isCanonical = actors.every(
    (actor, n) => actor.length === 32 && (actors[n - 1] ?? '') < actor,
  )
  if (!isCanonical) throw corrupt('a list of actors out of order')
  return actors
}

function readRange(value: HeaderValue): IdRange {
  const [from, to] = listField(value, 2, 'a range')
  return {
    from: textField(from, ID_BYTES_MAX, 'start of a range'),
    to: to === null ? null : nameField(to, ID_BYTES_MAX, 'end of a range'),
  }
}

const ANSWER_PARTS = 0
const ANSWER_LIST = 1

function answerField(answer: RangeAnswer): HeaderValue {
  if (answer.type === 'list') {
    return [ANSWER_LIST, answer.records.map(({ id, hash }) => [id, hexField(hash)])]
  }
  const parts = answer.parts.map(({ to, count, digest }) => [to, count, hexField(digest)])
  return [ANSWER_PARTS, parts]
}

function readAnswer(value: HeaderValue): RangeAnswer {
  const [kind, given] = listField(value, 2, 'an answer')
  if (integerField(kind, ANSWER_PARTS, ANSWER_LIST, 'kind of an answer') === ANSWER_LIST) {
    const records = listField(given, RANGE_LEAF_RECORDS, 'records of a range').map((each) => {
      const [id, hash] = listField(each, 2, 'a record')
      return { id: nameField(id, ID_BYTES_MAX, 'id'), hash: readHex(hash, 8, 'digest') }
    })
    return { type: 'list', records }
  }
  const parts = listField(given, RANGE_PARTS, 'parts of a range').map((each) => {
    const [to, count, digest] = listField(each, 3, 'a part')
    return {
      to: to === null ? null : nameField(to, ID_BYTES_MAX, 'end of a part'),
      count: positionField(count, 'number of records'),
      digest: readHex(digest, 8, 'digest'),
    }
  })
  return { type: 'parts', parts }
}

function listField(value: Field, countMax: number, what: string): readonly HeaderValue[] {
  if (!Array.isArray(value) || value.length > countMax) {
    throw corrupt(`${what} is no list of at most ${countMax}`)
  }
  return value as readonly HeaderValue[]
}

function nameField(value: Field, bytesMax: number, what: string): string {
  const name = textField(value, bytesMax, what)
  if (name.length === 0) throw corrupt(`${what} is empty`)
  return name
}

function positionField(value: Field, what: string): number {
  return integerField(value, 0, Number.MAX_SAFE_INTEGER, what)
}

function booleanField(value: Field, what: string): boolean {
  if (typeof value !== 'boolean') throw corrupt(`${what} is neither true nor false`)
  return value
}

function readHex(value: Field, byteCount: number, what: string): string {
  return bytesToHex(bytesField(value, byteCount, byteCount, what))
}

function hexField(hex: string): Uint8Array {
  return hexToBytes(hex)
}
