/**
 * A node's signed statement about itself, which others can pass on. Pure: signing and
 * checking are transport/identity/signed-statement.ts.
 *
 * A record is a MessagePack array: statement, certificate (DER), signature of the statement. A
 * statement is one, too:
 *
 * | value    | encoding                                                                     |
 * | -------- | ---------------------------------------------------------------------------- |
 * | node id  | text                                                                         |
 * | address  | `host:port` where it listens, or nil                                         |
 * | status   | 0 it is there, 1 it closed and may come back, 2 it left for good             |
 * | sequence | integer; of two records of one node the larger one counts                    |
 * | shards   | list of tags, {@link shardTag}; nil when they are more than a record holds   |
 *
 * A shard is named by a tag, the first 8 bytes of SHA-256 of its name: a node with the shard
 * recognises it, and a node that passes the record on learns no names. Decoding is total: any bytes
 * give a record or `SYNC_FRAME_CORRUPT`.
 */
import { crypto } from '#platform'

import { bytesToHex, hexAt, hexToBytes, utf8ToBytes } from '../../bytes.ts'
import {
  ADDRESS_BYTES_MAX,
  NODE_ID_BYTES_MAX,
  PEER_RECORD_BYTES_MAX,
  PEER_RECORD_SHARDS_MAX,
} from '../../limits.ts'
import { corrupt } from './frame.ts'
import {
  bytesField,
  decodeArray,
  encodeArray,
  type HeaderValue,
  integerField,
  textField,
} from './messagepack.ts'

/** The context of a signature over a statement. */
export const PEER_RECORD_CONTEXT = 'sqlite-vector peer record 1'

/** How a node says that it stands. */
export const PEER_RECORD_STATUSES = ['online', 'offline', 'left'] as const

/** One of {@link PEER_RECORD_STATUSES}. */
export type PeerRecordStatus = (typeof PEER_RECORD_STATUSES)[number]

/** A node's statement about itself. */
export interface PeerStatement {
  readonly nodeId: string
  /** The address that it listens on; null when it cannot be dialled. */
  readonly address: string | null
  readonly status: PeerRecordStatus
  readonly sequence: number
  /** Tags of its shards; null when they are more than {@link PEER_RECORD_SHARDS_MAX}. */
  readonly shards: readonly string[] | null
}

/** A statement with what proves whose it is. */
export interface SignedStatement {
  readonly statement: Uint8Array
  readonly certificate: Uint8Array
  readonly signature: Uint8Array
}

const TAG_BYTES = 8
const SIGNATURE_BYTES_MAX = 128

/** The stand-in for a shard's name in a record: 16 hexadecimal digits. */
export function shardTag(shardId: string): string {
  return hexAt(crypto.sha256(utf8ToBytes(shardId)), 0, TAG_BYTES)
}

/** The bytes to sign. */
export function encodeStatement(given: PeerStatement): Uint8Array {
  const { nodeId, address, status, sequence, shards } = given
  const tags = shards?.map((tag) => hexToBytes(tag)) ?? null
  return encodeArray([nodeId, address, PEER_RECORD_STATUSES.indexOf(status), sequence, tags])
}

/** @throws `SYNC_FRAME_CORRUPT` */
export function decodeStatement(bytes: Uint8Array): PeerStatement {
  const [nodeId, address, status, sequence, shards] = valuesOf(bytes, 5)
  const name = textField(nodeId, NODE_ID_BYTES_MAX, 'node id')
  if (name.length === 0) throw corrupt('node id is empty')
  const place = address === null ? null : textField(address, ADDRESS_BYTES_MAX, 'address')
  if (place?.length === 0) throw corrupt('address is empty')
  const last = PEER_RECORD_STATUSES.length - 1
  return {
    nodeId: name,
    address: place,
    status: PEER_RECORD_STATUSES[integerField(status, 0, last, 'status')] ?? 'online',
    sequence: integerField(sequence, 0, Number.MAX_SAFE_INTEGER, 'sequence'),
    shards: shards === null ? null : tagsOf(shards),
  }
}

/** The bytes of a record. */
export function encodeRecord({ statement, certificate, signature }: SignedStatement): Uint8Array {
  return encodeArray([statement, certificate, signature])
}

/** The parts of a record; the statement is not decoded. @throws `SYNC_FRAME_CORRUPT` */
export function decodeRecord(bytes: Uint8Array): SignedStatement {
  const [statement, certificate, signature] = valuesOf(bytes, 3)
  return {
    statement: bytesField(statement, 1, PEER_RECORD_BYTES_MAX, 'statement'),
    certificate: bytesField(certificate, 1, PEER_RECORD_BYTES_MAX, 'certificate'),
    signature: bytesField(signature, 1, SIGNATURE_BYTES_MAX, 'signature'),
  }
}

function valuesOf(bytes: Uint8Array, countMin: number): readonly HeaderValue[] {
  if (bytes.byteLength > PEER_RECORD_BYTES_MAX) {
    throw corrupt(`a peer record of ${bytes.byteLength} bytes`)
  }
  const { values, end } = decodeArray(bytes, 0, countMin)
  if (end !== bytes.byteLength) throw corrupt('bytes after a peer record')
  return values
}

function tagsOf(value: HeaderValue | undefined): readonly string[] {
  if (!Array.isArray(value) || value.length > PEER_RECORD_SHARDS_MAX) {
    throw corrupt(`shards are no list of at most ${PEER_RECORD_SHARDS_MAX}`)
  }
  return (value as readonly HeaderValue[]).map((tag) =>
    bytesToHex(bytesField(tag, TAG_BYTES, TAG_BYTES, 'shard tag')),
  )
}
