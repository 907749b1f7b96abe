/**
 * An embedder behind HTTP: `POST …/v1/embeddings` as OpenAI, Ollama, LM Studio, llama.cpp and vLLM
 * serve it.
 *
 * Retries are not made here (retry.ts): a busy service (408, 425, 429, 5xx), a broken connection
 * and a timeout throw `EMBEDDER_FAILED`; any other refusal throws `EMBEDDER_REFUSED`. The body of
 * an answer is bounded.
 */
import {
  EMBEDDING_RESPONSE_BYTES_MAX,
  MODEL_ID_BYTES_MAX,
} from '@agentic-flow/sqlite-vector/limits'
import { integerIn, nameGiven, rejectUnknownKeys, shown } from '@agentic-flow/sqlite-vector/options'
import type { VectorInput } from '@agentic-flow/sqlite-vector'
import { EmbedderError } from './failure.ts'
import type { EmbedOptions, Embedder } from './types.ts'

export interface HttpEmbedderOptions {
  /**
   * Base address, such as `http://127.0.0.1:11434/v1`; `/embeddings` is added where it is missing.
   */
  readonly url: string
  /** The model's name, for the service and for the shard. */
  readonly model: string
  /** Sent as `Authorization: Bearer …`. @defaultValue none */
  readonly apiKey?: string
  /** Components of a vector. @defaultValue found by embedding one word */
  readonly dimension?: number
  /** Texts of one request. Integer, 1 to 2,048. @defaultValue `32` */
  readonly batchTexts?: number
  /** Longest wait for one request, in milliseconds. Integer, 1 to 600,000. @defaultValue `60000` */
  readonly timeoutMs?: number
  /** Put before each text, for models that are trained so. @defaultValue nothing */
  readonly prefixes?: { readonly document?: string; readonly query?: string }
}

const KEYS = ['url', 'model', 'apiKey', 'dimension', 'batchTexts', 'timeoutMs', 'prefixes']
const PASSING = new Set([408, 425, 429])

/**
 * The embedder at `url`.
 * @throws EmbedderError when the dimension is not given and the service does not answer
 */
export async function httpEmbedder(options: HttpEmbedderOptions): Promise<Embedder> {
  rejectUnknownKeys('httpEmbedder', options, KEYS)
  const { model, batchTexts = 32, timeoutMs = 60_000 } = options
  nameGiven('model', model, MODEL_ID_BYTES_MAX)
  integerIn('batchTexts', batchTexts, 1, 2_048)
  integerIn('timeoutMs', timeoutMs, 1, 600_000)
  const request = { ...options, url: endpointOf(options.url), timeoutMs }
  const embed = (texts: readonly string[], { kind, signal }: EmbedOptions) =>
    post(request, texts, kind, signal)
  let { dimension } = options
  if (dimension === undefined) {
    const [vector] = await embed(['dimension'], { kind: 'document' })
    dimension = vector?.length ?? 0
    if (dimension === 0) throw malformed(request.url, 'a vector without components')
  }
  integerIn('dimension', dimension, 1, 8_192)
  return Object.freeze({ modelId: model, dimension, batchTextsMax: batchTexts, embed })
}

/** Full address of the endpoint. @throws TypeError, RangeError */
export function endpointOf(url: string): string {
  if (!URL.canParse(url)) throw new TypeError(`url must be an absolute URL, got ${shown(url)}`)
  const parsed = new URL(url)
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') {
    throw new RangeError(`url must begin with http: or https:, got ${shown(url)}`)
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw new RangeError('url must not hold a user name or password; pass apiKey')
  }
  const path = parsed.pathname.replace(/\/+$/, '')
  if (!path.endsWith('/embeddings')) parsed.pathname = `${path === '' ? '/v1' : path}/embeddings`
  return parsed.href
}

interface Request extends HttpEmbedderOptions {
  readonly timeoutMs: number
}

async function post(
  request: Request,
  texts: readonly string[],
  kind: EmbedOptions['kind'],
  signal: AbortSignal | undefined,
): Promise<readonly VectorInput[]> {
  const prefix = request.prefixes?.[kind] ?? ''
  const timeout = AbortSignal.timeout(request.timeoutMs)
  try {
    const response = await fetch(request.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(request.apiKey === undefined ? {} : { authorization: `Bearer ${request.apiKey}` }),
      },
      body: JSON.stringify({ model: request.model, input: texts.map((text) => prefix + text) }),
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      redirect: 'error',
    })
    const body = await bodyOf(response, request.url)
    if (!response.ok) throw refusal(response, body, request.url)
    return vectorsOf(body, texts.length, request.url)
  } catch (error) {
    if (error instanceof EmbedderError || signal?.aborted === true) throw error
    const reason = timeout.aborted ? `no answer within ${request.timeoutMs} ms` : reasonOf(error)
    throw new EmbedderError('EMBEDDER_FAILED', `${request.url}: ${reason}`, { cause: error })
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message || error.message : error.message
}

/** The text of an answer, as far as the bound allows. */
async function bodyOf(response: Response, url: string): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > EMBEDDING_RESPONSE_BYTES_MAX) {
      throw malformed(url, `more than ${EMBEDDING_RESPONSE_BYTES_MAX} bytes`)
    }
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

function refusal(response: Response, body: string, url: string): EmbedderError {
  const isPassing = PASSING.has(response.status) || response.status >= 500
  const said = body.replaceAll(/\s+/g, ' ').slice(0, 200)
  return new EmbedderError(
    isPassing ? 'EMBEDDER_FAILED' : 'EMBEDDER_REFUSED',
    `${url}: HTTP ${response.status}${said === '' ? '' : `: ${said}`}`,
    { retryAfterMs: retryAfterOf(response.headers.get('retry-after')) },
  )
}

/** Seconds, as services send them; a date is left to the backoff. */
function retryAfterOf(header: string | null): number | null {
  if (header === null || !/^\d{1,6}(\.\d+)?$/.test(header.trim())) return null
  return Number(header) * 1_000
}

function vectorsOf(body: string, count: number, url: string): readonly VectorInput[] {
  const data = (jsonOf(body, url) as { data?: unknown } | null)?.data
  if (!Array.isArray(data)) throw malformed(url, 'no array `data`')
  if (data.length !== count) throw malformed(url, `${data.length} vectors for ${count} texts`)
  const vectors: (VectorInput | undefined)[] = Array.from({ length: count })
  for (const [position, item] of data.entries()) {
    const { index = position, embedding } = (item ?? {}) as { index?: unknown; embedding?: unknown }
    const isPlace = Number.isInteger(index) && (index as number) >= 0 && (index as number) < count
    if (!isPlace || vectors[index as number] !== undefined) {
      throw malformed(url, `index ${shown(index)} of vector ${position}`)
    }
    if (!Array.isArray(embedding)) throw malformed(url, `no array \`embedding\` in ${position}`)
    vectors[index as number] = embedding as number[]
  }
  return vectors as readonly VectorInput[]
}

function jsonOf(body: string, url: string): unknown {
  try {
    return JSON.parse(body)
  } catch (error) {
    throw malformed(url, 'no JSON', error)
  }
}

function malformed(url: string, what: string, cause?: unknown): EmbedderError {
  return new EmbedderError('EMBEDDER_INVALID', `${url} answered with ${what}`, { cause })
}
