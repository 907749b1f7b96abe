/**
 * `sqlite-vector quarantine`: lists, retries and rejects changes from peers that could not be
 * applied.
 */
import { type Command, EXIT, UsageError } from '../command.ts'
import { withNode } from '../node/open.ts'
import { formatTable } from '../terminal.ts'

const SHARD = { name: 'shard', summary: 'the shard' }

export const quarantineListCommand: Command = {
  words: ['quarantine', 'list'],
  summary: 'List quarantined changes with their reasons.',
  target: 'node',
  arguments: [SHARD],
  options: [],
  run: (call) =>
    withNode(call, async (node) => {
      const entries = await node.quarantine(call.argument('shard'))
      call.print({ entries }, () =>
        entries.length === 0
          ? 'nothing in quarantine'
          : formatTable([
              ['entry', 'record', 'since', 'from', 'reason'],
              ...entries.map(({ entry, id, atMs, peer, reason }) => [
                String(entry),
                id,
                new Date(atMs).toISOString(),
                peer.slice(0, 16),
                reason,
              ]),
            ]),
      )
      return entries.length === 0 ? EXIT.done : EXIT.found
    }),
}

export const quarantineRetryCommand: Command = {
  words: ['quarantine', 'retry'],
  summary: 'Apply quarantined changes again, all or one, for example after an upgrade.',
  target: 'node',
  arguments: [SHARD],
  options: [{ name: 'entry', value: 'NUMBER', summary: 'only this one' }],
  run: (call) =>
    withNode(call, async (node) => {
      const entry = call.text('entry') === undefined ? undefined : call.count('entry', 0)
      const { applied, left } = await node.retryQuarantine(call.argument('shard'), entry)
      call.print({ applied, left }, () => `applied ${applied}, ${left} left`)
      return left === 0 ? EXIT.done : EXIT.found
    }),
}

export const quarantineDiscardCommand: Command = {
  words: ['quarantine', 'discard'],
  summary: 'Reject a quarantined change on every replica.',
  target: 'node',
  arguments: [SHARD],
  options: [
    { name: 'entry', value: 'NUMBER', summary: 'the entry, as `quarantine list` prints it' },
  ],
  run: (call) =>
    withNode(call, async (node) => {
      if (call.text('entry') === undefined) throw new UsageError('--entry NUMBER is missing')
      const entry = call.count('entry', 0)
      await node.discardQuarantine(call.argument('shard'), entry)
      call.print({ discarded: entry }, () => `discarded ${entry}`)
      return EXIT.done
    }),
}
