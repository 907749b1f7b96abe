/**
 * The head of every frame of the protocol, and its checksum. Pure.
 *
 * | bytes | field    | encoding |
 * | ----- | -------- | -------- |
 * | 1     | type     | u8, {@link FRAME_TYPES} |
 * | 1     | version  | u8, {@link PROTOCOL_VERSION} |
 * | 2     | reserved | zero; in a compressed frame, codec and blocks (compression.ts) |
 * | 4     | checksum | u32 little-endian, CRC-32 (IEEE 802.3) of bytes 0–3 and 8–end |
 * | …     | body     | a MessagePack array (wire/control-frames.ts), for BATCH columns (delta.ts) |
 *
 * The transport is encrypted and authenticated; the checksum finds what lies outside of it: memory,
 * a codec that disagrees with itself, a file that a frame was kept in. The head is eight bytes so
 * that what follows stays aligned in a buffer that starts aligned.
 */
import { crypto } from '#platform'

import { SqliteVectorError } from '../../errors.ts'

/** Also in the ALPN name, so incompatible peers never exchange a frame. */
export const PROTOCOL_VERSION = 1

/** Bytes before the body of every frame. */
export const FRAME_HEAD_BYTES = 8

/** First byte of a frame. RECORDS is laid out as BATCH is. */
export const FRAME_TYPES = {
  hello: 1,
  subscribe: 2,
  welcome: 3,
  batch: 4,
  caughtUp: 5,
  ack: 6,
  error: 7,
  done: 8,
  ping: 9,
  need: 10,
  ranges: 11,
  compare: 12,
  invite: 13,
  pong: 14,
  push: 15,
  holds: 16,
  records: 17,
  members: 18,
} as const

/** Names of {@link FRAME_TYPES}. */
export type FrameType = keyof typeof FRAME_TYPES

const TYPE_BY_NUMBER: readonly (FrameType | undefined)[] = (() => {
  const names: (FrameType | undefined)[] = []
  for (const [name, number] of Object.entries(FRAME_TYPES)) names[number] = name as FrameType
  return names
})()

/** The error of bytes that are not what a peer meant to send. */
export function corrupt(reason: string, options?: ErrorOptions): SqliteVectorError {
  return new SqliteVectorError('SYNC_FRAME_CORRUPT', `malformed frame: ${reason}`, options)
}

/** Fills in the head of `frame`, whose body is complete. Returns `frame`. */
export function sealFrame(type: FrameType, frame: Uint8Array): Uint8Array {
  frame[0] = FRAME_TYPES[type]
  frame[1] = PROTOCOL_VERSION
  frame[2] = 0
  frame[3] = 0
  const checksum = checksumOf(frame)
  frame[4] = checksum & 255
  frame[5] = (checksum >>> 8) & 255
  frame[6] = (checksum >>> 16) & 255
  frame[7] = checksum >>> 24
  return frame
}

/**
 * The type of `frame`, once head and checksum are found right.
 * @throws `SYNC_FRAME_CORRUPT`, `SYNC_PROTOCOL_VERSION`
 */
export function openFrame(frame: Uint8Array): FrameType {
  if (frame.byteLength < FRAME_HEAD_BYTES) throw corrupt(`${frame.byteLength} bytes`)
  const version = frame[1]
  if (version !== PROTOCOL_VERSION) {
    throw new SqliteVectorError(
      'SYNC_PROTOCOL_VERSION',
      `the peer speaks protocol version ${version}, we speak ${PROTOCOL_VERSION}`,
    )
  }
  if (frame[2] !== 0 || frame[3] !== 0) throw corrupt('reserved bytes are set')
  const given =
    ((frame[4] ?? 0) |
      ((frame[5] ?? 0) << 8) |
      ((frame[6] ?? 0) << 16) |
      ((frame[7] ?? 0) << 24)) >>>
    0
  if (given !== checksumOf(frame)) throw corrupt('the checksum does not match')
  const type = TYPE_BY_NUMBER[frame[0] ?? 0]
  if (type === undefined) throw corrupt(`unknown type ${frame[0]}`)
  return type
}

function checksumOf(frame: Uint8Array): number {
  const head = crypto.crc32(frame.subarray(0, 4))
  return crypto.crc32(frame.subarray(FRAME_HEAD_BYTES), head)
}
