/**
 * `sqlite-vector init`: makes a database file, its node's key pair, and perhaps a first shard.
 */
import { existsSync } from 'node:fs'
import {
  type Call,
  type Command,
  databaseOf,
  nameOfFile,
  nodeFolder,
  UsageError,
} from '../command.ts'
import { SHARD_OPTIONS, shardOptionsOf } from './shards.ts'

export const initCommand: Command = {
  words: ['init'],
  summary: 'Make a database file and the key pair of its node.',
  details:
    'Does nothing to a file that is there but make the shard, or check that the one there is the same.',
  target: 'file',
  arguments: [{ name: 'shard', summary: 'a first shard; needs --dimension', optional: true }],
  options: [
    ...SHARD_OPTIONS,
    {
      name: 'node',
      value: 'NAME',
      summary: 'what the certificate calls this node',
      default: 'the file name',
    },
  ],
  run: init,
}

async function init(call: Call): Promise<number> {
  const path = databaseOf(call)
  const shardId = call.optional('shard')
  if (shardId === undefined && call.text('dimension') !== undefined) {
    throw new UsageError('--dimension belongs to a SHARD: name it')
  }
  const shardOptions = shardId === undefined ? null : shardOptionsOf(call)
  const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
  const { openIdentity } = await import('@agentic-flow/sqlite-vector/transport')
  const isNew = !existsSync(path)
  using db = await createVectorDB({ path })
  const { fingerprint } = openIdentity(nodeFolder(path), {
    nodeId: call.text('node') ?? nameOfFile(path),
  })
  if (shardId !== undefined && shardOptions !== null) db.createShard(shardId, shardOptions)
  const shards = db.shards()
  call.print({ database: path, created: isNew, fingerprint, shards }, () =>
    [
      `${isNew ? 'made' : 'found'} ${path}`,
      `node ${fingerprint}`,
      ...shards.map(
        (shard) => `shard ${shard.shardId}: ${shard.dimension} dimensions, ${shard.metric}`,
      ),
    ].join('\n'),
  )
  return 0
}
