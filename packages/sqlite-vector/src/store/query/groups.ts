/**
 * Grouped results: the nearest record of each value at a path of the metadata.
 *
 * Exact for the order given: results come nearest first, so the first of a value is its nearest.
 * More are asked for until there are `k` groups, or no more results.
 */
import { K_MAX } from '../../limits.ts'
import { parsePath } from '../../search/filter.ts'
import type { JsonValue } from '../../model/records.ts'
import { canonicalJson } from './sql-functions.ts'
import type { SearchResult } from './types.ts'

/** The first `k` groups of what `search` gives for a number of results. */
export function nearestOfGroups(
  path: string,
  k: number,
  search: (k: number) => readonly SearchResult[],
): readonly SearchResult[] {
  const segments = parsePath(path)
  for (let wanted = Math.min(K_MAX, 4 * k); ; wanted = Math.min(K_MAX, 4 * wanted)) {
    const results = search(wanted)
    const groups = new Map<string, SearchResult>()
    for (const [index, result] of results.entries()) {
      const value = valueAt(result.metadata, segments)
      const key = value === undefined ? `none ${index}` : `value ${canonicalJson(value)}`
      if (!groups.has(key)) groups.set(key, result)
      if (groups.size === k) break
    }
    if (groups.size === k || results.length < wanted || wanted === K_MAX)
      return [...groups.values()]
  }
}

function valueAt(metadata: JsonValue, segments: readonly string[]): JsonValue | undefined {
  let value: JsonValue | undefined = metadata
  for (const segment of segments) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, segment))
      return undefined
    value = (value as Readonly<Record<string, JsonValue>>)[segment]
  }
  return value
}
