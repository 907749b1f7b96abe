/**
 * Authentication and permission by API key; hashes are compared in constant time. Pure.
 *
 * A key may be limited to shards and to operations. Without keys, every caller that reaches
 * loopback and names it as Host may call. A web page that points a name of its own at 127.0.0.1
 * (DNS rebinding) sends that name as Host and is rejected.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { ApiKeyConfig } from '../config/types.ts'
import { isLoopback } from '../config/resolve.ts'
import { HttpError } from './errors.ts'
import type { RouteAccess } from './route.ts'

/** Headers that identify a caller. */
export interface Credentials {
  readonly authorization: string | undefined
  readonly host: string | undefined
}

/** The part of a request that permission depends on. */
export interface Operation {
  readonly access: RouteAccess
  /** Operation id and tag of the route; null for a request without a route. */
  readonly id: string | null
  readonly tag: string | null
  /** The shard in the path; null where the route concerns the whole node. */
  readonly shard: string | null
}

/**
 * Operations of the whole node that a key limited to shards may use; their answers are filtered.
 */
const FILTERED: readonly string[] = ['listShards', 'mcp']

/** Finds the caller's key; null without a valid one. */
export function keyOf(
  keys: readonly ApiKeyConfig[],
  authorization: string | undefined,
): ApiKeyConfig | null {
  const [, token] = /^Bearer ([^\s]{1,1024})$/i.exec(authorization ?? '') ?? []
  if (token === undefined) return null
  const shown = createHash('sha256').update(token, 'utf8').digest()
  let found: ApiKeyConfig | null = null
  // Every key is compared, so the time reveals nothing.
  for (const key of keys) {
    if (timingSafeEqual(shown, Buffer.from(key.sha256, 'hex'))) found = key
  }
  return found
}

/** @throws HttpError unless a caller may use an operation */
export function authorize(
  operation: Operation,
  keys: readonly ApiKeyConfig[],
  key: ApiKeyConfig | null,
  { authorization, host }: Credentials,
): void {
  if (operation.access === 'open') return
  if (keys.length === 0) {
    if (namesLoopback(host)) return
    throw new HttpError('HTTP_HOST_REFUSED', 'the Host header names a host that is not loopback')
  }
  if (key === null) {
    const detail =
      authorization === undefined
        ? 'the request has no API key'
        : 'the API key is not known to this node'
    throw new HttpError('HTTP_UNAUTHENTICATED', detail)
  }
  refuseBeyond(operation, key)
}

function refuseBeyond({ access, id, tag, shard }: Operation, key: ApiKeyConfig): void {
  const { name, operations, shards } = key
  if (access !== 'read' && key.access !== 'read-write') {
    throw new HttpError('HTTP_FORBIDDEN', `the key ${name} may only read`)
  }
  if (access === 'admin' && (shards !== null || operations !== null)) {
    throw new HttpError('HTTP_FORBIDDEN', `the key ${name} may not administer the node`)
  }
  const isAllowed =
    operations === null || operations.some((allowed) => allowed === id || allowed === tag)
  if (!isAllowed) throw new HttpError('HTTP_FORBIDDEN', `the key ${name} may not use ${id}`)
  if (shards === null) return
  if (shard === null) {
    if (id !== null && FILTERED.includes(id)) return
    throw new HttpError('HTTP_FORBIDDEN', `the key ${name} may use its shards only`)
  }
  if (!mayUseShard(key, shard)) {
    throw new HttpError('HTTP_FORBIDDEN', `the key ${name} may not use this shard`)
  }
}

/** Returns true when the key (null: no key is needed) may use a shard. */
export function mayUseShard(key: ApiKeyConfig | null, shardId: string): boolean {
  if (key === null || key.shards === null) return true
  return key.shards.some((pattern) => matches(pattern, shardId))
}

/** `*` stands for any characters. */
function matches(pattern: string, shardId: string): boolean {
  const literal = pattern.split('*').map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'))
  return new RegExp(`^${literal.join('[^]*')}$`).test(shardId)
}

function namesLoopback(host: string | undefined): boolean {
  const name = /^(?:\[([^\]]+)\]|([^:]+))(?::\d+)?$/.exec(host ?? '')
  return isLoopback((name?.[1] ?? name?.[2] ?? '').toLowerCase())
}
