/**
 * Filters over metadata in the manner of MongoDB: from a caller's object to a checked tree of
 * conditions.
 *
 * ```
 * { lang: 'en', year: { $gte: 2020, $lt: 2024 }, 'author.name': { $in: ['Ada', 'Alan'] } }
 * ```
 *
 * A key is a path: segments joined by dots, `\.` for a dot in a name; a segment of digits is an
 * index where the value it is applied to is an array, else a key. Several keys, or several
 * operators, must all hold.
 *
 * Meaning, exactly (tests compare it with an evaluator in plain TypeScript):
 *   - A path leads to a JSON value or is missing. `null` as an operand of $eq, $ne, $in, $nin
 *     stands for null *and* missing; `$exists` alone tells the two apart.
 *   - Equality is of JSON values, deeply: 1 is neither "1" nor true, arrays in order, objects in
 *     any order.
 *   - $gt $gte $lt $lte compare numbers with numbers and strings with strings (by their UTF-8
 *     bytes); anything else, missing included, does not match.
 *   - $ne, $nin, $not are exact complements of $eq, $in and their condition: they match where the
 *     path is missing.
 *   - $contains: an element of an array equal to the operand, or a substring of a string. $all: an
 *     array that has an element equal to each operand. $elemMatch: an array of which one element
 *     meets the conditions.
 *   - $regex: a regular expression that matches somewhere in a string, in time linear in the
 *     string (regex.ts); `$options` are its flags i, m, s, u.
 *   - $and of nothing matches everything, $or and $in of nothing match nothing.
 *
 * Cost: a condition is at most a few SQL expressions, however long its operand. Depth, conditions,
 * bytes of operands, segments of digits and regular expressions are bounded (limits.ts) before a
 * statement is made.
 *
 * Differs from MongoDB: an array is a value like any other; equality and comparison do not look
 * into it (say $contains or $elemMatch). `$not` may also stand beside keys, before a whole filter.
 */
import {
  FILTER_CONDITIONS_MAX,
  FILTER_DEPTH_MAX,
  FILTER_DIGIT_SEGMENTS_MAX,
  FILTER_NEEDLE_CHARACTERS_MAX,
  FILTER_OPERANDS_BYTES_MAX,
  FILTER_REGEXES_MAX,
  METADATA_DEPTH_MAX,
} from '../limits.ts'
import { nearestName, shown } from '../options.ts'
import { regexFault } from './regex.ts'
import { type JsonValue } from '../model/records.ts'

export type { Filter, FilterOperators } from './filter-types.ts'

/** Segments of a path; none for the value itself, which an element of an array is. */
export type FilterPath = readonly string[]

/** A checked condition. */
export type Condition =
  | { readonly type: 'and' | 'or'; readonly parts: readonly Condition[] }
  | { readonly type: 'not'; readonly part: Condition }
  | { readonly type: 'in'; readonly path: FilterPath; readonly values: readonly JsonValue[] }
  | {
      readonly type: 'compare'
      readonly path: FilterPath
      readonly operator: '>' | '>=' | '<' | '<='
      readonly value: number | string
    }
  | { readonly type: 'exists'; readonly path: FilterPath }
  | { readonly type: 'contains'; readonly path: FilterPath; readonly value: JsonValue }
  | { readonly type: 'all'; readonly path: FilterPath; readonly values: readonly JsonValue[] }
  | {
      readonly type: 'regex'
      readonly path: FilterPath
      readonly pattern: string
      readonly flags: string
    }
  | { readonly type: 'element'; readonly path: FilterPath; readonly part: Condition }

const COMPARISONS = { $gt: '>', $gte: '>=', $lt: '<', $lte: '<=' } as const

const OPERATORS: readonly string[] =
  '$eq $ne $gt $gte $lt $lte $in $nin $exists $contains $all $regex $options $elemMatch $not'.split(
    ' ',
  )

const COMBINATIONS = ['$and', '$or', '$not']

/** Cost of the part of a filter read so far: bounds the statement and its work for each record. */
interface Budget {
  /** Paths that the statement looks up. */
  conditions: number
  /** Bytes of the operands, about. */
  bytes: number
  regexes: number
}

