/**
 * The SQL functions that filters call: regular expressions, and a canonical form of JSON.
 *
 * Both are deterministic and total: they give NULL or 0 for values they are not made for, and never
 * throw inside a statement.
 */
import type { SqliteDatabase } from '#platform'

import { METADATA_DEPTH_MAX } from '../../limits.ts'
import { jsonDepth } from '../../model/json-depth.ts'
import type { JsonValue } from '../../model/records.ts'
import { linearRegex } from '../../search/regex.ts'

/** (pattern, flags, text) → 1 where the pattern matches in the text, else 0. */
export const REGEX_FUNCTION = 'sqlite_vector_regex'

/** (JSON text) → the same value with sorted keys, so that equal values are equal texts. */
export const CANONICAL_FUNCTION = 'sqlite_vector_canonical'

/** Registers the functions on an open connection. */
export function registerSqlFunctions(db: SqliteDatabase): void {
  db.function(REGEX_FUNCTION, { deterministic: true }, (pattern, flags, text) => {
    if (typeof pattern !== 'string' || typeof flags !== 'string') return 0
    return typeof text === 'string' && linearRegex(pattern, flags).test(text) ? 1 : 0
  })
  db.function(CANONICAL_FUNCTION, { deterministic: true }, (json) =>
    typeof json === 'string' ? canonicalOf(json) : null,
  )
}

/** A JSON value as text: keys sorted, numbers as JavaScript writes them. */
export function canonicalJson(value: JsonValue): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`
  const keys = Object.keys(value).toSorted()
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] ?? null)}`).join(',')}}`
}

/** The canonical form of a text; null where it is too deep to equal any operand, or is not JSON. */
function canonicalOf(json: string): string | null {
  if (jsonDepth(json) > METADATA_DEPTH_MAX) return null
  try {
    return canonicalJson(JSON.parse(json) as JsonValue)
  } catch {
    // A damaged row: SQLite reads on over more than JSON allows.
    return null
  }
}

function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value)
}
