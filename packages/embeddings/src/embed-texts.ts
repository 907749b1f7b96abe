/**
 * Embeds many texts: in batches, several at a time, each repeated when it fails for a passing
 * reason. What comes back is checked: as many vectors as texts, of the model's dimension, finite.
 *
 * Not here: what becomes of the vectors (embedded-shard.ts).
 */
import type { VectorInput } from '@agentic-flow/sqlite-vector'
import { integerIn, rejectUnknownKeys } from '@agentic-flow/sqlite-vector/options'
import { type RetryClock, systemClock } from './clock/system-clock.ts'
import { EmbedderError } from './failure.ts'
import { type RetryNotice, withRetries } from './retry.ts'
import type { Embedder } from './types.ts'

/** How texts are sent to an embedder. */
export interface EmbedTextsOptions {
  /**
   * Texts of one call. Integer, 1 to 2,048. @defaultValue the embedder's `batchTextsMax`, or `32`
   */
  readonly batchTexts?: number
  /** Calls at a time. Integer, 1 to 64. @defaultValue `2` */
  readonly concurrency?: number
  /** Attempts for one batch, the first included. Integer, 1 to 100. @defaultValue `6` */
  readonly attempts?: number
  /**
   * Delay after the first failure, in milliseconds; it doubles. Integer, 1 to 600,000.
   * @defaultValue `500`
   */
  readonly firstDelayMs?: number
  /** Longest delay, in milliseconds. Integer, 1 to 600,000. @defaultValue `30000` */
  readonly lastDelayMs?: number
  readonly signal?: AbortSignal
  /** Called after each batch: texts embedded so far, and texts in all. */
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void
  /** Called before each wait for another attempt. */
  readonly onRetry?: (notice: RetryNotice) => void
  /** @defaultValue timers of this machine */
  readonly clock?: RetryClock
  /** Chance for the jitter, from 0 to below 1. @defaultValue the system's */
  readonly chance?: () => number
}

const KEYS = [
  'batchTexts',
  'concurrency',
  'attempts',
  'firstDelayMs',
  'lastDelayMs',
  'signal',
  'onProgress',
  'onRetry',
  'clock',
  'chance',
]

interface Resolved {
  readonly batchTexts: number
  readonly concurrency: number
  readonly attempts: number
  readonly firstDelayMs: number
  readonly lastDelayMs: number
  readonly clock: RetryClock
  readonly chance: () => number
  readonly signal: AbortSignal | undefined
  readonly onRetry: ((notice: RetryNotice) => void) | undefined
}

function resolveOptions(caller: string, embedder: Embedder, given: EmbedTextsOptions): Resolved {
  rejectUnknownKeys(caller, given, KEYS)
  const most = embedder.batchTextsMax ?? 32
  const resolved = {
    batchTexts: Math.min(given.batchTexts ?? most, most),
    concurrency: given.concurrency ?? 2,
    attempts: given.attempts ?? 6,
    firstDelayMs: given.firstDelayMs ?? 500,
    lastDelayMs: given.lastDelayMs ?? 30_000,
    clock: given.clock ?? systemClock,
    chance: given.chance ?? systemChance,
    signal: given.signal,
    onRetry: given.onRetry,
  }
  integerIn('batchTexts', given.batchTexts ?? 1, 1, 2_048)
  integerIn('concurrency', resolved.concurrency, 1, 64)
  integerIn('attempts', resolved.attempts, 1, 100)
  integerIn('firstDelayMs', resolved.firstDelayMs, 1, 600_000)
  integerIn('lastDelayMs', resolved.lastDelayMs, 1, 600_000)
  return resolved
}

function systemChance(): number {
  const [bits = 0] = crypto.getRandomValues(new Uint32Array(1))
  return bits / 2 ** 32
}

/**
 * One vector for each text, in their order.
 * @throws the failure of the first batch whose attempts were used up; the other calls are ended
 * then
 */
export async function embedTexts(
  embedder: Embedder,
  texts: readonly string[],
  kind: 'document' | 'query',
  options: EmbedTextsOptions = {},
): Promise<readonly VectorInput[]> {
  const resolved = resolveOptions('embedTexts', embedder, options)
  const failed = new AbortController()
  const signal =
    resolved.signal === undefined
      ? failed.signal
      : AbortSignal.any([resolved.signal, failed.signal])
  const vectors: VectorInput[] = Array.from({ length: texts.length })
  let next = 0
  let done = 0
  const worker = async (): Promise<void> => {
    while (next < texts.length) {
      const start = next
      const batch = texts.slice(start, start + resolved.batchTexts)
      next += batch.length
      const found = await withRetries(() => embedBatch(embedder, batch, kind, signal), {
        ...resolved,
        signal,
      })
      for (const [index, vector] of found.entries()) vectors[start + index] = vector
      done += batch.length
      options.onProgress?.({ done, total: texts.length })
    }
  }
  const batches = Math.ceil(texts.length / resolved.batchTexts)
  const workers = Array.from({ length: Math.min(resolved.concurrency, batches) }, worker)
  try {
    await Promise.all(workers)
  } catch (error) {
    failed.abort(error)
    // No call is left running behind the caller's back; the first failure is the one that is
    // thrown.
    await Promise.allSettled(workers)
    throw error
  }
  return vectors
}

/** One call, its answer checked: an embedder is another program, or another machine. */
async function embedBatch(
  embedder: Embedder,
  texts: readonly string[],
  kind: 'document' | 'query',
  signal: AbortSignal,
): Promise<readonly VectorInput[]> {
  const vectors: unknown = await embedder.embed(texts, { kind, signal })
  if (!Array.isArray(vectors) || vectors.length !== texts.length) {
    const count = Array.isArray(vectors) ? vectors.length : 'no array of'
    throw invalid(embedder, `gave ${count} vectors for ${texts.length} texts`)
  }
  for (const [index, vector] of vectors.entries()) {
    if (!(vector instanceof Float32Array) && !Array.isArray(vector)) {
      throw invalid(embedder, `gave no vector for text ${index}`)
    }
    if (vector.length !== embedder.dimension) {
      throw invalid(
        embedder,
        `gave ${vector.length} components for text ${index}, expected ${embedder.dimension}`,
      )
    }
    for (const component of vector) {
      if (typeof component !== 'number' || !Number.isFinite(Math.fround(component))) {
        throw invalid(embedder, `gave a component that is not a finite float32 for text ${index}`)
      }
    }
  }
  return vectors as readonly VectorInput[]
}

function invalid(embedder: Embedder, what: string): EmbedderError {
  return new EmbedderError('EMBEDDER_INVALID', `embedder ${embedder.modelId} ${what}`)
}
