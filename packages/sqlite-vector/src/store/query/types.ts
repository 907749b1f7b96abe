/**
 * Options and results of searches: modes, hybrid results, plans, recall. Types only.
 */
import type { Calibration } from '../../search/calibrate.ts'
import type { Filter } from '../../search/filter.ts'
import type { Plan } from '../../search/planner.ts'
import type { VectorRecord } from '../types.ts'
import { type Metadata, type VectorInput } from '../../model/records.ts'

export type { Filter, FilterOperators } from '../../search/filter.ts'
export type { Calibration } from '../../search/calibrate.ts'

/** Maximal marginal relevance: results that are near the query and unlike one another. */
export interface MmrOptions {
  /** 1 weighs nearness only, 0 variety only. 0 to 1. @defaultValue `0.5` */
  readonly lambda?: number
  /**
   * Nearest records from which `k` are picked. Integer, `k` to 10,000.
   * @defaultValue `max(4 × k, 50)`
   */
  readonly candidates?: number
}

/** Which records a search looks at, and how. */
export interface SearchModeOptions<M extends object = Metadata> {
  /**
   * Only records whose metadata passes. Exactly: `k` of them are returned whenever there are as
   * many.
   */
  readonly filter?: Filter<M>
  /** Compare every record that passes the filter: recall 1.0. @defaultValue `false` */
  readonly exact?: boolean
  /**
   * Candidates of the codes that are compared by their float32 vectors, in place of the number that
   * calibration found. Integer, 1 to 65,536. More is slower and finds more. @defaultValue
   * calibrated
   */
  readonly rescore?: number
}

/** Options of `hybrid()`. */
export interface HybridOptions<M extends object = Metadata> extends SearchModeOptions<M> {
  /** Words to look for in the records' texts; a record need not have all of them. */
  readonly text: string
  /** The vector to be near to. */
  readonly vector: VectorInput
  /** Records wanted. Integer, 1 to 10,000. @defaultValue `10` */
  readonly k?: number
  /** Weight of each ranking. Not negative, not both 0. @defaultValue `{ text: 1, vector: 1 }` */
  readonly weights?: { readonly text?: number; readonly vector?: number }
  /** Ranks taken from each side. Integer, `k` to 10,000. @defaultValue `max(4 × k, 100)` */
  readonly depth?: number
  /** Makes results carry their embedding. @defaultValue `false` */
  readonly includeVectors?: boolean
}

/** A record found by `hybrid()`. */
export interface HybridResult<M extends object = Metadata> extends VectorRecord<M> {
  /** Fused score: Σ weight / (60 + rank). Larger is better. */
  readonly score: number
  /** Rank by vector from 1, and its distance; null when not among the ranks taken. */
  readonly vectorRank: number | null
  readonly distance: number | null
  /**
   * Rank by text from 1, and its BM25 score, larger is better; null when not among the ranks taken.
   */
  readonly textRank: number | null
  readonly textScore: number | null
}

/** Options of `searchText()`. */
export interface TextSearchOptions<M extends object = Metadata> {
  /** Records wanted. Integer, 1 to 10,000. @defaultValue `10` */
  readonly k?: number
  /** Only records whose metadata passes. */
  readonly filter?: Filter<M>
}

/** A record found by `searchText()`. */
export interface TextResult<M extends object = Metadata> extends VectorRecord<M> {
  /** BM25 over the texts of all shards of the file; larger is better. */
  readonly score: number
}

/** The plan of a search and its reason: `explain()`. */
export interface SearchPlan extends Pick<Plan, 'mode' | 'source' | 'reason'> {
  /** Recall that calibration measured for this plan, without the filter; 1 when exact. */
  readonly expectedRecall: number
  /** The same of the tenth of the queries that fared worst. */
  readonly worstDecile: number
  /** Candidates handed on by bits and by int8; null where a stage is not used. */
  readonly depths: { readonly bits: number | null; readonly int8: number | null }
  /** Records of the shard, and records that pass the filter. */
  readonly count: number
  readonly selected: number
  /**
   * Order in which the selected rows are visited: all in order, a list out of order, or a mask in
   * order.
   */
  readonly visit: 'all' | 'gather' | 'mask'
  /**
   * The filter as SQL, the statement that runs, and SQLite's plan for it; null without a filter.
   */
  readonly filter: {
    readonly sql: string
    readonly statement: string
    readonly queryPlan: readonly string[]
  } | null
  readonly index: IndexInfo
}