/** Checks a filter. @throws TypeError or RangeError that names the place and the rule */
export function parseFilter(filter: unknown): Condition {
  return parseCombination(filter, 'filter', 0, { conditions: 0, bytes: 0, regexes: 0 })
}

function parseCombination(filter: unknown, at: string, depth: number, budget: Budget): Condition {
  if (!isPlainObject(filter)) throw new TypeError(`${at} must be an object, got ${shown(filter)}`)
  descend(at, depth)
  const parts = Object.entries(filter).map(([key, value]): Condition => {
    const here = `${at}.${key}`
    if (key === '$and' || key === '$or') {
      const filters = listGiven(here, value)
      const each = filters.map((part, i) =>
        parseCombination(part, `${here}[${i}]`, depth + 1, budget),
      )
      return { type: key === '$and' ? 'and' : 'or', parts: each }
    }
    if (key === '$not') {
      return { type: 'not', part: parseCombination(value, here, depth + 1, budget) }
    }
    if (key.startsWith('$')) throw unknownOperator(here, key, COMBINATIONS)
    refuseBareCombination(key, value, here)
    return parseField(pathGiven(key, here), value, here, depth + 1, budget)
  })
  return both(parts)
}

function parseField(
  path: FilterPath,
  given: unknown,
  at: string,
  depth: number,
  budget: Budget,
): Condition {
  if (!isOperators(given)) {
    refuseBareOperators(given, at)
    spend(at, budget, path)
    return { type: 'in', path, values: [jsonGiven(at, given, budget)] }
  }
  descend(at, depth)
  if (given['$options'] !== undefined && given['$regex'] === undefined) {
    throw new TypeError(`${at}.$options needs $regex beside it`)
  }
  const parts = Object.entries(given)
    .filter(([operator]) => operator !== '$options')
    .map(([operator, operand]) => {
      const here = `${at}.${operator}`
      if (operator === '$regex') return parseRegex(path, operand, given['$options'], at, budget)
      if (operator === '$not') {
        if (!isOperators(operand)) {
          throw new TypeError(`${here} must be an object of operators, got ${shown(operand)}`)
        }
        return { type: 'not', part: parseField(path, operand, here, depth + 1, budget) } as const
      }
      if (operator === '$elemMatch') return parseElement(path, operand, here, depth, budget)
      return parseOperator(path, operator, operand, here, budget)
    })
  return both(parts)
}

function parseOperator(
  path: FilterPath,
  operator: string,
  operand: unknown,
  at: string,
  budget: Budget,
): Condition {
  spend(at, budget, path)
  switch (operator) {
    case '$eq':
      return { type: 'in', path, values: [jsonGiven(at, operand, budget)] }
    case '$ne':
      return { type: 'not', part: { type: 'in', path, values: [jsonGiven(at, operand, budget)] } }
    case '$in':
      return { type: 'in', path, values: valuesGiven(at, operand, budget) }
    case '$nin':
      return { type: 'not', part: { type: 'in', path, values: valuesGiven(at, operand, budget) } }
    case '$all':
      return { type: 'all', path, values: valuesGiven(at, operand, budget) }
    case '$contains':
      return { type: 'contains', path, value: needleGiven(at, operand, budget) }
    case '$exists': {
      if (typeof operand !== 'boolean') {
        throw new TypeError(`${at} must be true or false, got ${shown(operand)}`)
      }
      const exists = { type: 'exists', path } as const
      return operand ? exists : { type: 'not', part: exists }
    }
    case '$gt':
    case '$gte':
    case '$lt':
    case '$lte': {
      const value = jsonGiven(at, operand, budget)
      if (typeof value !== 'number' && typeof value !== 'string') {
        throw new TypeError(`${at} must be a number or a string, got ${shown(operand)}`)
      }
      return { type: 'compare', path, operator: COMPARISONS[operator], value }
    }
    default:
      throw unknownOperator(at, operator, OPERATORS)
  }
}

function parseElement(
  path: FilterPath,
  operand: unknown,
  at: string,
  depth: number,
  budget: Budget,
): Condition {
  spend(at, budget, path)
  const part = isAboutItself(operand)
    ? parseField([], operand, at, depth + 1, budget)
    : parseCombination(operand, at, depth + 1, budget)
  return { type: 'element', path, part }
}

