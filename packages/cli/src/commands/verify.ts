/**
 * `sqlite-vector verify` and `repair`: check stored counts against rows, and rows against a peer.
 */
import { type Call, type Command, EXIT, UsageError } from '../command.ts'
import { withNode } from '../node/open.ts'
import type { CheckSummary, NodeClient, VerifySummary } from '../node/types.ts'
import { formatCount } from '../terminal.ts'

export const verifyCommand: Command = {
  words: ['verify'],
  summary: 'Recount shards from their rows; with --peer, compare them with a peer.',
  details:
    'Exit code 3 when something differed. Wrong counts are corrected, and with --peer missing records are fetched; run it again to confirm. --payloads changes nothing where payloads differ: one side is damaged, and writing the record again on the sound side repairs it.',
  target: 'node',
  arguments: [{ name: 'shard', summary: 'only these shards', many: true, optional: true }],
  options: [
    {
      name: 'peer',
      value: 'ADDRESS',
      summary: 'compare with the peer at this address; with --url its name',
    },
    {
      name: 'payloads',
      summary: 'also compare payloads, and name the records that differ',
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
  summary: 'Fetch missing or damaged records of a shard from a peer.',
  details:
    'Compares ranges of ids and transfers only the differences. Exit code 3 when rows still differ: the peer lacks records held here, and the same command repairs it there.',
  target: 'node',
  arguments: [{ name: 'shard', summary: 'only these shards', many: true, optional: true }],
  options: [
    { name: 'peer', value: 'ADDRESS', summary: 'address of a sound copy; with --url its name' },
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
        const verdict = correct ? 'counts correct' : 'counts were wrong; corrected'
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
    ...(wereCompared ? [] : ['not compared: both sides are being written']),
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
  return `${formatCount(damaged.count)} records differ in payload: ${names}`
}
