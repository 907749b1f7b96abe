/**
 * The types of filters: by paths of the metadata, so that a misspelt path, a value of another type
 * or an operator without its `$` is an error of the compiler. Types only; filter.ts checks at run
 * time.
 *
 * Metadata of an unknown type takes any path, with any JSON value but an object of bare operators.
 */
import { type JsonValue, type Metadata } from '../model/records.ts'

/** Conditions on one path. All that are given must hold. `T` is the type of the value there. */
export interface FilterOperators<T = JsonValue> {
  readonly $eq?: T | null
  readonly $ne?: T | null
  readonly $gt?: Ordered<T>
  readonly $gte?: Ordered<T>
  readonly $lt?: Ordered<T>
  readonly $lte?: Ordered<T>
  readonly $in?: readonly (T | null)[]
  readonly $nin?: readonly (T | null)[]
  readonly $exists?: boolean
  /** An element of an array, or a substring. At most 1,024 characters. */
  readonly $contains?: ElementOf<T> | (T extends string ? string : never)
  readonly $all?: readonly ElementOf<T>[]
  readonly $regex?: string | RegExp
  /** Flags of `$regex` given as a string: some of i, m, s, u. */
  readonly $options?: string
  readonly $elemMatch?: FilterOperators<ElementOf<T>> | FilterWithin<ElementOf<T>>
  readonly $not?: FilterOperators<T>
}

/**
 * A filter: conditions by path, and combinations of filters. A plain value means `$eq`. `M` is the
 * type of the metadata.
 */
export type Filter<M extends object = Metadata> = {
  readonly $and?: readonly Filter<M>[]
  readonly $or?: readonly Filter<M>[]
  readonly $not?: Filter<M>
} & FilterFields<M>

/** Conditions by path. */
type FilterFields<M extends object> = string extends keyof M
  ? { readonly [path: string]: AnyCondition | NestedFilter | readonly Filter[] | undefined }
  : { readonly [P in PathOf<M>]?: FieldCondition<ValueAt<M, P>> }

/**
 * The filter under `$not`. An index signature cannot tell it from a condition, so bare operators
 * are mistakes here too.
 */
type NestedFilter = Filter & { readonly [operator in BareOperator]?: never }

/** A condition on a value whose type is not known. */
type AnyCondition = JsonScalar | readonly JsonValue[] | PlainObject | FilterOperators

type FieldCondition<T> = T | null | FilterOperators<T>

/** A filter within the elements of an array. */
type FilterWithin<T> = T extends readonly unknown[] ? Filter : T extends object ? Filter<T> : never

type JsonScalar = null | boolean | number | string

/** An object to be equal to. One of bare operators is a mistake: write it under `$eq`. */
type PlainObject = { readonly [key: string]: JsonValue } & {
  readonly [operator in BareOperator]?: never
} & { readonly [operator: `$${string}`]: never }

type BareOperator = 'eq' | 'ne' | 'gt' | 'gte' | 'lt' | 'lte' | 'nin' | 'elemMatch'

type Ordered<T> = Extract<T, number | string> extends never ? never : Widened<T>

/** A literal's whole type: a year may be compared with any number. */
type Widened<T> =
  | (Extract<T, number> extends never ? never : number)
  | (Extract<T, string> extends never ? never : string)

type ElementOf<T> = T extends readonly (infer E)[] ? E : T extends JsonScalar ? never : JsonValue

/** Depth to which paths of a type are spelt out; deeper ones take the type's unknown paths. */
type Shallower = [never, 0, 1, 2, 3, 4]

/** The dotted paths of a type of metadata. */
type PathOf<M, Depth extends number = 4> = Depth extends 0
  ? never
  : M extends readonly (infer E)[]
    ? `${number}` | Joined<`${number}`, NonNullable<E>, Depth>
    : M extends object
      ? { [K in keyof M & string]: K | Joined<K, NonNullable<M[K]>, Depth> }[keyof M & string]
      : never

type Joined<K extends string, V, Depth extends number> = V extends object
  ? `${K}.${PathOf<V, Shallower[Depth] & number>}`
  : never

/** The type of the value at a path. */
type ValueAt<M, P extends string> = P extends keyof M
  ? Exclude<M[P], undefined>
  : P extends `${infer K}.${infer Rest}`
    ? M extends readonly (infer E)[]
      ? ValueAt<NonNullable<E>, Rest>
      : K extends keyof M
        ? ValueAt<NonNullable<M[K]>, Rest>
        : never
    : M extends readonly (infer E)[]
      ? E
      : never
