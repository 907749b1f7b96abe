/**
 * `sqlite-vector ask`: a question in words, answered by vector and by words from this node's own
 * records.
 */
import type { VectorInput } from '@agentic-flow/sqlite-vector'
import type { Filter } from '@agentic-flow/sqlite-vector'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import { ASK_WEIGHTS, embedTexts, searchWords } from '@agentic-flow/sqlite-vector-embeddings'
import { type Call, type Command, EXIT, UsageError } from '../command.ts'
import { EMBED_OPTIONS, embedderOfCall } from '../ingest/shard-embedder.ts'
import { plainValue } from '../node/local.ts'
import { withNode } from '../node/open.ts'
import type { NodeClient, ShownRecord } from '../node/types.ts'

export const askCommand: Command = {
  words: ['ask'],
  summary: 'Find the passages that answer a question.',
  details:
    'Ranks by vector and by words. Uses the embedder of --embed, the one that the shard carries, or the service that `ingest` used last; without one, or when it cannot be reached, ranks by words alone and says so.',
  target: 'node',
  arguments: [
    { name: 'shard', summary: 'the shard' },
    { name: 'question', summary: 'the question, in quotes' },
  ],
  options: [
    ...EMBED_OPTIONS,
    { name: 'k', value: 'COUNT', summary: 'passages wanted', default: '5' },
    {
      name: 'filter',
      value: 'JSON',
      summary: 'only records whose metadata passes; @FILE reads a file',
    },
    { name: 'words-only', summary: 'rank by words alone' },
  ],
  run: (call) => withNode(call, (node) => ask(call, node)),
}

async function ask(call: Call, node: NodeClient): Promise<number> {
  const shardId = call.argument('shard')
  const question = call.argument('question')
  if (question.trim() === '') throw new UsageError('QUESTION is empty')
  const filter = filterOf(call)
  const vector = call.flag('words-only') ? null : await vectorOf(call, node, shardId, question)
  const results = await node.query(shardId, {
    k: call.count('k', 5),
    text: searchWords(question),
    ...(vector === null ? {} : { vector, weights: ASK_WEIGHTS }),
    ...(filter === undefined ? {} : { filter }),
  })
  const ranking = vector === null ? 'text' : 'hybrid'
  if (call.json)
    process.stdout.write(`${JSON.stringify({ question, ranking, results }, plainValue)}\n`)
  else if (results.length === 0) process.stdout.write('nothing found\n')
  else process.stdout.write(results.map(shown).join('\n'))
  return EXIT.done
}

/** null, and a line on stderr, where the question cannot be embedded: words still answer it. */
async function vectorOf(
  call: Call,
  node: NodeClient,
  shardId: string,
  question: string,
): Promise<VectorInput | null> {
  try {
    const embedder = await embedderOfCall(call, node, shardId)
    if (embedder === null) {
      process.stderr.write(
        'no embedder for this shard here: ranking by words alone; --embed names one\n',
      )
      return null
    }
    const [vector] = await embedTexts(embedder, [question], 'query', { attempts: 1 })
    return vector ?? null
  } catch (error) {
    if (!(error instanceof SqliteVectorError) || error.code !== 'EMBEDDER_FAILED') throw error
    process.stderr.write(`${error.message}: ranking by words alone\n`)
    return null
  }
}

function filterOf(call: Call): Filter | undefined {
  const given = call.jsonValue('filter')
  if (given === undefined) return undefined
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given as Filter
  throw new UsageError('--filter takes a JSON object')
}

function shown({ id, text, metadata }: ShownRecord): string {
  const heading = metadata['heading']
  const title = typeof heading === 'string' && heading !== '' ? `  ${heading}` : ''
  const words = (text ?? '').split('\n').map((line) => `    ${line}`)
  return `${id}${title}\n${words.join('\n')}\n`
}