function parseRegex(
  path: FilterPath,
  operand: unknown,
  options: unknown,
  at: string,
  budget: Budget,
): Condition {
  spend(at, budget, path)
  if (operand instanceof RegExp && options !== undefined) {
    throw new TypeError(`${at}.$options: the RegExp has flags of its own`)
  }
  const pattern = operand instanceof RegExp ? operand.source : operand
  if (typeof pattern !== 'string') {
    throw new TypeError(`${at}.$regex must be a string or a RegExp, got ${shown(operand)}`)
  }
  budget.regexes += 1
  if (budget.regexes > FILTER_REGEXES_MAX) {
    throw new RangeError(`${at}: a filter has at most ${FILTER_REGEXES_MAX} regular expressions`)
  }
  const flags = flagsGiven(at, operand instanceof RegExp ? operand.flags : (options ?? ''))
  const fault = regexFault(pattern, flags)
  if (fault !== null) throw new RangeError(`${at}.$regex ${fault}, got ${shown(pattern)}`)
  return { type: 'regex', path, pattern, flags }
}

function flagsGiven(at: string, flags: unknown): string {
  if (
    typeof flags !== 'string' ||
    !/^[imsu]*$/.test(flags) ||
    new Set(flags).size !== flags.length
  ) {
    throw new TypeError(`${at}.$options must be some of i, m, s, u, got ${shown(flags)}`)
  }
  return flags
}

/** Segments of a dotted path; `\.` is a dot within a name and `\\` a backslash. */
export function parsePath(key: string): FilterPath {
  const segments: string[] = []
  let segment = ''
  for (let i = 0; i < key.length; i += 1) {
    const character = key[i] ?? ''
    if (character === '\\' && (key[i + 1] === '.' || key[i + 1] === '\\')) {
      segment += key[i + 1] ?? ''
      i += 1
    } else if (character === '.') {
      segments.push(segment)
      segment = ''
    } else {
      segment += character
    }
  }
  return [...segments, segment]
}

/** The path of a key. @throws RangeError when it leads nowhere, or to too many places */
function pathGiven(key: string, at: string): FilterPath {
  if (!key.isWellFormed()) throw new RangeError(`${at}: a path must be well-formed Unicode`)
  const path = parsePath(key)
  if (path.length > METADATA_DEPTH_MAX) {
    throw new RangeError(
      `${at}: a path has at most ${METADATA_DEPTH_MAX} segments, as metadata is nested no deeper, ` +
        `got ${path.length}`,
    )
  }
  const digits = path.filter(isIndex).length
  if (digits > FILTER_DIGIT_SEGMENTS_MAX) {
    throw new RangeError(
      `${at}: a path has at most ${FILTER_DIGIT_SEGMENTS_MAX} segments of digits, got ${digits}`,
    )
  }
  return path
}

/** A segment that is an index where it is applied to an array. */
export function isIndex(segment: string): boolean {
  return /^(0|[1-9]\d{0,8})$/.test(segment)
}

function both(parts: readonly Condition[]): Condition {
  const [only] = parts
  return only !== undefined && parts.length === 1 ? only : { type: 'and', parts }
}

function valuesGiven(at: string, operand: unknown, budget: Budget): JsonValue[] {
  return elementsGiven(at, listGiven(at, operand), budget, 0)
}

function elementsGiven(
  at: string,
  values: readonly unknown[],
  budget: Budget,
  depth: number,
): JsonValue[] {
  // Refused by its length before anything of a long list is read.
  spendBytes(at, budget, 2 * values.length)
  return Array.from(values, (value, i) => jsonGiven(`${at}[${i}]`, value, budget, depth))
}

function spendBytes(at: string, budget: Budget, bytes: number): void {
  budget.bytes += bytes
  if (budget.bytes > FILTER_OPERANDS_BYTES_MAX) {
    throw new RangeError(
      `${at}: the operands of a filter take at most ${FILTER_OPERANDS_BYTES_MAX} bytes`,
    )
  }
}

