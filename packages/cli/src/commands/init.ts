/**
 * `sqlite-vector init`: creates a database file, its node's key pair, and optionally a first shard.
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
  summary: 'Create a database file and the key pair of its node.',
  details:
    'In an existing database, only creates the shard or checks that the existing one is the same.',
  target: 'file',
  arguments: [{ name: 'shard', summary: 'a first shard; needs --dimension', optional: true }],
  options: [
    ...SHARD_OPTIONS,
    {
      name: 'node',
      value: 'NAME',
      summary: 'name of this node in its certificate',
      default: 'the file name',
    },
  ],
  run: init,
}

async function init(call: Call): Promise<number> {
  const path = databaseOf(call)
  const shardId = call.optional('shard')
  if (shardId === undefined && call.text('dimension') !== undefined) {
    throw new UsageError('--dimension needs a SHARD')
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
      `${isNew ? 'created' : 'found'} ${path}`,
      `node ${fingerprint}`,
      ...shards.map(
        (shard) => `shard ${shard.shardId}: ${shard.dimension} dimensions, ${shard.metric}`,
      ),
    ].join('\n'),
  )
  return 0
}
