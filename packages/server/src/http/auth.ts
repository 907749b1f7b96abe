/**
 * Who calls: API keys, compared by their hashes in constant time. Pure.
 *
 * Without keys everybody may call who reaches loopback and names it: a web page that pointed a name of its own
 * at 127.0.0.1 (DNS rebinding) sends that name as Host, and is refused.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { ApiKeyConfig } from '../config/types.ts'
import { isLoopback } from '../config/resolve.ts'
import { HttpError } from './errors.ts'
import type { RouteAccess } from './route.ts'

/** What a caller showed. */
export interface Credentials {
  /** The header `authorization`. */
  readonly authorization: string | undefined
  /** The header `host`. */
  readonly host: string | undefined
}

/** Finds the key that a caller showed; null when it showed none or a wrong one. */
export function keyOf(
  keys: readonly ApiKeyConfig[],
  authorization: string | undefined,
): ApiKeyConfig | null {
  const [, token] = /^Bearer ([^\s]{1,1024})$/i.exec(authorization ?? '') ?? []
  if (token === undefined) return null
  const shown = createHash('sha256').update(token, 'utf8').digest()
  let found: ApiKeyConfig | null = null
  // Every key is compared, whichever fits: the time says nothing.
  for (const key of keys) {
    if (timingSafeEqual(shown, Buffer.from(key.sha256, 'hex'))) found = key
  }
  return found
}

/** @throws HttpError unless a caller may use a route */
export function authorize(
  access: RouteAccess,
  keys: readonly ApiKeyConfig[],
  key: ApiKeyConfig | null,
  { authorization, host }: Credentials,
): void {
  if (access === 'open') return
  if (keys.length === 0) {
    if (namesLoopback(host)) return
    throw new HttpError('HTTP_HOST_REFUSED', 'the request names a host that is not loopback')
  }
  if (key === null) {
    const what = authorization === undefined ? 'no key was sent' : 'the key is not one of this node'
    throw new HttpError('HTTP_UNAUTHENTICATED', what)
  }
  if (access === 'write' && key.access !== 'read-write') {
    throw new HttpError('HTTP_FORBIDDEN', `the key ${key.name} may only read`)
  }
}

function namesLoopback(host: string | undefined): boolean {
  const name = /^(?:\[([^\]]+)\]|([^:]+))(?::\d+)?$/.exec(host ?? '')
  return isLoopback((name?.[1] ?? name?.[2] ?? '').toLowerCase())
}
