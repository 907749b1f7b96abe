/**
 * Keeps web pages of other origins out: a page can send requests to any address that its reader can
 * reach, and some of them need no preflight. Pure.
 *
 * Browsers set both headers themselves and pages cannot forge them. Programs send neither.
 * Reference: Fetch Metadata Request Headers; RFC 6454.
 */
import { HttpError } from './errors.ts'

/** The request headers that tell where a request comes from. */
export interface Provenance {
  readonly 'sec-fetch-site'?: string | string[] | undefined
  readonly origin?: string | undefined
  readonly host?: string | undefined
}

/** @throws HttpError `HTTP_ORIGIN_REFUSED` for a request of another origin's page */
export function refuseOtherOrigins(headers: Provenance): void {
  const site = headers['sec-fetch-site']
  if (site !== undefined) {
    if (site === 'same-origin' || site === 'none') return
    throw new HttpError('HTTP_ORIGIN_REFUSED', 'the request comes from a page of another site')
  }
  const { origin, host } = headers
  if (origin === undefined) return
  const named = URL.canParse(origin) ? new URL(origin).host : null
  if (named !== null && named === host?.toLowerCase()) return
  throw new HttpError('HTTP_ORIGIN_REFUSED', 'the request comes from a page of another origin')
}
