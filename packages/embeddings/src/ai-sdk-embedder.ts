/**
 * An embedder from an `EmbeddingModel` of the Vercel AI SDK (specifications v2, v3 and v4, which
 * agree on `doEmbed`).
 *
 * The model's interface is written down here, so that the SDK is not needed to load this file.
 */
import { integerIn, rejectUnknownKeys } from '@agentic-flow/sqlite-vector/options'
import { EmbedderError } from './failure.ts'
import type { Embedder } from './types.ts'

/** The part of `EmbeddingModel` that is used. */
export interface AiSdkEmbeddingModel {
  readonly provider: string
  readonly modelId: string
  readonly maxEmbeddingsPerCall: number | undefined | PromiseLike<number | undefined>
  doEmbed(options: {
    values: string[]
    abortSignal?: AbortSignal
  }): PromiseLike<{ embeddings: number[][] }>
}

export interface AiSdkEmbedderOptions {
  /** Components of a vector. @defaultValue found by embedding one word */
  readonly dimension?: number
  /** @defaultValue the model's `modelId` */
  readonly modelId?: string
}

/**
 * The model as an embedder. @throws EmbedderError when the dimension is not given and the model
 * fails
 */
export async function aiSdkEmbedder(
  model: AiSdkEmbeddingModel,
  options: AiSdkEmbedderOptions = {},
): Promise<Embedder> {
  rejectUnknownKeys('aiSdkEmbedder', options, ['dimension', 'modelId'])
  const batchTextsMax = Math.min((await model.maxEmbeddingsPerCall) ?? 32, 2_048)
  const embed: Embedder['embed'] = async (texts, { signal }) => {
    try {
      const { embeddings } = await model.doEmbed({
        values: [...texts],
        ...(signal === undefined ? {} : { abortSignal: signal }),
      })
      return embeddings
    } catch (error) {
      if (signal?.aborted === true) throw error
      throw embedderError(model, error)
    }
  }
  let { dimension } = options
  if (dimension === undefined) {
    const [vector] = await embed(['dimension'], { kind: 'document' })
    dimension = vector?.length ?? 0
  }
  integerIn('dimension', dimension, 1, 8_192)
  const modelId = options.modelId ?? model.modelId
  return Object.freeze({ modelId, dimension, batchTextsMax, embed })
}

/**
 * The SDK's `APICallError` carries `isRetryable`; an error without it is taken for a passing one.
 */
function embedderError(model: AiSdkEmbeddingModel, error: unknown): EmbedderError {
  const known = error as { isRetryable?: unknown; responseHeaders?: Record<string, string> } | null
  const code = known?.isRetryable === false ? 'EMBEDDER_REFUSED' : 'EMBEDDER_FAILED'
  const seconds = Number(known?.responseHeaders?.['retry-after'])
  const message = error instanceof Error ? error.message : String(error)
  return new EmbedderError(code, `${model.provider} ${model.modelId}: ${message}`, {
    cause: error,
    retryAfterMs: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : null,
  })
}
