/**
 * Kinds of configuration values: their text syntax and their checks. Pure.
 *
 * Environment variables and flags are text; a file gives values. `fromText` only reads; `check`
 * validates the result of either, so a wrong value gives the same message whatever its source.
 */
import { createHash } from 'node:crypto'
import { DIMENSION_MAX } from '@agentic-flow/sqlite-vector/limits'
import {
  integerIn,
  nameGiven,
  objectGiven,
  oneOf,
  rejectUnknownKeys,
  shown,
} from '@agentic-flow/sqlite-vector/options'

/** One kind of value. */
export interface Kind {
  /** Text syntax, for help and documents. */
  readonly syntax: string
  /** True when flags may repeat, and a variable separates by commas. */
  readonly repeats: boolean
  fromText(name: string, text: string): unknown
  /** Returns the value as the configuration holds it. @throws TypeError, RangeError */
  check(name: string, value: unknown): unknown
}

const TEXT_BYTES_MAX = 4_096

function asIs(_name: string, given: string): unknown {
  return given
}

/** Any non-empty text. */
export function text(syntax: string, bytesMax: number = TEXT_BYTES_MAX): Kind {
  return {
    syntax,
    repeats: false,
    fromText: asIs,
    check(name, value) {
      nameGiven(name, value, bytesMax)
      return value
    },
  }
}

/** The same kind, or `off`, which becomes null. */
export function textOrOff(kind: Kind): Kind {
  return {
    ...kind,
    syntax: `${kind.syntax}|off`,
    check: (name, value) => (value === null || value === 'off' ? null : kind.check(name, value)),
  }
}

export function integer(min: number, max: number): Kind {
  return {
    syntax: 'INTEGER',
    repeats: false,
    fromText: (name, given) => integerFrom(name, given),
    check(name, value) {
      integerIn(name, value, min, max)
      return value
    },
  }
}

export function choice(...allowed: readonly string[]): Kind {
  return {
    syntax: allowed.join('|'),
    repeats: false,
    fromText: asIs,
    check(name, value) {
      oneOf(name, value, allowed)
      return value
    },
  }
}

/** `HOST:PORT`, an IPv6 host in brackets. */
export const address: Kind = {
  syntax: 'HOST:PORT',
  repeats: false,
  fromText: asIs,
  check(name, value) {
    nameGiven(name, value, TEXT_BYTES_MAX)
    splitAddress(name, value)
    return value
  },
}

/** Splits `host:port`. @throws RangeError for any other text */
export function splitAddress(
  name: string,
  value: string,
): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(value)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw new RangeError(`${name} must be host:port, an IPv6 host in brackets, got ${shown(value)}`)
  }
  return { host: match[1] ?? match[2] ?? '', port }
}

/** A list of one kind. A `secret` list holds keys, so its messages never quote a value. */
function list(
  syntax: string,
  item: Kind,
  uniqueBy: string,
  { secret = false }: { readonly secret?: boolean } = {},
): Kind {
  return {
    syntax,
    repeats: true,
    fromText: (name, given) => item.fromText(name, given),
    check(name, value) {
      if (!Array.isArray(value)) {
        throw new TypeError(`${name} must be a list${secret ? '' : `, got ${shown(value)}`}`)
      }
      const items = value.map((entry, index) => item.check(`${name}[${index}]`, entry))
      const seen = new Set<unknown>()
      for (const entry of items as Record<string, unknown>[]) {
        const key = entry[uniqueBy]
        if (seen.has(key)) throw new RangeError(`${name}: ${uniqueBy} ${shown(key)} is given twice`)
        seen.add(key)
      }
      return items
    },
  }
}

/** Minimum length of an API key, in characters: too long to guess even without a rate limit. */
const API_KEY_CHARACTERS_MIN = 16

const apiKey: Kind = {
  syntax: 'NAME:read-only|read-write:KEY',
  repeats: true,
  fromText(name, given) {
    const [, keyName, access, key] = /^([^:]*):([^:]*):(.*)$/s.exec(given) ?? []
    // The text holds a key, so the message does not quote it.
    if (key === undefined) throw new TypeError(`${name} must be written NAME:ACCESS:KEY`)
    return { name: keyName, access, key }
  },
  check(name, value) {
    // The value may be a key, so no message quotes it.
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new TypeError(`${name} must be an object with name, access, and key or sha256`)
    }
    const given = value as Record<string, unknown>
    if (Object.keys(given).some((field) => !API_KEY_FIELDS.includes(field))) {
      throw new TypeError(`${name} may have the fields ${API_KEY_FIELDS.join(', ')} only`)
    }
    const { name: keyName, access, key, sha256 } = given
    if (typeof keyName !== 'string' || !/^[\w.@ -]{1,64}$/.test(keyName)) {
      throw new TypeError(
        `${name}.name must be 1 to 64 letters, digits, spaces, dots, dashes, underscores or @`,
      )
    }
    if (access !== 'read-only' && access !== 'read-write') {
      throw new RangeError(`${name}.access must be read-only or read-write`)
    }
    if ((key === undefined) === (sha256 === undefined)) {
      throw new TypeError(`${name} must have one of key and sha256`)
    }
    const { shards: ofShards = null, operations = null, requestsPerMinuteMax = null } = given
    return {
      name: keyName,
      access,
      sha256: hashOf(name, key, sha256),
      shards: namesOrNull(`${name}.shards`, ofShards),
      operations: namesOrNull(`${name}.operations`, operations),
      requestsPerMinuteMax: rateOrNull(`${name}.requestsPerMinuteMax`, requestsPerMinuteMax),
    }
  },
}