/** State of a shard's index in memory. */
export interface IndexInfo {
  /** `building`: searches scan the table meanwhile. `unavailable`: they always do; see `reason`. */
  readonly state: 'ready' | 'building' | 'unavailable'
  readonly reason: string | null
  /** Kinds of row held, with their bytes; null before there is an index. */
  readonly rows: readonly ('float32' | 'int8' | 'bits')[] | null
  readonly bytes: number
  readonly calibration: Calibration | null
}

/** Options of `recall()`. */
export interface RecallOptions<M extends object = Metadata> {
  /**
   * Vectors to search for; the best measure of the queries to come. @defaultValue rows of the shard
   */
  readonly queries?: readonly VectorInput[]
  /**
   * How many rows of the shard serve as queries where none are given. Integer, 1 to 1,000.
   * @defaultValue `50`
   */
  readonly sample?: number
  /** Integer, 1 to 10,000. @defaultValue `10` */
  readonly k?: number
  /** Only records whose metadata passes. */
  readonly filter?: Filter<M>
  /** As in `SearchModeOptions`. */
  readonly rescore?: number
}

/** A measurement by `recall()`. */
export interface RecallReport {
  /** Share of the true `k` nearest that the default search found, 0 to 1. */
  readonly recall: number
  /** The same of the tenth of the queries that fared worst. */
  readonly worstDecile: number
  readonly k: number
  readonly queries: number
  /** True neighbours that were missed, over all queries. */
  readonly missed: number
  readonly mode: Plan['mode']
}

/** Options of one call of an embedder. */
export interface EmbedOptions {
  /** Some models mark questions and passages differently. */
  readonly kind: 'document' | 'query'
  /** Ends the call; it rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

/** Makes vectors from texts: a model, run by the program that attaches it. */
export interface Embedder {
  /** Names the model; vectors of two models are never compared. */
  readonly modelId: string
  /** Components of each vector. Integer, 1 to 8,192. */
  readonly dimension: number
  /** One vector for each text, in their order. */
  embed(
    texts: readonly string[],
    options: EmbedOptions,
  ): Promise<readonly VectorInput[]> | readonly VectorInput[]
}

/** Options of `search()`. */
export interface SearchOptions<M extends object = Metadata> extends SearchModeOptions<M> {
  /** Neighbours wanted. Integer, 1 to 10,000. @defaultValue `10` */
  readonly k?: number
  /** Only records at most this far, in the shard's distance. @defaultValue none */
  readonly threshold?: number
  /** Makes results carry their embedding. @defaultValue `false` */
  readonly includeVectors?: boolean
  /** Results that are near the query and unlike one another. @defaultValue nearest first */
  readonly mmr?: MmrOptions
  /**
   * A path of the metadata: only the nearest record of each value there, as the best passage of
   * each document; records without a value are groups of their own. @defaultValue none
   */
  readonly groupBy?: string
}

/** A record found by `search()`. */
export interface SearchResult<M extends object = Metadata> extends VectorRecord<M> {
  /** cosine: 1 − cosine similarity, 0 to 2. l2: Euclidean distance. dot: minus the dot product. */
  readonly distance: number
  /** cosine: cosine similarity. l2: 1 / (1 + distance). dot: the dot product. Larger is nearer. */
  readonly score: number
}

/** A record found by a search over several shards. */
export interface ShardSearchResult<M extends object = Metadata> extends SearchResult<M> {
  readonly shardId: string
}

/** Options of `facets()`. */
export interface FacetOptions<M extends object = Metadata> {
  /** Only records whose metadata passes. */
  readonly filter?: Filter<M>
  /** Most values. Integer, 1 to 10,000. @defaultValue `100` */
  readonly limit?: number
}

/** A value at a path of the metadata, and the number of records that have it. */
export interface Facet {
  readonly value: string | number | boolean | null
  readonly count: number
}
