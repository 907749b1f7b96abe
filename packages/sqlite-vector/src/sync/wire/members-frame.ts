/**
 * MEMBERS: peer records on their way, as bytes and back. Pure. Goes over a channel of its own:
 *
 *   opener ── MEMBERS … MEMBERS (asks: yes in the last, or no) ──► finish
 *          ◄── MEMBERS … of what the opener lacks, when it asked ── finish
 *
 * The body is a MessagePack array: list of records (peer-record.ts, each a binary), asks. The head
 * of frames with is frame.ts. Decoding is total, at a cost within the bytes' length.
 */
import {
  CONTROL_FRAME_BYTES_MAX,
  PEER_RECORD_BYTES_MAX,
  PEER_RECORDS_PER_FRAME_MAX,
} from '../../limits.ts'
import { SqliteVectorError } from '../../errors.ts'
import { corrupt, FRAME_HEAD_BYTES, FRAME_TYPES, openFrame, sealFrame } from './frame.ts'
import { bytesField, decodeArray, encodeArray, type HeaderValue } from './messagepack.ts'

/** Records, and whether the other side is asked for its own. */
export interface MembersFrame {
  readonly records: readonly Uint8Array[]
  readonly asks: boolean
}

/** True when these bytes claim to be MEMBERS. */
export function isMembersFrame(bytes: Uint8Array): boolean {
  return bytes[0] === FRAME_TYPES.members
}

/** Frames that carry `records`; one frame at least. */
export function encodeMembers(records: readonly Uint8Array[], asks: boolean): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (let at = 0; at === 0 || at < records.length; at += PEER_RECORDS_PER_FRAME_MAX) {
    const part = records.slice(at, at + PEER_RECORDS_PER_FRAME_MAX)
    const isLast = at + PEER_RECORDS_PER_FRAME_MAX >= records.length
    const body = encodeArray([part, asks && isLast])
    const frame = new Uint8Array(FRAME_HEAD_BYTES + body.byteLength)
    frame.set(body, FRAME_HEAD_BYTES)
    frames.push(sealFrame('members', frame))
  }
  return frames
}

/** @throws `SYNC_FRAME_CORRUPT`, `SYNC_FRAME_TOO_LARGE`, `SYNC_PROTOCOL_VERSION` */
export function decodeMembers(bytes: Uint8Array): MembersFrame {
  if (bytes.byteLength > CONTROL_FRAME_BYTES_MAX) {
    throw new SqliteVectorError('SYNC_FRAME_TOO_LARGE', `MEMBERS of ${bytes.byteLength} bytes`)
  }
  if (openFrame(bytes) !== 'members') throw corrupt('another frame where MEMBERS is due')
  const { values, end } = decodeArray(bytes, FRAME_HEAD_BYTES, 2)
  if (end !== bytes.byteLength) throw corrupt('bytes after the body')
  const [records, asks] = values
  if (!Array.isArray(records) || records.length > PEER_RECORDS_PER_FRAME_MAX) {
    throw corrupt(`no list of at most ${PEER_RECORDS_PER_FRAME_MAX} peer records`)
  }
  if (typeof asks !== 'boolean') throw corrupt('asks is neither true nor false')
  return {
    records: (records as readonly HeaderValue[]).map((record) =>
      bytesField(record, 1, PEER_RECORD_BYTES_MAX, 'peer record').slice(),
    ),
    asks,
  }
}
