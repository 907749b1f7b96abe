/**
 * A fluent form of `search()` and of filters:
 * `db.query('docs').where('lang', 'en').similarTo(v).limit(5).all()`.
 *
 * Every step returns a new query, so that one can be kept and refined in two ways. Nothing runs
 * before `all()`, `first()` or `count()`. All conditions must hold.
 */
import { integerIn, oneOf, shown } from '../../options.ts'
import type { Filter } from '../../search/filter.ts'
import type { VectorRecord } from '../types.ts'
import { type SearchOptions, type SearchResult } from './types.ts'
import { type JsonValue, type Metadata, type VectorInput } from '../../model/records.ts'

/** Order and limits of a query without a vector. */
export interface FindOptions {
  readonly filter?: Filter
  /** A path of the metadata; null orders by id. */
  readonly orderBy: string | null
  readonly direction: 'asc' | 'desc'
  readonly limit: number
  readonly offset: number
  readonly includeVectors: boolean
}

/** The reads that a query runs on. */
export interface QueryTarget {
  readonly search: (vector: VectorInput, options: SearchOptions) => readonly SearchResult[]
  readonly find: (options: FindOptions) => readonly VectorRecord[]
  readonly count: (filter: Filter | undefined) => number
}

/** An operator of {@link VectorQuery.where}, as in SQL; `=` means `$eq`, and so on. */
export type WhereOperator = '=' | '!=' | '>' | '>=' | '<' | '<=' | 'contains' | 'matches'

const OPERATORS: { readonly [name in WhereOperator]: string } = {
  '=': '$eq',
  '!=': '$ne',
  '>': '$gt',
  '>=': '$gte',
  '<': '$lt',
  '<=': '$lte',
  contains: '$contains',
  matches: '$regex',
}

/** Largest limit and offset: with a vector their sum is the `k` of a search. */
const ROWS_MAX = 10_000

interface Parts {
  readonly filters: readonly Filter[]
  readonly vector: VectorInput | null
  readonly search: SearchOptions
  readonly orderBy: string | null
  readonly direction: 'asc' | 'desc'
  readonly limit: number
  readonly offset: number
}

const NOTHING: Parts = {
  filters: [],
  vector: null,
  search: {},
  orderBy: null,
  direction: 'asc',
  limit: 10,
  offset: 0,
}

/** A query under construction. Made by `db.query()`. */
export class VectorQuery<M extends object = Metadata, R extends VectorRecord<M> = VectorRecord<M>> {
  readonly #target: QueryTarget
  readonly #parts: Parts

  /** @internal */
  constructor(target: QueryTarget, parts: Parts = NOTHING) {
    this.#target = target
    this.#parts = parts
  }

  /**
   * The nearest to `vector`, nearest first. Options are those of `search()` but `k` and `filter`.
   */
  similarTo(
    vector: VectorInput,
    options: Omit<SearchOptions, 'k' | 'filter'> = {},
  ): VectorQuery<M, SearchResult<M>> {
    return new VectorQuery(this.#target, { ...this.#parts, vector, search: options })
  }

  /**
   * Records whose metadata passes a filter, or whose value at a path equals or compares with
   * another.
   */
  where(filter: Filter<M>): VectorQuery<M, R>
  where(path: string, value: JsonValue): VectorQuery<M, R>
  where(path: string, operator: WhereOperator, value: JsonValue): VectorQuery<M, R>
  where(...given: readonly unknown[]): VectorQuery<M, R> {
    const [first, second, third] = given
    if (given.length === 1) return this.#filtered(first as Filter)
    if (typeof first !== 'string') throw new TypeError(`path must be a string, got ${shown(first)}`)
    if (given.length === 2) return this.#filtered({ [first]: { $eq: second as JsonValue } })
    oneOf('operator', second, Object.keys(OPERATORS))
    const operator = OPERATORS[second as WhereOperator]
    return this.#filtered({ [first]: { [operator]: third as JsonValue } })
  }

  /** Records whose value at a path is one of `values`. */
  whereIn(path: string, values: readonly JsonValue[]): VectorQuery<M, R> {
    return this.#filtered({ [path]: { $in: values } })
  }

  /** Records whose value at a path is from `low` to `high`, both included. */
  whereBetween(path: string, low: number | string, high: number | string): VectorQuery<M, R> {
    return this.#filtered({ [path]: { $gte: low, $lte: high } })
  }

  /**
   * Orders by a path of the metadata: missing and null, numbers and booleans, strings; ties by id.
   */
  orderBy(path: string, direction: 'asc' | 'desc' = 'asc'): VectorQuery<M, R> {
    oneOf('direction', direction, ['asc', 'desc'])
    return this.#with({ orderBy: path, direction })
  }

  /** Most records. @defaultValue 10 */
  limit(count: number): VectorQuery<M, R> {
    integerIn('limit', count, 1, ROWS_MAX)
    return this.#with({ limit: count })
  }

  /** Records left out at the beginning. @defaultValue 0 */
  offset(count: number): VectorQuery<M, R> {
    integerIn('offset', count, 0, ROWS_MAX)
    return this.#with({ offset: count })
  }

  /** The records; with `distance` and `score` after {@link similarTo}. */
  all(): readonly R[] {
    const { vector, search, orderBy, direction, limit, offset } = this.#parts
    const filter = this.#filter()
    const filtered = filter === undefined ? {} : { filter }
    if (vector === null) {
      const includeVectors = false
      const order = { orderBy, direction, limit, offset, includeVectors }
      // The metadata's type is the caller's word.
      return this.#target.find({ ...filtered, ...order }) as unknown as readonly R[]
    }
    if (orderBy !== null) {
      throw new TypeError('orderBy() and similarTo() exclude each other: the nearest come first')
    }
    const options = { ...search, ...filtered, k: limit + offset }
    return this.#target.search(vector, options).slice(offset) as unknown as readonly R[]
  }

  /** The first record, or null. */
  first(): R | null {
    return this.limit(1).all()[0] ?? null
  }

  /** How many records pass the conditions; vector, order and limit do not matter. */
  count(): number {
    return this.#target.count(this.#filter())
  }

  #filter(): Filter | undefined {
    const { filters } = this.#parts
    return filters.length <= 1 ? filters[0] : { $and: filters }
  }

  #filtered(filter: Filter): VectorQuery<M, R> {
    return this.#with({ filters: [...this.#parts.filters, filter] })
  }

  #with(change: Partial<Parts>): VectorQuery<M, R> {
    return new VectorQuery(this.#target, { ...this.#parts, ...change })
  }
}
