/**
 * From a checked filter to a condition of SQL over a column of JSON text. Pure: text and
 * parameters.
 *
 * A condition is true, or false, or null where it is false: SQL's three values are two here,
 * because `not` is written `IS NOT TRUE` and `and`, `or` of null and false are never true. So a
 * record matches or it does not, and a filter and its `$not` split the records in two.
 *
 * Paths are literals in the text, never parameters: an expression index on `json_extract(metadata,
 * '$.lang')` is used only where the same text is written. Operands are parameters. JSON's types are
 * kept apart by json_type(), since json_extract() gives 1 for true and text for an array. Numbers
 * with a fraction are read by SQLite from the same decimal text on both sides, so that its rounding
 * cannot make them differ.
 *
 * `$regex`, and equality with arrays and objects, call functions of sql-functions.ts. A statement
 * grows with the number of conditions, never with the length of an operand, and AND and OR are
 * nested as balanced trees: SQLite bounds the depth of an expression.
 */
import { unreachable } from '../../assert.ts'
import { type Condition, type FilterPath, isIndex } from '../../search/filter.ts'
import { CANONICAL_FUNCTION, canonicalJson, REGEX_FUNCTION } from './sql-functions.ts'
import { type JsonValue } from '../../model/records.ts'

/** A condition to stand behind WHERE, with the values of its question marks in order. */
export interface FilterSql {
  readonly sql: string
  readonly params: readonly (string | number)[]
}

/**
 * A place in a document: SQL for the JSON type (null when missing), the value, and the document
 * that holds it.
 */
interface Place {
  readonly type: string
  readonly value: string
  /** A JSON document and a path in it; the value is a whole array or object there. */
  readonly document: string
  readonly path: string
}

/** The starting point of a condition's paths. */
interface Scope {
  /** An expression of JSON text, or null. */
  readonly document: string
  /** The element itself, where the scope is one. */
  readonly self: Place | null
  readonly params: (string | number)[]
  readonly aliases: { next: number }
}

/** Compiles `condition` over `column`, an SQL expression of JSON text such as `v.metadata`. */
export function filterToSql(condition: Condition, column: string): FilterSql {
  const params: (string | number)[] = []
  const scope = { document: column, self: null, params, aliases: { next: 0 } }
  return { sql: compile(condition, scope), params }
}

/**
 * The SQL expression for the value at a path, as conditions on that path write it; digits are keys.
 */
export function indexExpression(path: FilterPath, column: string): string {
  return `json_extract(${column}, ${literal(jsonPath(path))})`
}

/**
 * The expressions that an index on `path` must be over: with them it answers conditions without the
 * rows.
 */
export function indexExpressions(path: FilterPath, column: string): readonly string[] {
  return [indexExpression(path, column), `json_type(${column}, ${literal(jsonPath(path))})`]
}

function compile(condition: Condition, scope: Scope): string {
  switch (condition.type) {
    case 'and':
    case 'or': {
      const parts = condition.parts.map((part) => compile(part, scope))
      if (parts.length === 0) return condition.type === 'and' ? '1' : '0'
      return joined(parts, condition.type === 'and' ? 'AND' : 'OR')
    }
    case 'not':
      return `(${compile(condition.part, scope)} IS NOT TRUE)`
    case 'in':
      return compileIn(place(condition.path, scope), condition.values, scope)
    case 'compare':
      return compileComparison(condition, scope)
    case 'exists':
      return `(${place(condition.path, scope).type} IS NOT NULL)`
    case 'contains':
      return compileContains(place(condition.path, scope), condition.value, scope)
    case 'all':
      return compileAll(place(condition.path, scope), condition.values, scope)
    case 'regex': {
      const at = place(condition.path, scope)
      scope.params.push(condition.pattern, condition.flags)
      return `(${at.type} = 'text' AND ${REGEX_FUNCTION}(?, ?, ${at.value}))`
    }
    case 'element': {
      const at = place(condition.path, scope)
      const { from, element } = elementOf(at, scope)
      const inner = { ...scope, document: element.document, self: element }
      const sql = compile(condition.part, inner)
      return `(${at.type} = 'array' AND EXISTS (SELECT 1 FROM ${from} WHERE ${sql}))`
    }
    default:
      return unreachable(condition)
  }
}