/** The operand of `$contains`: looking for a long text in a long text takes their product. */
function needleGiven(at: string, operand: unknown, budget: Budget): JsonValue {
  if (typeof operand === 'string' && operand.length > FILTER_NEEDLE_CHARACTERS_MAX) {
    throw new RangeError(
      `${at} must have at most ${FILTER_NEEDLE_CHARACTERS_MAX} characters, got ${operand.length}`,
    )
  }
  return jsonGiven(at, operand, budget)
}

function listGiven(at: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`${at} must be an array, got ${shown(value)}`)
  return value
}

/**
 * Checks that an operand is a JSON value: `undefined` or NaN in a filter is a mistake, not a wish.
 */
function jsonGiven(at: string, value: unknown, budget: Budget, depth = 0): JsonValue {
  spendBytes(at, budget, typeof value === 'string' ? value.length + 3 : 8)
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw new RangeError(`${at} must be well-formed Unicode`)
    return value
  }
  if (typeof value === 'number' && Number.isFinite(value)) return value
  descend(at, depth)
  if (Array.isArray(value)) return elementsGiven(at, value, budget, depth + 1)
  if (isPlainObject(value)) {
    const entries = Object.entries(value)
    return Object.fromEntries(
      entries.map(([key, each]) => {
        budget.bytes += key.length + 3
        return [key, jsonGiven(`${at}.${key}`, each, budget, depth + 1)]
      }),
    )
  }
  throw new TypeError(`${at} must be a JSON value, got ${shown(value)}`)
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/**
 * An object is a set of operators when its keys say so; a mix of operators and names is refused.
 */
function isOperators(value: unknown): value is Record<string, unknown> {
  if (!isPlainObject(value)) return false
  const keys = Object.keys(value)
  const operators = keys.filter((key) => key.startsWith('$'))
  if (operators.length === 0) return false
  if (operators.length < keys.length) {
    throw new TypeError(`operators and names stand side by side: ${keys.join(', ')}`)
  }
  return true
}

/**
 * Operators are about the element itself; names and combinations of filters about what lies in it.
 */
function isAboutItself(operand: unknown): boolean {
  if (!isOperators(operand) || '$and' in operand || '$or' in operand) return false
  const onlyNot = Object.keys(operand).every((key) => key === '$not')
  return !onlyNot || isAboutItself(operand['$not'])
}

function descend(at: string, depth: number): void {
  if (depth > FILTER_DEPTH_MAX) {
    throw new RangeError(`${at} is nested deeper than ${FILTER_DEPTH_MAX} levels`)
  }
}

/** A segment of digits may be a key or an index, so each doubles the places that are looked up. */
function spend(at: string, budget: Budget, path: FilterPath): void {
  budget.conditions += 2 ** path.filter(isIndex).length
  if (budget.conditions > FILTER_CONDITIONS_MAX) {
    throw new RangeError(
      `${at}: a filter has at most ${FILTER_CONDITIONS_MAX} conditions ` +
        '(each segment of digits in a path doubles its count)',
    )
  }
}

/** `{ year: { gt: 2000 } }` would be equality with an object, and match nothing in silence. */
function refuseBareOperators(value: unknown, at: string): void {
  if (!isPlainObject(value)) return
  const keys = Object.keys(value)
  if (keys.length === 0 || !keys.every((key) => OPERATORS.includes(`$${key}`))) return
  throw new TypeError(
    `${at}: operators begin with $. Did you mean ${keys.map((key) => `$${key}`).join(', ')}? ` +
      `For equality with an object of such keys, write { $eq: … }.`,
  )
}

/** The same for `{ or: [{ … }, { … }] }` and `{ not: { … } }`. */
function refuseBareCombination(key: string, value: unknown, at: string): void {
  const isList = (key === 'and' || key === 'or') && Array.isArray(value) && value.length > 0
  if (!isList || !value.every(isPlainObject)) return
  throw new TypeError(
    `${at}: operators begin with $. Did you mean $${key}? ` +
      `For equality with an array, write { $eq: … }.`,
  )
}

function unknownOperator(at: string, operator: string, known: readonly string[]): TypeError {
  const nearest = nearestName(operator, known)
  const remedy = nearest === undefined ? `Known: ${known.join(', ')}.` : `Did you mean ${nearest}?`
  return new TypeError(`${at}: unknown operator ${shown(operator)}. ${remedy}`)
}
