/**
 * Random requests from the OpenAPI document of a node: values that fit their schema, values at and
 * beyond its bounds, and values of other kinds. Seeded, so that a failure can be made again.
 */

/** One request to be sent. */
export interface FuzzRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  /** Event streams are left once their headers are there. */
  readonly isStream: boolean
}

interface Schema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly maxItems?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly oneOf?: readonly Schema[]
  readonly anyOf?: readonly Schema[]
}

interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly schema: Schema
}

interface Operation {
  readonly operationId: string
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
  readonly responses: Readonly<Record<string, { readonly content?: object }>>
}

export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

/** mulberry32. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  below(count: number): number {
    return Math.floor(this.next() * count)
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }
}

const NAMES = ['a', 'b', 'wide', 'unknown', 'x/y', 'ä', '%', '..', '*', '', 'n'.repeat(300)]

const TEXTS = [
  '',
  'word',
  'two words',
  '"quoted" AND NEAR(',
  "'; DROP TABLE vectors; --",
  '\u0000',
  '\ud800',
  '‮🎈',
  'x'.repeat(5_000),
  'w '.repeat(2_000),
  '127.0.0.1:1',
  'not an address',
  '(a+)+$',
]

const NUMBERS = [0, 1, -1, 2, 10, 100, 9_999, 10_000, 10_001, 1e9, -0, 0.5, 1e308, -1e308, 2 ** 53]

const OPERATORS = ['$eq', '$gt', '$in', '$all', '$and', '$or', '$not', '$regex', '$exists', '$nope']

const PATHS = ['year', 'a.b', 'a.0.1.2.3.4.5.6.7.8.9', '', '$', 'x'.repeat(200), 'a"b', "a'b"]

export class Requests {
  readonly #random: Random
  readonly #document: Document
  readonly #operations: readonly {
    readonly method: string
    readonly path: string
    readonly operation: Operation
  }[]

  constructor(document: Document, seed: number) {
    this.#random = new Random(seed)
    this.#document = document
    this.#operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        method: method.toUpperCase(),
        path,
        operation,
      })),
    )
  }

  next(): FuzzRequest {
    const random = this.#random
    const { method, path, operation } = random.pick(this.#operations)
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => this.#segment(name))
    const query = (operation.parameters ?? [])
      .filter((parameter) => parameter.in === 'query' && random.chance(0.5))
      .map(({ name, schema }) => `${name}=${encode(String(this.#value(schema, 0)))}`)
    const schema = operation.requestBody?.content['application/json']?.schema
    const isStream = JSON.stringify(operation.responses).includes('text/event-stream')
    return {
      method: random.chance(0.02) ? random.pick(['GET', 'POST', 'DELETE', 'PUT']) : method,
      path: `${filled}${query.length === 0 ? '' : `?${query.join('&')}`}`,
      headers: this.#headers(),
      body: schema === undefined || method === 'GET' ? undefined : this.#body(schema),
      isStream,
    }
  }

  #segment(name: string): string {
    if (this.#random.chance(0.02)) return '%zz'
    if (name === 'entry') return String(this.#random.pick([0, 1, 'x', -1]))
    return (
      encode(
        this.#random.chance(0.7) ? this.#random.pick(['a', 'b', 'wide']) : this.#random.pick(NAMES),
      ) || 'a'
    )
  }

  #headers(): Record<string, string> {
    const random = this.#random
    const headers: Record<string, string> = { 'content-type': 'application/json' }
    if (random.chance(0.02))
      headers['content-type'] = random.pick(['text/plain', 'application/xml'])
    if (random.chance(0.02)) headers['accept-encoding'] = random.pick(['gzip', 'br', '*;q=0'])
    if (random.chance(0.02))
      headers['last-event-id'] = random.pick(['x', '0', `${'0'.repeat(32)}.1`])
    if (random.chance(0.01)) headers['content-encoding'] = 'gzip'
    return headers
  }

  #body(schema: Schema): string {
    const random = this.#random
    if (random.chance(0.01)) return random.pick(['', '{', 'null', '[]', '"x"', '{"__proto__":{}}'])
    if (random.chance(0.01)) return `${'['.repeat(5_000)}${']'.repeat(5_000)}`
    return JSON.stringify(this.#value(schema, 0)) ?? 'null'
  }

  #value(given: Schema, depth: number): unknown {
    const random = this.#random
    const schema = this.#resolved(given)
    if (depth > 6) return null
    if (random.chance(0.03)) return this.#anything(depth)
    const choices = schema.oneOf ?? schema.anyOf
    if (choices !== undefined) return this.#value(random.pick(choices), depth)
    if (schema.enum !== undefined) return random.chance(0.95) ? random.pick(schema.enum) : 'other'
    const type = Array.isArray(schema.type) ? random.pick(schema.type as string[]) : schema.type
    switch (String(type)) {
      case 'object':
        return schema.properties === undefined ? this.#filter(depth) : this.#object(schema, depth)
      case 'array':
        return this.#array(schema, depth)
      case 'integer':
        return this.#integer(schema)
      case 'number':
        return random.chance(0.7) ? random.next() * 4 - 2 : random.pick(NUMBERS)
      case 'boolean':
        return random.chance(0.5)
      case 'null':
        return null
      default:
        return random.chance(0.5) ? random.pick(['a', 'b', 'x1', 'x2']) : random.pick(TEXTS)
    }
  }

  #object({ properties = {}, required = [] }: Schema, depth: number): unknown {
    const random = this.#random
    const value: Record<string, unknown> = {}
    for (const [name, inner] of Object.entries(properties)) {
      if (required.includes(name) ? random.chance(0.97) : random.chance(0.4)) {
        value[name] = this.#value(inner, depth + 1)
      }
    }
    if (random.chance(0.02)) value['surplus'] = this.#anything(depth)
    return value
  }

  #array({ items = {}, maxItems }: Schema, depth: number): unknown {
    const random = this.#random
    const isNumbers = this.#resolved(items).type === 'number'
    // Shards of the run have 3 and 512 dimensions.
    const usual = isNumbers ? random.pick([3, 3, 3, 512, 1]) : random.below(4)
    const count = random.chance(0.02) ? Math.min(1_500, (maxItems ?? 100) + 1) : usual
    return Array.from({ length: count }, () =>
      isNumbers && random.chance(0.99) ? random.next() : this.#value(items, depth + 1),
    )
  }

  #integer({ minimum = 0, maximum = 10_000 }: Schema): number {
    const random = this.#random
    if (random.chance(0.1)) return random.pick(NUMBERS)
    if (random.chance(0.1)) return random.pick([minimum, maximum, maximum + 1, minimum - 1])
    return minimum + random.below(Math.min(50, maximum - minimum + 1))
  }

  #filter(depth: number): unknown {
    const random = this.#random
    if (depth > 5 || random.chance(0.3)) return { [random.pick(PATHS)]: this.#anything(depth + 1) }
    const operator = random.pick(OPERATORS)
    if (['$and', '$or'].includes(operator)) {
      return { [operator]: [this.#filter(depth + 1), this.#filter(depth + 1)] }
    }
    if (operator === '$not') return { $not: this.#filter(depth + 1) }
    return { [random.pick(PATHS)]: { [operator]: this.#anything(depth + 1) } }
  }

  #anything(depth: number): unknown {
    const random = this.#random
    const kind = random.below(depth > 5 ? 4 : 6)
    if (kind === 0) return null
    if (kind === 1) return random.pick(NUMBERS)
    if (kind === 2) return random.pick(TEXTS)
    if (kind === 3) return random.chance(0.5)
    if (kind === 4) return Array.from({ length: random.below(5) }, () => this.#anything(depth + 1))
    return { [random.pick(PATHS)]: this.#anything(depth + 1) }
  }

  #resolved(schema: Schema): Schema {
    const name = schema.$ref?.split('/').at(-1)
    return name === undefined ? schema : (this.#document.components.schemas[name] ?? {})
  }
}

/** A lone surrogate cannot be encoded. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed())
}