function compileComparison(
  condition: Extract<Condition, { readonly type: 'compare' }>,
  scope: Scope,
): string {
  const at = place(condition.path, scope)
  const { operator, value } = condition
  const types = typeof value === 'number' ? NUMBER : `= 'text'`
  return `(${at.value} ${operator} ${operand(value, scope)} AND ${at.type} ${types})`
}

/** One of several values. Strings, numbers and compound values are a list each. */
function compileIn(at: Place, values: readonly JsonValue[], scope: Scope): string {
  const { strings, numbers, compounds, words } = byKind(values)
  const choices: string[] = []
  const [string, number] = [strings[0], numbers[0]]
  if (strings.length === 1 && string !== undefined) choices.push(equal(at, string, scope))
  else if (strings.length > 1) {
    choices.push(`(${at.value} IN ${listed(strings, scope)} AND ${at.type} = 'text')`)
  }
  if (numbers.length === 1 && number !== undefined) choices.push(equal(at, number, scope))
  else if (numbers.length > 1) {
    choices.push(`(${at.value} IN ${listed(numbers, scope)} AND ${at.type} ${NUMBER})`)
  }
  if (compounds.length > 0) {
    const found = canonicalAt(at)
    choices.push(`(${at.type} ${COMPOUND} AND ${found} IN ${listed(compounds, scope)})`)
  }
  for (const word of words) {
    choices.push(word === null ? `(IFNULL(${at.type}, 'null') = 'null')` : equal(at, word, scope))
  }
  return choices.length === 0 ? '0' : joined(choices, 'OR')
}

/** An array with an element equal to each value: as many distinct elements as distinct values. */
function compileAll(at: Place, values: readonly JsonValue[], scope: Scope): string {
  const { strings, numbers, compounds, words } = byKind(values)
  const parts = [`(${at.type} = 'array')`]
  const counted = (
    list: readonly (string | number)[],
    types: string,
    valueOf: (element: Place) => string,
  ): void => {
    if (list.length === 0) return
    const { from, element } = elementOf(at, scope)
    const value = valueOf(element)
    const where = `${element.type} ${types} AND ${value} IN ${listed(list, scope)}`
    parts.push(`((SELECT count(DISTINCT ${value}) FROM ${from} WHERE ${where}) = ${list.length})`)
  }
  counted(strings, `= 'text'`, ({ value }) => value)
  counted(numbers, NUMBER, ({ value }) => value)
  counted(compounds, COMPOUND, ({ value }) => `${CANONICAL_FUNCTION}(${value})`)
  for (const word of words) parts.push(someElement(at, word, scope))
  return joined(parts, 'AND')
}

const NUMBER = `IN ('integer', 'real')`
const COMPOUND = `IN ('array', 'object')`

/** The distinct values of each kind; compound ones in their canonical form. */
function byKind(values: readonly JsonValue[]): {
  readonly strings: readonly string[]
  readonly numbers: readonly number[]
  readonly compounds: readonly string[]
  readonly words: readonly (boolean | null)[]
} {
  const strings = new Set<string>()
  const numbers = new Set<number>()
  const compounds = new Set<string>()
  const words = new Set<boolean | null>()
  for (const value of values) {
    if (typeof value === 'string') strings.add(value)
    else if (typeof value === 'number') numbers.add(value)
    else if (value === null || typeof value === 'boolean') words.add(value)
    else compounds.add(canonicalJson(value))
  }
  return {
    strings: [...strings],
    numbers: [...numbers],
    compounds: [...compounds],
    words: [...words],
  }
}

/** A list as one parameter. */
function listed(values: readonly (string | number)[], { params }: Scope): string {
  params.push(JSON.stringify(values))
  return '(SELECT value FROM json_each(?))'
}

/** Conditions combined as a balanced tree. */
function joined(parts: readonly string[], operator: 'AND' | 'OR'): string {
  const [only] = parts
  if (only !== undefined && parts.length === 1) return only
  const half = Math.ceil(parts.length / 2)
  return `(${joined(parts.slice(0, half), operator)} ${operator} ${joined(parts.slice(half), operator)})`
}