const API_KEY_FIELDS: readonly string[] = [
  'name',
  'access',
  'key',
  'sha256',
  'shards',
  'operations',
  'requestsPerMinuteMax',
]

/** A list of names or patterns with `*`, or null for all. */
function namesOrNull(name: string, value: unknown): readonly string[] | null {
  if (value === null) return null
  const isList =
    Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string')
  if (!isList) throw new TypeError(`${name} must be a list of one or more names`)
  return value
}

function rateOrNull(name: string, value: unknown): number | null {
  if (value === null) return null
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number
  throw new RangeError(`${name} must be a whole number of requests per minute, 0 for no limit`)
}

function hashOf(name: string, key: unknown, sha256: unknown): string {
  if (sha256 !== undefined) {
    if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) {
      throw new TypeError(`${name}.sha256 must be 64 lowercase hexadecimal digits`)
    }
    return sha256
  }
  if (typeof key !== 'string' || key.length < API_KEY_CHARACTERS_MIN) {
    throw new RangeError(`${name}.key must have at least ${API_KEY_CHARACTERS_MIN} characters`)
  }
  return hashApiKey(key)
}

/**
 * SHA-256 of an API key as hexadecimal digits. Keys are long and random, so no slow hash is needed.
 */
export function hashApiKey(key: string): string {
  return createHash('sha256').update(key, 'utf8').digest('hex')
}

export const apiKeys: Kind = list(apiKey.syntax, apiKey, 'name', { secret: true })

const peer: Kind = {
  syntax: 'NODE=HOST:PORT[/SHARD/…]',
  repeats: true,
  fromText(name, given) {
    const [, nodeId, where, shards] = /^([^=]+)=([^/]+)(?:\/(.+))?$/s.exec(given) ?? []
    if (nodeId === undefined) {
      throw new TypeError(`${name} must be written NODE=HOST:PORT, got ${shown(given)}`)
    }
    return {
      nodeId,
      address: where,
      ...(shards === undefined ? {} : { shards: shards.split('/') }),
    }
  },
  check(name, value) {
    objectGiven(name, value)
    rejectUnknownKeys(name, value, ['nodeId', 'address', 'shards'])
    const { nodeId, address: where, shards = null } = value as Record<string, unknown>
    nameGiven(`${name}.nodeId`, nodeId, 256)
    address.check(`${name}.address`, where)
    if (shards === null) return { nodeId, address: where, shards }
    if (!Array.isArray(shards)) throw new TypeError(`${name}.shards must be a list of names`)
    for (const [index, shard] of shards.entries()) nameGiven(`${name}.shards[${index}]`, shard, 256)
    return { nodeId, address: where, shards }
  },
}

export const peers: Kind = list(peer.syntax, peer, 'nodeId')

const METRICS = ['cosine', 'l2', 'dot']
const STRATEGIES = ['last-write-wins', 'first-write-wins', 'merge', 'manual']

const shard: Kind = {
  syntax: 'SHARD:DIMENSION[:METRIC]',
  repeats: true,
  fromText(name, given) {
    const [, shardId, dimension, metric] = /^(.+?):(\d+)(?::([a-z0-9]+))?$/s.exec(given) ?? []
    if (shardId === undefined || dimension === undefined) {
      throw new TypeError(`${name} must be written SHARD:DIMENSION[:METRIC], got ${shown(given)}`)
    }
    return { shardId, dimension: Number(dimension), ...(metric === undefined ? {} : { metric }) }
  },
  check(name, value) {
    objectGiven(name, value)
    const known = ['shardId', 'dimension', 'metric', 'modelId', 'conflictStrategy']
    rejectUnknownKeys(name, value, known)
    const given = value as Record<string, unknown>
    const { shardId, dimension, metric = 'cosine', modelId = null, conflictStrategy = null } = given
    nameGiven(`${name}.shardId`, shardId, 256)
    integerIn(`${name}.dimension`, dimension, 1, DIMENSION_MAX)
    oneOf(`${name}.metric`, metric, METRICS)
    if (modelId !== null) nameGiven(`${name}.modelId`, modelId, 256)
    if (conflictStrategy !== null) oneOf(`${name}.conflictStrategy`, conflictStrategy, STRATEGIES)
    return { shardId, dimension, metric, modelId, conflictStrategy }
  },
}

export const shards: Kind = list(shard.syntax, shard, 'shardId')

/** A list of metadata paths. */
export const paths: Kind = {
  syntax: 'PATH',
  repeats: true,
  fromText: asIs,
  check(name, value) {
    if (!Array.isArray(value)) throw new TypeError(`${name} must be a list, got ${shown(value)}`)
    for (const [index, path] of value.entries()) nameGiven(`${name}[${index}]`, path, 1_024)
    return value
  },
}

/** The choice of peers that this node dials. */
export const topology: Kind = {
  syntax: 'mesh|ring|star:HUB|hierarchical:FANOUT',
  repeats: false,
  fromText: asIs,
  check(name, value) {
    if (typeof value !== 'string') throw new TypeError(`${name} must be text, got ${shown(value)}`)
    if (value === 'mesh' || value === 'ring') return { type: value }
    const [, type, rest = ''] = /^(star|hierarchical):(.+)$/s.exec(value) ?? []
    if (type === 'star') return { type, hub: rest }
    if (type === 'hierarchical') {
      const fanOut = integerFrom(name, rest)
      integerIn(name, fanOut, 1, 1_024)
      return { type, fanOut }
    }
    throw new TypeError(`${name} must be ${topology.syntax}, got ${shown(value)}`)
  },
}

function integerFrom(name: string, given: string): number {
  if (!/^\d{1,15}$/.test(given)) {
    throw new TypeError(`${name} must be an integer, got ${shown(given)}`)
  }
  return Number(given)
}
