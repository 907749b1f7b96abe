/**
 * Seals a member's record so that a relay can store, merge and forward it but cannot read it; and
 * opens it again. Pure but for the random nonce.
 *
 * A record travels under a token in place of its id: AES-256-SIV (RFC 5297) of the id, with the
 * shard as associated data. It is deterministic, so that writes of all members to one id meet in
 * one record, and reversible, so that a delete, which has no content, still says to members what
 * was deleted.
 *
 * Its content (metadata, text, vector) is one block of AES-256-GCM (NIST SP 800-38D) under a random
 * nonce of 96 bits, with shard, token and dot as associated data: a relay can neither read nor
 * change it, nor pass it off as another record or as a newer write. One key must seal fewer than
 * 2^32 writes: rotate before that.
 *
 * | bytes | field   | encoding                                                |
 * | ----- | ------- | ------------------------------------------------------- |
 * | 1     | version | 1                                                       |
 * | 8     | key     | first bytes of the key's SHA-256                        |
 * | 12    | nonce   |                                                         |
 * | …     | sealed  | MessagePack array: metadata (JSON), text or nil, vector |
 * | 16    | tag     |                                                         |
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

import { aessiv } from '@noble/ciphers/aes.js'

import { bytesToFloat32, viewToBytes } from '../bytes.ts'
import { ID_BYTES_MAX, METADATA_BYTES_MAX, TEXT_BYTES_MAX } from '../limits.ts'
import {
  binary,
  bytesField,
  decodeArray,
  encodeArray,
  textField,
} from '../sync/wire/messagepack.ts'
import type { Dot } from '../model/types.ts'
import { SqliteVectorError } from '../errors.ts'
import type { ShardKeys } from './shard-keys.ts'

/** The sealed part of a record. */
export interface SealedContent {
  readonly embedding: Float32Array
  /** A JSON object. */
  readonly metadata: string
  readonly text: string | null
}

/** The result of opening: the content, or the reason there is none. */
export type Opened = { readonly content: SealedContent } | { readonly fault: string }

const VERSION = 1
const KEY_ID_BYTES = 8
const NONCE_BYTES = 12
const TAG_BYTES = 16
const SEALED_AT = 1 + KEY_ID_BYTES + NONCE_BYTES
const SIV_BYTES = 16

/** Base64 makes four characters of three bytes, and metadata holds the envelope around them. */
export const SEALED_BYTES_MAX: number =
  Math.floor(((METADATA_BYTES_MAX - 64) / 4) * 3) - SEALED_AT - TAG_BYTES

/** Longest id that can be sealed, in bytes of UTF-8: its token must be an id itself. */
export const SEALED_ID_BYTES_MAX: number = (ID_BYTES_MAX / 4) * 3 - SIV_BYTES

/** Seals and opens the records of one shard. */
export class Sealer {
  readonly keys: ShardKeys
  readonly #shard: Uint8Array

  constructor(shardId: string, keys: ShardKeys) {
    this.keys = keys
    this.#shard = Buffer.from(`sqlite-vector sealed shard 1\0${shardId}\0`, 'utf8')
  }

