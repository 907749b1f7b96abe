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
import { crypto, random } from '#platform'

import { aessiv } from '@noble/ciphers/aes.js'

import {
  base64ToBytes,
  bytesToBase64,
  bytesToBase64Url,
  bytesToFloat32,
  bytesToUtf8,
  concatBytes,
  hexAt,
  hexToBytes,
  utf8ToBytes,
  viewToBytes,
} from '../bytes.ts'
import { ID_BYTES_MAX, METADATA_BYTES_MAX, TEXT_BYTES_MAX } from '../limits.ts'
import { bytesField, decodeArray, encodeArray, textField } from '../sync/wire/messagepack.ts'
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
    this.#shard = utf8ToBytes(`sqlite-vector sealed shard 1\0${shardId}\0`)
  }

  /** The id that relays see: 22 characters and more, in proportion to the id's length. */
  idToToken(id: string): string {
    const sealed = aessiv(this.keys.idKey, this.#shard).encrypt(utf8ToBytes(id))
    return bytesToBase64Url(sealed)
  }

  /** The id behind a token; null when no member made it. */
  tokenToId(token: string): string | null {
    try {
      const opened = aessiv(this.keys.idKey, this.#shard).decrypt(base64ToBytes(token))
      return bytesToUtf8(opened)
    } catch {
      // The library throws for whatever does not authenticate; there is nothing else to know.
      return null
    }
  }

  /**
   * The content as a record's metadata, for the write `dot`. @throws RangeError when it is too long
   */
  seal(token: string, dot: Dot, { embedding, metadata, text }: SealedContent): string {
    const plain = encodeArray([metadata, text, viewToBytes(embedding)])
    if (plain.byteLength > SEALED_BYTES_MAX) {
      throw new RangeError(
        `record must take at most ${SEALED_BYTES_MAX} bytes with its vector, metadata and text to be sealed, ` +
          `takes ${plain.byteLength}`,
      )
    }
    const { currentId } = this.keys
    const nonce = random.bytes(NONCE_BYTES)
    const sealed = concatBytes([
      Uint8Array.of(VERSION),
      hexToBytes(currentId),
      nonce,
      crypto.sealGcm(this.#key(currentId), nonce, this.#associated(token, dot), plain),
    ])
    return JSON.stringify({ sealed: bytesToBase64(sealed) })
  }

  /**
   * The content of a record's metadata, as the write `dot` brought it. Total: any text gives
   * content or a fault.
   */
  open(token: string, dot: Dot, metadata: string): Opened {
    const sealed = envelopeOf(metadata)
    if (sealed === null || sealed[0] !== VERSION) return { fault: 'not sealed by this format' }
    const keyId = hexAt(sealed, 1, 1 + KEY_ID_BYTES)
    const key = this.keys.find(keyId)
    if (key === null) return { fault: `sealed by key ${keyId}, which we do not have` }
    const nonce = sealed.subarray(1 + KEY_ID_BYTES, SEALED_AT)
    const associated = this.#associated(token, dot)
    const plain = crypto.openGcm(key, nonce, associated, sealed.subarray(SEALED_AT))
    if (plain === null) {
      return {
        fault: `does not open with key ${keyId}: it was changed, or moved from another record or write`,
      }
    }
    return contentOf(plain)
  }

  /** Name of the key that sealed this metadata; null when nothing did. */
  keyIdOf(metadata: string): string | null {
    const sealed = envelopeOf(metadata)
    return sealed === null ? null : hexAt(sealed, 1, 1 + KEY_ID_BYTES)
  }

  #associated(token: string, { actor, counter }: Dot): Uint8Array {
    return concatBytes([this.#shard, utf8ToBytes(`${token}\0${actor}\0${counter}`)])
  }

  #key(keyId: string): Uint8Array {
    const key = this.keys.find(keyId)
    if (key === null) throw new TypeError(`keys hold no key ${keyId}`)
    return key
  }
}

function envelopeOf(metadata: string): Uint8Array | null {
  const text = (JSON.parse(metadata) as Record<string, unknown>)['sealed']
  if (typeof text !== 'string') return null
  const bytes = base64ToBytes(text)
  return bytes.byteLength >= SEALED_AT + TAG_BYTES ? bytes : null
}

/** A member sealed it; still, a member of a later release may have sealed something else. */
function contentOf(plain: Uint8Array): Opened {
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
