/**
 * `sqlite-vector fingerprint` and `sqlite-vector trust`: who this node is, and whom it talks to.
 *
 * Both work on the folder `<database>-node/`; a running node notices changes of its trust list.
 */
import { readFileSync } from 'node:fs'
import type { TrustList } from '@agentic-flow/sqlite-vector/transport'
import { flag, take, text, UsageError, type Command } from '../command.ts'

/** The folder of keys and trust that belongs to a database file. */
export function nodeFolder(database: string): string {
  return `${database}-node`
}

export const fingerprintCommand: Command = {
  name: 'fingerprint',
  usage: 'DATABASE [--certificate]',
  summary: 'Print the fingerprint of a node, or its certificate for others to pin.',
  options: { certificate: { type: 'boolean' } },
  optionHelp: ['--certificate  print the certificate (PEM) instead'],
  async run(positionals, values) {
    const { database } = take(positionals, 'database')
    const { openIdentity } = await import('@agentic-flow/sqlite-vector/transport')
    const identity = openIdentity(nodeFolder(database))
    process.stdout.write(
      flag(values, 'certificate') ? identity.certificatePem : `${identity.fingerprint}\n`,
    )
    return 0
  },
}

export const trustCommand: Command = {
  name: 'trust',
  usage: 'add DATABASE CERTIFICATE [--name NAME] | list DATABASE | remove DATABASE FINGERPRINT',
  summary: 'Pin the certificates of peers, list them, unpin one.',
  options: { name: { type: 'string' } },
  optionHelp: [
    'CERTIFICATE  a PEM file, as `fingerprint --certificate` prints it on the peer; - reads stdin',
    '--name NAME  what to call the peer',
  ],
  async run([action, ...rest], values) {
    const name = text(values, 'name') ?? null
    if (action === 'add') return add(rest, name)
    if (action === 'list') return list(rest)
    if (action === 'remove') return remove(rest)
    throw new UsageError('say add, list or remove')
  },
}

async function add(positionals: readonly string[], name: string | null): Promise<number> {
  const { database, certificate } = take(positionals, 'database', 'certificate')
  const pem = readFileSync(certificate === '-' ? 0 : certificate, 'utf8')
  const entry = (await trustOf(database)).add(pem, name)
  process.stdout.write(`${entry.fingerprint}\n`)
  return 0
}

async function list(positionals: readonly string[]): Promise<number> {
  const { database } = take(positionals, 'database')
  for (const { fingerprint, nodeId } of (await trustOf(database)).list()) {
    process.stdout.write(`${fingerprint}  ${nodeId ?? ''}`.trimEnd() + '\n')
  }
  return 0
}

async function remove(positionals: readonly string[]): Promise<number> {
  const { database, fingerprint } = take(positionals, 'database', 'fingerprint')
  const removed = (await trustOf(database)).remove(fingerprint)
  if (!removed) process.stderr.write(`no peer ${fingerprint} is pinned\n`)
  return removed ? 0 : 1
}

async function trustOf(database: string): Promise<TrustList> {
  const transport = await import('@agentic-flow/sqlite-vector/transport')
  return transport.TrustList.open(nodeFolder(database))
}
