/**
 * Tools that write memories.
 */
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { z } from 'zod'
import { answer, ARGUMENTS, RESULTS_MAX, WRITES } from './answers.ts'
import { MemoryError, type MemoryStore } from './memory.ts'

const { shard, id, metadata } = ARGUMENTS

/** Longest text of one memory, in characters: a note, not a document. */
const TEXT_CHARACTERS_MAX = 32_000

/** `remember`, `update` and `forget`. */
export function addWriteTools(server: McpServer, memory: MemoryStore): void {
  server.registerTool(
    'remember',
    {
      title: 'Remember',
      description:
        'Stores one fact, decision or preference for later, and for other agents. One memory per idea, in a sentence ' +
        `that is understood without the conversation; at most ${TEXT_CHARACTERS_MAX} characters. The same id replaces ` +
        'the memory. Example: {"text": "The customer prefers invoices in euro.", "metadata": {"customer": "acme"}}',
      inputSchema: {
        text: z.string().min(1).max(TEXT_CHARACTERS_MAX),
        id: id.optional().describe('Leave out for a new memory.'),
        shard,
        metadata: metadata.optional().describe('Keys to filter by later.'),
      },
      annotations: { ...WRITES, idempotentHint: false },
    },
    ({ text, id: key, shard: name, metadata: given }) =>
      answer(() => memory.remember({ shard: name, id: key, text, metadata: given })),
  )
  server.registerTool(
    'update',
    {
      title: 'Update a memory',
      description:
        'Changes the text or metadata of a memory. Metadata keys are merged; null removes a key.',
      inputSchema: {
        id,
        shard,
        text: z.string().min(1).max(TEXT_CHARACTERS_MAX).optional(),
        metadata: metadata.optional(),
      },
      annotations: { ...WRITES, idempotentHint: true },
    },
    ({ id: key, shard: name, text, metadata: given }) =>
      answer(async () => {
        if (text === undefined && given === undefined)
          throw new MemoryError('Give text, metadata or both.')
        return {
          record: await memory.update({ shard: name, id: key, text, metadata: given }),
        }
      }),
  )
  server.registerTool(
    'forget',
    {
      title: 'Forget memories',
      description:
        'Deletes memories by id, here and after the next sync on every node. Returns the ids that were there.',
      inputSchema: { ids: z.array(id).min(1).max(RESULTS_MAX), shard },
      annotations: { ...WRITES, destructiveHint: true, idempotentHint: true },
    },
    ({ ids, shard: name }) => answer(async () => ({ forgotten: await memory.forget(name, ids) })),
  )
}
