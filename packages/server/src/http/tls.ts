/**
 * The certificate of the HTTP API: read at start, and again when its files change.
 *
 * A pair that cannot be used (half written, key of another certificate) is reported and the one in
 * force stays.
 */
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { ConfigError } from '../config/types.ts'

/** PEM texts as `node:https` takes them. */
export interface Tls {
  readonly files: { readonly cert: string; readonly key: string }
}

/** @throws ConfigError naming the file that cannot be read or used */
export function readTls(certificate: string, key: string): Tls {
  const files = { cert: read('certificate', certificate), key: read('key', key) }
  try {
    createSecureContext(files)
  } catch (cause) {
    throw new ConfigError(
      `http.tls: ${certificate} and ${key} do not work together: ${(cause as Error).message}`,
      { cause },
    )
  }
  return { files }
}

function read(what: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ConfigError(`http.tls.${what}: cannot read ${path}: ${(cause as Error).message}`, {
      cause,
    })
  }
}
