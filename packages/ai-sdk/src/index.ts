/**
 * Tools of the Vercel AI SDK on a shard: retrieval, and memory that agents share.
 *
 * The texts are read by models. What a tool cannot do is thrown, as the SDK expects: it becomes a
 * tool error that the model sees.
 */
import { randomUUID } from 'node:crypto'
import type { Filter, JsonValue } from '@agentic-flow/sqlite-vector'
import { integerIn, rejectUnknownKeys } from '@agentic-flow/sqlite-vector/options'
import type { EmbeddedShard } from '@agentic-flow/sqlite-vector-embeddings'
import { jsonSchema, tool, type Tool } from 'ai'

type Metadata = { readonly [key: string]: JsonValue }

/** Arguments of `search`. */
export interface SearchInput {
  readonly query: string
  readonly k?: number
  readonly filter?: { readonly [key: string]: JsonValue }
}

/** A record as a model gets it. */
export interface FoundText {
  readonly id: string
  readonly text: string
  readonly metadata: Metadata
  readonly score: number
}

/** The answer of `search`. */
export interface SearchOutput {
  results: FoundText[]
}

export interface RetrievalToolOptions {
  /** What the texts are, for the model to know when to search. */
  readonly description: string
  /** Results when the model names no number. Integer, 1 to 50. @defaultValue `5` */
  readonly k?: number
  /** A condition on every search, besides the model's own. @defaultValue none */
  readonly filter?: Filter
  /** Longest text of a result, in characters. Integer, 100 to 100,000. @defaultValue `4000` */
  readonly textCharactersMax?: number
}

const RESULTS_MAX = 50

/** A tool that searches a shard by meaning and words. */
export function retrievalTool(
  shard: EmbeddedShard,
  options: RetrievalToolOptions,
): Tool<SearchInput, SearchOutput> {
  rejectUnknownKeys('retrievalTool', options, ['description', 'k', 'filter', 'textCharactersMax'])
  const { description, k: fallback = 5, filter, textCharactersMax = 4_000 } = options
  integerIn('k', fallback, 1, RESULTS_MAX)
  integerIn('textCharactersMax', textCharactersMax, 100, 100_000)
  return tool({
    description,
    inputSchema: jsonSchema<SearchInput>({
      type: 'object',
      properties: {
        query: {
          type: 'string',
          minLength: 1,
          description: 'A question or topic, in a whole sentence.',
        },
        k: { type: 'integer', minimum: 1, maximum: RESULTS_MAX, description: 'Most results.' },
        filter: {
          type: 'object',
          description: 'Metadata that must match: {"key": "value"} or {"year": {"$gte": 2024}}.',
        },
      },
      required: ['query'],
      additionalProperties: false,
    }),
    execute: async ({ query, k = fallback, filter: asked }, { abortSignal }) => {
      const conditions = [filter, asked as Filter | undefined].filter((part) => part !== undefined)
      const found = await shard.ask(query, {
        k: Math.min(k, RESULTS_MAX),
        ...(conditions.length === 0 ? {} : { filter: { $and: conditions } }),
        ...(abortSignal === undefined ? {} : { signal: abortSignal }),
      })
      return {
        results: found.map(({ id, text, metadata, score }) => ({
          id,
          text: cut(text ?? '', textCharactersMax),
          metadata,
          score,
        })),
      }
    },
  })
}

export interface MemoryToolsOptions {
  /**
   * Metadata of every memory, and a condition on every search: whose memory it is. @defaultValue
   * none
   */
  readonly scope?: Metadata
  /** New ids. @defaultValue random ones */
  readonly newId?: () => string
}

/** Arguments of `remember`. */
export interface RememberInput {
  readonly text: string
  readonly id?: string
  readonly metadata?: { readonly [key: string]: JsonValue }
}

/** The tools of {@link memoryTools}. */
export interface MemoryTools {
  readonly search: Tool<SearchInput, SearchOutput>
  readonly remember: Tool<RememberInput, { id: string }>
  readonly forget: Tool<{ readonly ids: readonly string[] }, { forgotten: string[] }>
}

/**
 * Tools to search, remember and forget. With a scope, a tool neither sees nor changes what is
 * outside of it.
 */
export function memoryTools(shard: EmbeddedShard, options: MemoryToolsOptions = {}): MemoryTools {
  rejectUnknownKeys('memoryTools', options, ['scope', 'newId'])
  const { scope = {}, newId = randomUUID } = options
  const isInScope = (id: string): boolean => {
    const metadata = shard.metadataOf(id)
    return (
      metadata !== null && Object.entries(scope).every(([key, value]) => same(metadata[key], value))
    )
  }
  return {
    search: retrievalTool(shard, {
      description:
        'Searches long-term memory for facts, decisions and preferences. Use it before you answer from memory.',
      ...(Object.keys(scope).length === 0 ? {} : { filter: scope }),
    }),
    remember: tool({
      description:
        'Stores one fact, decision or preference for later, in a sentence that is understood without the conversation. ' +
        'The id of a memory replaces it.',
      inputSchema: jsonSchema<RememberInput>({
        type: 'object',
        properties: {
          text: { type: 'string', minLength: 1, maxLength: 32_000 },
          id: { type: 'string', description: 'Leave out for a new memory.' },
          metadata: { type: 'object', description: 'Keys to filter by later.' },
        },
        required: ['text'],
        additionalProperties: false,
      }),
      execute: async ({ text, id = newId(), metadata = {} }, { abortSignal }) => {
        if (shard.metadataOf(id) !== null && !isInScope(id))
          throw new RangeError(`The id ${id} is taken.`)
        const call = abortSignal === undefined ? {} : { signal: abortSignal }
        await shard.add([{ id, text, metadata: { ...metadata, ...scope } }], call)
        return { id }
      },
    }),
    forget: tool({
      description: 'Deletes memories by id. Returns the ids that were there.',
      inputSchema: jsonSchema<{ readonly ids: readonly string[] }>({
        type: 'object',
        properties: {
          ids: { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: RESULTS_MAX },
        },
        required: ['ids'],
        additionalProperties: false,
      }),
      execute: async ({ ids }) => {
        const forgotten = ids.filter(isInScope)
        shard.remove(forgotten)
        return { forgotten }
      },
    }),
  }
}

function same(a: JsonValue | undefined, b: JsonValue): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function cut(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax).toWellFormed()} …`
}
