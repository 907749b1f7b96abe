/**
 * `sqlite-vector stats` and `sqlite-vector search`: look into a database file.
 */
import { count, existingFile, flag, take, UsageError, type Command } from '../command.ts'
import { hashedNgramEmbedder } from '../demo/embedder.ts'
import { formatCount, formatTable } from '../terminal.ts'

export const statsCommand: Command = {
  name: 'stats',
  usage: 'DATABASE [--json]',
  summary: 'Print what each shard of a database holds.',
  options: { json: { type: 'boolean' } },
  optionHelp: ['--json  print one JSON object'],
  async run(positionals, values) {
    const { database } = take(positionals, 'database')
    const path = existingFile(database)
    const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
    using db = await createVectorDB({ path })
    const stats = db.stats()
    const { shards } = stats
    if (flag(values, 'json')) {
      const plain = shards.map((state) => ({
        ...state,
        versionVector: Object.fromEntries(state.versionVector),
        gcFloor: Object.fromEntries(state.gcFloor),
      }))
      process.stdout.write(`${JSON.stringify({ ...stats, shards: plain })}\n`)
      return 0
    }
    const rows = shards.map((state) => [
      state.shardId,
      formatCount(state.recordCount),
      formatCount(state.tombstoneCount),
      formatCount(state.conflictCount),
      String(state.dimension),
      state.metric,
      state.modelId ?? '–',
      state.fingerprint,
    ])
    const titles = [
      'shard',
      'records',
      'tombstones',
      'conflicts',
      'dimension',
      'metric',
      'model',
      'fingerprint',
    ]
    process.stdout.write(`${formatTable([titles, ...rows])}\n`)
    return 0
  },
}

export const searchCommand: Command = {
  name: 'search',
  usage: 'DATABASE SHARD TEXT [--k COUNT] [--json]',
  summary: 'Search a shard whose vectors were made by the built-in offline embedder.',
  options: { k: { type: 'string' }, json: { type: 'boolean' } },
  optionHelp: ['--k COUNT  neighbours wanted (5)', '--json     print one JSON object'],
  async run(positionals, values) {
    const { database, shard, query } = take(positionals, 'database', 'shard', 'query')
    const k = count(values, 'k', 5)
    const path = existingFile(database)
    const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
    using db = await createVectorDB({ path })
    const { modelId } = db.replica.shardState(shard)
    // Vectors of another model would give an answer too, and it would mean nothing.
    if (modelId !== hashedNgramEmbedder.modelId) {
      throw new UsageError(
        `shard ${shard} holds vectors of ${modelId ?? 'an unnamed model'}; this command embeds with ${hashedNgramEmbedder.modelId} only`,
      )
    }
    const [vector] = await hashedNgramEmbedder.embed([query])
    if (vector === undefined) throw new Error('the embedder gave no vector')
    const results = db.search(shard, vector, { k })
    if (flag(values, 'json')) {
      process.stdout.write(`${JSON.stringify({ query, results })}\n`)
      return 0
    }
    for (const { id, distance, text } of results) {
      process.stdout.write(`${distance.toFixed(4)}  ${id}\n`)
      if (text !== null)
        process.stdout.write(`        ${text.replaceAll(/\s+/g, ' ').slice(0, 160)}\n`)
    }
    return 0
  },
}
