/**
 * `sqlite-vector fingerprint` and `trust`: this node's identity, and the peers it trusts.
 *
 * Both work on the folder `<database>-node/`; a running node picks up changes of its trust list.
 */
import type { TrustList } from '@agentic-flow/sqlite-vector/transport'
import { type Call, type Command, databaseOf, EXIT, nodeFolder, readText } from '../command.ts'

export const fingerprintCommand: Command = {
  words: ['fingerprint'],
  summary: "Print this node's fingerprint, or its certificate for peers to pin.",
  target: 'file',
  arguments: [],
  options: [{ name: 'certificate', summary: 'print the certificate (PEM) instead' }],
  async run(call) {
    const { openIdentity } = await import('@agentic-flow/sqlite-vector/transport')
    const { fingerprint, certificatePem } = openIdentity(nodeFolder(databaseOf(call)))
    const shown = call.flag('certificate') ? certificatePem : fingerprint
    call.print({ fingerprint, certificatePem }, () => shown)
    return EXIT.done
  },
}

export const trustAddCommand: Command = {
  words: ['trust', 'add'],
  summary: 'Pin the certificate of a peer.',
  target: 'file',
  arguments: [
    {
      name: 'certificate',
      summary: 'a PEM file, as `fingerprint --certificate` prints it on the peer; - reads stdin',
      choices: 'file',
    },
  ],
  options: [{ name: 'name', value: 'NAME', summary: 'name of the peer' }],
  async run(call) {
    const pem = readText(call.argument('certificate'))
    const { fingerprint, nodeId } = (await trustOf(call)).add(pem, call.text('name') ?? null)
    call.print({ fingerprint, nodeId }, () => fingerprint)
    return EXIT.done
  },
}

export const trustListCommand: Command = {
  words: ['trust', 'list'],
  summary: 'List the trusted peers and clusters.',
  target: 'file',
  arguments: [],
  options: [],
  async run(call) {
    const trust = await trustOf(call)
    const peers = trust.list().map(({ fingerprint, nodeId }) => ({ fingerprint, nodeId }))
    const clusters = trust.authorities().map(({ fingerprint, nodeId }) => ({ fingerprint, nodeId }))
    call.print({ peers, clusters }, () =>
      [
        ...peers.map(({ fingerprint, nodeId }) => `${fingerprint}  ${nodeId ?? ''}`.trimEnd()),
        ...clusters.map(({ fingerprint, nodeId }) =>
          `${fingerprint}  cluster ${nodeId ?? ''}`.trimEnd(),
        ),
      ].join('\n'),
    )
    return EXIT.done
  },
}

export const trustRemoveCommand: Command = {
  words: ['trust', 'remove'],
  summary: 'Stop trusting a peer or a cluster; its open connections end.',
  target: 'file',
  arguments: [{ name: 'fingerprint', summary: 'as `trust list` prints it' }],
  options: [],
  async run(call) {
    const fingerprint = call.argument('fingerprint')
    const removed = (await trustOf(call)).remove(fingerprint)
    if (!removed) process.stderr.write(`no trusted peer has the fingerprint ${fingerprint}\n`)
    call.print({ fingerprint, removed }, () => '')
    return removed ? EXIT.done : EXIT.failed
  },
}

async function trustOf(call: Call): Promise<TrustList> {
  const transport = await import('@agentic-flow/sqlite-vector/transport')
  return transport.TrustList.open(nodeFolder(databaseOf(call)))
}
