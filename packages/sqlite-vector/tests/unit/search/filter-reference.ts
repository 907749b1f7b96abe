/**
 * The meaning of a filter as plain TypeScript over parsed metadata: the definition that SQL is
 * compared with. Written from the rules in filter.ts, from the filter as the caller gives it, not
 * from its parsed form.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Filter, FilterOperators } from '../../../src/search/filter.ts'
import { type JsonValue, type Metadata } from '../../../src/model/records.ts'

type Found = JsonValue | undefined

/** True when `metadata` passes `filter`. */
export function matches(filter: Filter, metadata: Metadata): boolean {
  return matchesWithin(filter, metadata)
}

function matchesWithin(filter: Filter, root: Found): boolean {
  return Object.entries(filter).every(([key, value]) => {
    if (key === '$and') return (value as Filter[]).every((part) => matchesWithin(part, root))
    if (key === '$or') return (value as Filter[]).some((part) => matchesWithin(part, root))
    if (key === '$not') return !matchesWithin(value as Filter, root)
    return matchesField(at(root, key.split('.')), value)
  })
}

function matchesField(found: Found, condition: unknown): boolean {
  if (!isOperators(condition)) return equalOrNull(found, condition as JsonValue)
  return Object.entries(condition).every(([operator, operand]) =>
    holds(found, operator, operand, condition as FilterOperators),
  )
}

function holds(found: Found, operator: string, operand: unknown, all: FilterOperators): boolean {
  switch (operator) {
    case '$eq':
      return equalOrNull(found, operand as JsonValue)
    case '$ne':
      return !equalOrNull(found, operand as JsonValue)
    case '$in':
      return (operand as JsonValue[]).some((value) => equalOrNull(found, value))
    case '$nin':
      return !(operand as JsonValue[]).some((value) => equalOrNull(found, value))
    case '$gt':
    case '$gte':
    case '$lt':
    case '$lte':
      return compares(found, operator, operand)
    case '$exists':
      return (found !== undefined) === operand
    case '$contains':
      if (Array.isArray(found)) return found.some((value) => isDeepStrictEqual(value, operand))
      return typeof found === 'string' && typeof operand === 'string' && found.includes(operand)
    case '$all':
      return (
        Array.isArray(found) &&
        (operand as JsonValue[]).every((value) =>
          found.some((each) => isDeepStrictEqual(each, value)),
        )
      )
    case '$regex':
      return (
        typeof found === 'string' && new RegExp(operand as string, all.$options ?? '').test(found)
      )
    case '$options':
      return true
    case '$not':
      return !matchesField(found, operand)
    case '$elemMatch':
      if (!Array.isArray(found)) return false
      return found.some((each: JsonValue) =>
        isAboutItself(operand)
          ? matchesField(each, operand)
          : matchesWithin(operand as Filter, each),
      )
    default:
      throw new Error(`the reference knows no ${operator}`)
  }
}

function compares(found: Found, operator: string, operand: unknown): boolean {
  if (typeof found !== typeof operand) return false
  let order: number
  if (typeof found === 'number') order = found - (operand as number)
  else if (typeof found === 'string') {
    order = Buffer.compare(Buffer.from(found), Buffer.from(operand as string))
  } else return false
  if (operator === '$gt') return order > 0
  if (operator === '$gte') return order >= 0
  return operator === '$lt' ? order < 0 : order <= 0
}

/** null stands for null and for missing. */
function equalOrNull(found: Found, value: JsonValue): boolean {
  if (value === null) return found === null || found === undefined
  return found !== undefined && isDeepStrictEqual(found, value)
}

function at(root: Found, path: readonly string[]): Found {
  let value = root
  for (const segment of path) {
    if (Array.isArray(value)) {
      value = /^(0|[1-9]\d*)$/.test(segment) ? (value[Number(segment)] as Found) : undefined
    } else if (typeof value === 'object' && value !== null) {
      const keyed = value as { readonly [key: string]: JsonValue }
      value = Object.hasOwn(keyed, segment) ? keyed[segment] : undefined
    } else return undefined
  }
  return value
}

function isOperators(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const keys = Object.keys(value)
  return keys.length > 0 && keys.every((key) => key.startsWith('$'))
}

function isAboutItself(value: unknown): boolean {
  if (!isOperators(value) || '$and' in value || '$or' in value) return false
  return Object.keys(value).some((name) => name !== '$not') || isAboutItself(value['$not'])
}