function compileContains(at: Place, value: JsonValue, scope: Scope): string {
  const element = `(${at.type} = 'array' AND ${someElement(at, value, scope)})`
  if (typeof value !== 'string') return element
  scope.params.push(value)
  return `(${element} OR (${at.type} = 'text' AND instr(${at.value}, ?) > 0))`
}

function someElement(at: Place, value: JsonValue, scope: Scope): string {
  const { from, element } = elementOf(at, scope)
  return `EXISTS (SELECT 1 FROM ${from} WHERE ${equal(element, value, scope)})`
}

/** The elements of the array at a place, under a name of their own. */
function elementOf(at: Place, scope: Scope): { readonly from: string; readonly element: Place } {
  const name = `e${scope.aliases.next}`
  scope.aliases.next += 1
  // A scalar element is not a JSON document: a path into it would be an error, not a miss.
  const document = `CASE WHEN ${name}.type IN ('array', 'object') THEN ${name}.value END`
  const element = { type: `${name}.type`, value: `${name}.value`, document, path: `'$'` }
  return { from: `json_each(${at.document}, ${at.path}) AS ${name}`, element }
}

/** Equality of JSON values, where null is only null. */
function equal(at: Place, value: JsonValue, scope: Scope): string {
  if (value === null) return `(${at.type} = 'null')`
  if (typeof value === 'boolean') return `(${at.type} = '${value}')`
  if (typeof value === 'string') {
    return `(${at.value} = ${operand(value, scope)} AND ${at.type} = 'text')`
  }
  if (typeof value === 'number') {
    return `(${at.value} = ${operand(value, scope)} AND ${at.type} ${NUMBER})`
  }
  scope.params.push(canonicalJson(value))
  return `(${at.type} ${COMPOUND} AND ${canonicalAt(at)} = ?)`
}

/** The array or object at a place in its canonical form: the operator -> gives its JSON. */
function canonicalAt(at: Place): string {
  return `${CANONICAL_FUNCTION}(${at.document} -> ${at.path})`
}

function operand(value: string | number, scope: Scope): string {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    scope.params.push(JSON.stringify(value))
    return `json_extract(?, '$')`
  }
  scope.params.push(value)
  return '?'
}

function place(path: FilterPath, scope: Scope): Place {
  if (path.length === 0 && scope.self !== null) return scope.self
  const variants = jsonPaths(path)
  const [only] = variants
  if (variants.length === 1 && only !== undefined) return placeAt(only, scope)
  // At most one of them exists: an array has no keys and an object no indexes.
  const places = variants.map((variant) => placeAt(variant, scope))
  const types = places.map((each) => each.type).join(', ')
  const values = places.map((each) => each.value).join(', ')
  const cases = places.map((each) => `WHEN ${each.type} IS NOT NULL THEN ${each.path}`).join(' ')
  return {
    type: `COALESCE(${types})`,
    value: `COALESCE(${values})`,
    document: scope.document,
    path: `CASE ${cases} ELSE '$' END`,
  }
}

function placeAt(path: string, scope: Scope): Place {
  const { document } = scope
  const quoted = literal(path)
  return {
    type: `json_type(${document}, ${quoted})`,
    value: `json_extract(${document}, ${quoted})`,
    document,
    path: quoted,
  }
}

/** The path with every segment a key. */
function jsonPath(path: FilterPath): string {
  return ['$', ...path.map(label)].join('.')
}

/** The path, and where a segment is of digits also the path with an index in its place. */
function jsonPaths(path: FilterPath): string[] {
  return path.reduce<string[]>(
    (prefixes, segment) => {
      const keyed = prefixes.map((prefix) => `${prefix}.${label(segment)}`)
      if (!isIndex(segment)) return keyed
      return [...keyed, ...prefixes.map((prefix) => `${prefix}[${segment}]`)]
    },
    ['$'],
  )
}

/** A key as a step of SQLite's JSON path. */
function label(key: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) ? key : JSON.stringify(key)
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
