/**
 * Authentication and permission by API key; hashes are compared in constant time. Pure.
 *
 * Without keys, every caller that reaches loopback and names it as Host may call. A web page that
 * points a name of its own at 127.0.0.1 (DNS rebinding) sends that name as Host and is rejected.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { ApiKeyConfig } from '../config/types.ts'
import { isLoopback } from '../config/resolve.ts'
import { HttpError } from './errors.ts'
import type { RouteAccess } from './route.ts'

/** Headers that identify a caller. */
export interface Credentials {
  /** The header `authorization`. */
  readonly authorization: string | undefined
  /** The header `host`. */
  readonly host: string | undefined
}

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
    throw new HttpError('HTTP_HOST_REFUSED', 'the Host header names a host that is not loopback')
  }
  if (key === null) {
    const what =
      authorization === undefined
        ? 'the request has no API key'
        : 'the API key is not known to this node'
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
