/**
 * `sqlite-vector listen` and `sqlite-vector sync`: a node that takes connections, and one that dials.
 */
import { once } from 'node:events'
import { flag, take, text, type Command } from '../command.ts'
import { formatBytes, formatCount, formatMs } from '../terminal.ts'

export const listenCommand: Command = {
  name: 'listen',
  usage: 'DATABASE ADDRESS [--node NAME]',
  summary:
    'Take connections of pinned peers at an address such as 0.0.0.0:4433, until interrupted.',
  options: { node: { type: 'string' } },
  optionHelp: ['--node NAME  what peers call this node (node)'],
  async run(positionals, values) {
    const { database, address } = take(positionals, 'database', 'address')
    const { createVectorDB, createVectorSync } = await library()
    using db = await createVectorDB({ path: database })
    await using sync = createVectorSync(db, text(values, 'node') ?? 'node', {})
    process.stdout.write(`${sync.fingerprint} listens at ${await sync.listen(address)}\n`)
    await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
    return 0
  },
}

export const syncCommand: Command = {
  name: 'sync',
  usage: 'DATABASE SHARD ADDRESS [--node NAME] [--json]',
  summary: 'Exchange the changes of one shard with a pinned peer, both ways, once.',
  options: { node: { type: 'string' }, json: { type: 'boolean' } },
  optionHelp: [
    '--node NAME  what the peer calls this node (node)',
    '--json       print one JSON object',
  ],
  async run(positionals, values) {
    const { database, shard, address } = take(positionals, 'database', 'shard', 'address')
    const { createVectorDB, createVectorSync } = await library()
    using db = await createVectorDB({ path: database })
    await using sync = createVectorSync(db, text(values, 'node') ?? 'node', {})
    const result = await sync.sync(shard, address)
    process.stdout.write(
      flag(values, 'json')
        ? `${JSON.stringify(result)}\n`
        : `applied ${formatCount(result.applied)}, sent ${formatCount(result.sent)}, ` +
            `conflicts ${formatCount(result.conflicts)}, ${formatBytes(result.wireBytes)}, ${formatMs(result.durationMs)}\n`,
    )
    return 0
  },
}

/** Loaded when it is needed: `--help` must not wait for a database engine and a network. */
async function library() {
  const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
  const { createVectorSync } = await import('@agentic-flow/sqlite-vector/sync')
  return { createVectorDB, createVectorSync }
}