  /** The id that relays see: 22 characters and more, in proportion to the id's length. */
  idToToken(id: string): string {
    const sealed = aessiv(this.keys.idKey, this.#shard).encrypt(Buffer.from(id, 'utf8'))
    return Buffer.from(sealed).toString('base64url')
  }

  /** The id behind a token; null when no member made it. */
  tokenToId(token: string): string | null {
    try {
      const opened = aessiv(this.keys.idKey, this.#shard).decrypt(Buffer.from(token, 'base64url'))
      return Buffer.from(opened).toString('utf8')
    } catch {
      // The library throws for whatever does not authenticate; there is nothing else to know.
      return null
    }
  }

  /**
   * The content as a record's metadata, for the write `dot`. @throws RangeError when it is too long
   */
  seal(token: string, dot: Dot, { embedding, metadata, text }: SealedContent): string {
    const plain = encodeArray([metadata, text, binary(viewToBytes(embedding))])
    if (plain.byteLength > SEALED_BYTES_MAX) {
      throw new RangeError(
        `record must take at most ${SEALED_BYTES_MAX} bytes with its vector, metadata and text to be sealed, ` +
          `takes ${plain.byteLength}`,
      )
    }
    const { currentId } = this.keys
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key(currentId), nonce)
    cipher.setAAD(this.#associated(token, dot))
    const sealed = Buffer.concat([
      Buffer.of(VERSION),
      Buffer.from(currentId, 'hex'),
      nonce,
      cipher.update(plain),
      cipher.final(),
      cipher.getAuthTag(),
    ])
    return JSON.stringify({ sealed: sealed.toString('base64') })
  }

  /**
   * The content of a record's metadata, as the write `dot` brought it. Total: any text gives
   * content or a fault.
   */
  open(token: string, dot: Dot, metadata: string): Opened {
    const sealed = envelopeOf(metadata)
    if (sealed === null || sealed[0] !== VERSION) return { fault: 'not sealed by this format' }
    const keyId = sealed.subarray(1, 1 + KEY_ID_BYTES).toString('hex')
    const key = this.keys.find(keyId)
    if (key === null) return { fault: `sealed by key ${keyId}, which we do not have` }
    const decipher = createDecipheriv(
      'aes-256-gcm',
      key,
      sealed.subarray(1 + KEY_ID_BYTES, SEALED_AT),
      { authTagLength: TAG_BYTES },
    )
    decipher.setAAD(this.#associated(token, dot))
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
    let plain: Buffer
    try {
      plain = Buffer.concat([
        decipher.update(sealed.subarray(SEALED_AT, -TAG_BYTES)),
        decipher.final(),
      ])
    } catch {
      return {
        fault: `does not open with key ${keyId}: it was changed, or moved from another record or write`,
      }
    }
    return contentOf(plain)
  }

  /** Name of the key that sealed this metadata; null when nothing did. */
  keyIdOf(metadata: string): string | null {
    return (
      envelopeOf(metadata)
        ?.subarray(1, 1 + KEY_ID_BYTES)
        .toString('hex') ?? null
    )
  }

  #associated(token: string, { actor, counter }: Dot): Uint8Array {
    return Buffer.concat([this.#shard, Buffer.from(`${token}\0${actor}\0${counter}`, 'utf8')])
  }

  #key(keyId: string): Uint8Array {
    const key = this.keys.find(keyId)
    if (key === null) throw new TypeError(`keys hold no key ${keyId}`)
    return key
  }
}

function envelopeOf(metadata: string): Buffer | null {
  const text = (JSON.parse(metadata) as Record<string, unknown>)['sealed']
  if (typeof text !== 'string') return null
  const bytes = Buffer.from(text, 'base64')
  return bytes.byteLength >= SEALED_AT + TAG_BYTES ? bytes : null
}

/** A member sealed it; still, a member of a later release may have sealed something else. */
function contentOf(plain: Buffer): Opened {
  try {
    const { values } = decodeArray(plain, 0, 3)
    const [metadata, text, embedding] = values
    const bytes = bytesField(embedding, 4, SEALED_BYTES_MAX, 'vector')
    // A view needs its floats at a multiple of four; what was opened lies anywhere.
    const aligned = new Uint8Array(bytes)
    return {
      content: {
        metadata: textField(metadata, METADATA_BYTES_MAX, 'metadata'),
        text: text === null ? null : textField(text, TEXT_BYTES_MAX, 'text'),
        embedding: bytesToFloat32(aligned),
      },
    }
  } catch (error) {
    if (!(error instanceof SqliteVectorError)) throw error
    return { fault: `opens to no record of this format: ${error.message}` }
  }
}
