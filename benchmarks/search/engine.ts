/**
 * The interface of every engine of the search benchmark: the same driver runs them all, each in a
 * process of its own.
 */
import type { Dataset } from './data.ts'

/** One engine over one data set. Records are named by their index in it. */
export interface Engine {
  /** Loads all records, builds what it searches by, and is then ready. */
  build(data: Dataset): Promise<void>
  /** The `k` nearest, nearest first. */
  search(query: Float32Array, k: number): Promise<readonly number[]> | readonly number[]
  /** The same by comparing every record, where that is another way; null where search is that. */
  readonly exact:
    | ((query: Float32Array, k: number) => Promise<readonly number[]> | readonly number[])
    | null
  /**
   * The `k` nearest of one group (2 %), by a filter it has not seen; null where the engine has no
   * filter.
   */
  readonly filtered:
    | ((
        query: Float32Array,
        k: number,
        group: number,
      ) => Promise<readonly number[]> | readonly number[])
    | null
  /** The same by a filter that was asked for before, where the engine keeps something of it. */
  readonly filteredAgain?: (query: Float32Array, k: number, group: number) => readonly number[]
  insert(index: number, vector: Float32Array): Promise<void> | void
  update(index: number, vector: Float32Array): Promise<void> | void
  remove(index: number): Promise<void> | void
  /** Bytes on disk; 0 where nothing is. */
  diskBytes(): number
  close(): Promise<void> | void
  /** Opens what `build` left on disk and answers one query; null where nothing is kept. */
  readonly reopen: ((query: Float32Array) => Promise<void>) | null
}

/** Makes an engine that keeps its files in `folder`. */
export type EngineFactory = (folder: string) => Promise<Engine>

/**
 * The report of a driver process: milliseconds unless said otherwise; null where the engine has no
 * such thing.
 */
export interface EngineReport {
  readonly engine: string
  readonly count: number
  readonly buildMs: number
  readonly p50: number
  readonly p99: number
  readonly recall: number
  readonly exactP50: number | null
  readonly exactRecall: number | null
  readonly filteredP50: number | null
  readonly filteredRecall: number | null
  /**
   * Median with the filter over that without, measured in turns; the second for a filter seen
   * before.
   */
  readonly filterRatio: number | null
  readonly filterAgainRatio: number | null
  readonly insertMs: number
  readonly updateMs: number
  readonly removeMs: number
  readonly diskBytes: number
  /** Resident memory after the build above that before it. */
  readonly memoryBytes: number
  readonly reopenMs: number | null
}
