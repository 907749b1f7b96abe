/**
 * The keys of one sealed shard: one that hides ids and never changes, and those that seal contents,
 * of which one is current. A node with the keys is a member; a node without them is a relay.
 *
 * Not here: sealing itself (sealer.ts). Invariant: key material leaves an object only by {@link
 * ShardKeys.write}, into a file of mode 0600; it is never part of a message, and printing the
 * object does not show it.
 */
import { crypto, files, machine, random } from '#platform'

import { base64ToBytes, bytesToBase64, hexAt } from '../bytes.ts'
import { SqliteVectorError } from '../errors.ts'
import { writeFileAtomic } from '../private-files.ts'

/** First field of the file, so that no other file is taken for one. */
const FORMAT = 'sqlite-vector shard keys 1'

/** AES-256-SIV takes two keys of 32 bytes, as one of 64 (RFC 5297). */
const ID_KEY_BYTES = 64

/** AES-256-GCM. */
const KEY_BYTES = 32

/** Bytes of a key's name: the first of its SHA-256. */
const KEY_ID_BYTES = 8

/** Keys that a file may hold: each rotation adds one. */
const KEYS_MAX = 1_000

/** The keys of one sealed shard. Immutable: rotating gives new ones. */
export class ShardKeys {
  /** Name of the key that seals new writes: 16 hexadecimal digits. */
  readonly currentId: string
  readonly #idKey: Uint8Array
  readonly #keys: ReadonlyMap<string, Uint8Array>

  private constructor(idKey: Uint8Array, keys: ReadonlyMap<string, Uint8Array>, currentId: string) {
    this.#idKey = idKey
    this.#keys = keys
    this.currentId = currentId
  }

  /** New keys from the system's source of randomness. */
  static create(): ShardKeys {
    const key = random.bytes(KEY_BYTES)
    const id = keyIdOf(key)
    return new ShardKeys(random.bytes(ID_KEY_BYTES), new Map([[id, key]]), id)
  }

  /**
   * The keys in the file `path`.
   * @throws `SEALED_KEYS_INVALID` when it is not such a file, or other users may read it
   */
  static read(path: string): ShardKeys {
    checkMode(path)
    let parsed: unknown
    try {
      parsed = JSON.parse(files.readText(path))
    } catch (cause) {
      throw invalid(path, 'it is not JSON', { cause })
    }
    if (
      typeof parsed !== 'object' ||
      parsed === null ||
      !('format' in parsed) ||
      parsed.format !== FORMAT
    ) {
      throw invalid(path, `it does not begin with the format ${JSON.stringify(FORMAT)}`)
    }
    const { idKey, keys, current } = parsed as Readonly<Record<string, unknown>>
    if (!Array.isArray(keys) || keys.length === 0 || keys.length > KEYS_MAX) {
      throw invalid(path, `keys must be an array of 1 to ${KEYS_MAX} keys`)
    }
    const map = new Map<string, Uint8Array>()
    for (const text of keys) {
      const key = keyGiven(path, 'keys', text, KEY_BYTES)
      map.set(keyIdOf(key), key)
    }
    if (typeof current !== 'string' || !map.has(current)) {
      throw invalid(path, 'current names none of its keys')
    }
    return new ShardKeys(keyGiven(path, 'idKey', idKey, ID_KEY_BYTES), map, current)
  }

  /** Hides ids. To be used by the sealer only. */
  get idKey(): Uint8Array {
    return this.#idKey
  }

  /** Names of all keys, the current one included. */
  get keyIds(): readonly string[] {
    return [...this.#keys.keys()]
  }

  /** The key of this name, or null. To be used by the sealer only. */
  find(keyId: string): Uint8Array | null {
    return this.#keys.get(keyId) ?? null
  }

  /**
   * The same keys and a new one, which seals from now on. Records sealed by older keys can still be
   * opened.
   */
  rotate(): ShardKeys {
    const key = random.bytes(KEY_BYTES)
    const id = keyIdOf(key)
    return new ShardKeys(this.#idKey, new Map([...this.#keys, [id, key]]), id)
  }

  /**
   * Without the key `keyId`: once nothing is sealed by it any more. @throws RangeError for the
   * current or an unknown key
   */
  without(keyId: string): ShardKeys {
    if (keyId === this.currentId || !this.#keys.has(keyId)) {
      throw new RangeError(
        `keyId must name a key that is not the current one, got ${JSON.stringify(keyId)}`,
      )
    }
    const keys = new Map([...this.#keys].filter(([id]) => id !== keyId))
    return new ShardKeys(this.#idKey, keys, this.currentId)
  }

  /** Writes the keys to a file that only its owner may read; whole or not at all. */
  write(path: string): void {
    const content = {
      format: FORMAT,
      idKey: bytesToBase64(this.#idKey),
      keys: [...this.#keys.values()].map((key) => bytesToBase64(key)),
      current: this.currentId,
    }
    writeFileAtomic(path, `${JSON.stringify(content, null, 2)}\n`, 0o600)
  }
}

function keyIdOf(key: Uint8Array): string {
  return hexAt(crypto.sha256(key), 0, KEY_ID_BYTES)
}

/** Windows has no such modes. */
function checkMode(path: string): void {
  const facts = files.facts(path)
  if (facts === null) throw invalid(path, 'there is no such file')
  const mode = facts.mode & 0o777
  if (!machine.hasFileModes || (mode & 0o077) === 0) return
  throw invalid(
    path,
    `other users may read it (mode ${mode.toString(8).padStart(4, '0')}, want 0600): if no other user can have copied it, run chmod 600 on it`,
  )
}

function keyGiven(path: string, name: string, text: unknown, bytes: number): Uint8Array {
  const key = base64ToBytes(typeof text === 'string' ? text : '')
  if (key.byteLength !== bytes) throw invalid(path, `${name} must hold ${bytes} bytes as base64`)
  return key
}

/** Never shows the content of the file. */
function invalid(path: string, why: string, options?: ErrorOptions): SqliteVectorError {
  return new SqliteVectorError(
    'SEALED_KEYS_INVALID',
    `${path} is not a usable shard key file: ${why}`,
    options,
  )
}
