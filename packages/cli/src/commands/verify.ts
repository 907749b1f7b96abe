/**
 * `sqlite-vector verify` and `repair`: hold what is kept against the rows, and the rows against a peer's.
 */
import { type Call, type Command, EXIT, UsageError } from '../command.ts'
import { withNode } from '../node/open.ts'
import type { CheckSummary, NodeClient, VerifySummary } from '../node/types.ts'
import { formatCount } from '../terminal.ts'

export const verifyCommand: Command = {
  words: ['verify'],
  summary: 'Count shards anew from their rows; with --peer, compare them with a peer.',
  details:
    'Exit code 3 when something differed. Counts that were kept wrongly are right afterwards, and with --peer the records that were missing here were fetched: verify again to see that all is well. With --payloads nothing is changed where payloads differ: one of the two sides is damaged, and writing the record again where it is sound mends it.',
  target: 'node',
  arguments: [{ name: 'shard', summary: 'only these', many: true, optional: true }],
  options: [
    {
      name: 'peer',
      value: 'ADDRESS',
      summary: 'compare with the peer that listens there; with --url its name',
    },
    {
      name: 'payloads',
      summary: 'compare what was written, too, and name the records that are not the same',
    },
  ],
  async run(call) {
    const address = call.text('peer')
    const payloads = call.flag('payloads')
    if (address === undefined && payloads) throw new UsageError('--payloads needs --peer')
    if (address === undefined) return verifyHere(call)
    const results = await compared(call, address, payloads)
    const isSound = results.every(
      ({ correct, equal, divergences, onlyHere, damaged }) =>
        correct &&
        equal &&
        divergences === 0 &&
        onlyHere === 0 &&
        (payloads ? damaged?.count === 0 : true),
    )
    return isSound ? EXIT.done : EXIT.found
  },
}

export const repairCommand: Command = {
  words: ['repair'],
  summary: 'Fetch from a peer what a shard lacks or holds damaged.',
  details:
    'Compares ranges of ids and transfers only what differs. Exit code 3 when rows still differ: the peer lacks something that is here, and repairs itself by the same command on its side.',
  target: 'node',
  arguments: [{ name: 'shard', summary: 'only these', many: true, optional: true }],
  options: [
    { name: 'peer', value: 'ADDRESS', summary: 'where a sound copy listens; with --url its name' },
  ],
  async run(call) {
    const results = await compared(call, call.text('peer') ?? '', false)
    return results.every(({ equal }) => equal) ? EXIT.done : EXIT.found
  },
}

async function verifyHere(call: Call): Promise<number> {
  const checks = await withNode(call, async (node) => {
    const results: CheckSummary[] = []
    for (const shardId of await shardsOf(call, node)) results.push(await node.recount(shardId))
    return results
  })
  call.print({ shards: checks }, () =>
    checks
      .map(({ shardId, correct, recordCount, digest }) => {
        const verdict = correct ? 'as kept' : 'differed from what was kept; put right'
        return `${shardId}: ${formatCount(recordCount)} records, ${digest}, ${verdict}`
      })
      .join('\n'),
  )
  return checks.every(({ correct }) => correct) ? EXIT.done : EXIT.found
}

/** Those that were named, or all. */
async function shardsOf(call: Call, node: NodeClient): Promise<readonly string[]> {
  const given = call.rest()
  return given.length > 0 ? given : (await node.shards()).map(({ shardId }) => shardId)
}

async function compared(
  call: Call,
  address: string,
  payloads: boolean,
): Promise<readonly VerifySummary[]> {
  if (address === '') throw new UsageError('--peer ADDRESS is missing')
  return withNode(call, async (node) => {
    const results: VerifySummary[] = []
    for (const shardId of await shardsOf(call, node)) {
      const result = await node.verify(shardId, address, payloads, call.signal)
      results.push(result)
      if (!call.json) process.stdout.write(`${verifyLine(result, payloads)}\n`)
    }
    if (call.json) process.stdout.write(`${JSON.stringify({ shards: results })}\n`)
    return results
  })
}

function verifyLine(result: VerifySummary, payloads: boolean): string {
  const {
    shardId,
    equal,
    compared: wereCompared,
    repaired,
    dropped,
    onlyHere,
    divergences,
    damaged,
  } = result
  return [
    `${shardId}: ${equal ? 'equal' : 'differs'}`,
    ...(wereCompared ? [] : ['could not be compared, both sides are being written']),
    ...(divergences > 0 ? ['rows had diverged'] : []),
    ...(repaired > 0 ? [`fetched ${formatCount(repaired)}`] : []),
    ...(dropped > 0 ? [`dropped ${formatCount(dropped)} deleted records`] : []),
    ...(onlyHere > 0 ? [`${formatCount(onlyHere)} records only here`] : []),
    ...(payloads ? [payloadsPart(damaged)] : []),
  ].join(', ')
}

function payloadsPart(damaged: VerifySummary['damaged']): string {
  if (damaged === null) return 'payloads could not be compared'
  if (damaged.count === 0) return 'payloads equal'
  const names = damaged.ids.map((id) => JSON.stringify(id)).join(' ')
  return `${formatCount(damaged.count)} records not the same on both sides: ${names}`
}
