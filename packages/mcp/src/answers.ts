/**
 * The parts that all tools share: arguments, answers, and failures as a model is told them.
 */
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import type { JsonValue } from '@agentic-flow/sqlite-vector'
import { z } from 'zod'
import { MemoryError } from './memory.ts'

/** Longest text of a search result, in characters; `get` gives the whole. */
export const SHOWN_CHARACTERS_MAX = 2_000
/** Most results of a tool. */
export const RESULTS_MAX = 50

const shard = z
  .string()
  .min(1)
  .max(256)
  .optional()
  .describe('Shard to use; leave out for the default one. list_shards gives the names.')

/** Arguments that several tools take. */
export const ARGUMENTS: {
  readonly shard: z.ZodOptional<z.ZodString>
  readonly id: z.ZodString
  readonly metadata: z.ZodRecord<z.ZodString, z.ZodType<JsonValue>>
} = {
  shard,
  id: z.string().min(1).max(1_024),
  metadata: z.record(z.string(), z.json()),
}

/** Hints about a tool for its client. */
export const READS: { readonly readOnlyHint: boolean; readonly openWorldHint: boolean } = {
  readOnlyHint: true,
  openWorldHint: false,
}
export const WRITES: { readonly readOnlyHint: boolean; readonly openWorldHint: boolean } = {
  readOnlyHint: false,
  openWorldHint: false,
}

/**
 * The result of a tool: structured, and the same as text. A failure is told to the model, which may
 * try again.
 */
export async function answer(work: () => Promise<object>): Promise<CallToolResult> {
  try {
    const value = JSON.parse(JSON.stringify(await work(), plain)) as { [key: string]: JsonValue }
    return { content: [{ type: 'text', text: JSON.stringify(value) }], structuredContent: value }
  } catch (error) {
    return { isError: true, content: [{ type: 'text', text: explained(error) }] }
  }
}

function explained(error: unknown): string {
  if (error instanceof MemoryError) return error.message
  if (error instanceof SqliteVectorError) return `${error.code}: ${error.message} ${error.hint}`
  if (error instanceof TypeError || error instanceof RangeError) return error.message
  // Coded errors of a remote node have the same shape.
  if (error instanceof Error && 'code' in error) return `${String(error.code)}: ${error.message}`
  throw error
}

/** The beginning of a long text, with its length. */
export function cut(text: string | null): string | null {
  if (text === null || text.length <= SHOWN_CHARACTERS_MAX) return text
  return `${text.slice(0, SHOWN_CHARACTERS_MAX).toWellFormed()} … (${text.length} characters; get gives the whole)`
}

/** For `JSON.stringify`: vectors are left out. */
export function plain(_: string, value: unknown): unknown {
  return value instanceof Float32Array ? undefined : value
}
