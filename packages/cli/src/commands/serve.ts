/**
 * `sqlite-vector serve` and `config`: run a node, and show its configuration. The server package
 * does the work and owns the table of settings.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  CONFIG_OPTIONS,
  flagName,
  variableName,
} from '@agentic-flow/sqlite-vector-server/config-table'
import type { Flags, ResolvedConfig } from '@agentic-flow/sqlite-vector-server'
import {
  type Call,
  type Command,
  EXIT,
  nameOfFile,
  nodeFolder,
  type Option,
  UsageError,
} from '../command.ts'

const CONFIG_FILE: Option = {
  name: 'config',
  value: 'FILE',
  summary: 'YAML or JSON file with settings',
  environment: 'SQLITE_VECTOR_CONFIG',
  choices: 'file',
}

const INVITE: Option = {
  name: 'invite',
  summary: 'create a cluster unless one exists, and print a token with which one node can join',
}

/**
 * One option per setting of a node. The server package reads the variables, because it splits
 * lists.
 */
const SETTINGS: readonly Option[] = CONFIG_OPTIONS.map(({ key, kind, fallback, summary }) => ({
  name: flagName(key),
  value: kind.syntax,
  summary: `${summary} (${variableName(key)})`,
  ...(key === 'database' ? { short: 'd' } : {}),
  ...(kind.repeats ? { many: true as const } : {}),
  ...(typeof fallback === 'string' || typeof fallback === 'number'
    ? { default: String(fallback) }
    : {}),
}))

export const serveCommand: Command = {
  words: ['serve'],
  outlivesReader: true,
  summary: 'Run a node: HTTP API, sync listener, and live sync with its peers, until Ctrl-C.',
  details:
    'Settings come from --config, then the environment, then options; later sources win. Listens on loopback by default. At shutdown, requests under way are answered and no acknowledged write is lost. --json prints one object on stdout when the node is ready.',
  target: 'none',
  arguments: [],
  options: [CONFIG_FILE, INVITE],
  settings: SETTINGS,
  run: serve,
}

export const configPrintCommand: Command = {
  words: ['config', 'print'],
  summary: 'Show the settings in force and their origins; secrets are hidden.',
  target: 'none',
  arguments: [],
  options: [CONFIG_FILE],
  settings: SETTINGS,
  async run(call) {
    const { describeConfig } = await import('@agentic-flow/sqlite-vector-server')
    const settings = describeConfig(await resolved(call))
    call.print({ settings }, () =>
      settings
        .map(({ key, value, origin }) => `${key}: ${JSON.stringify(value)}  # ${origin}`)
        .join('\n'),
    )
    return EXIT.done
  },
}

async function serve(call: Call): Promise<number> {
  const server = await import('@agentic-flow/sqlite-vector-server')
  const { config } = await resolved(call)
  const { nodeId } = config
  const invitation = call.flag('invite') ? await invite(config.database, nodeId) : null
  const serving = server.serve({
    configure: () => resolved(call),
    signal: call.signal,
    onReady: ({ url, syncAddress, fingerprint }) => {
      call.print({ nodeId, url, syncAddress, fingerprint, ...invitation }, () =>
        [
          `node ${nodeId} is ready`,
          `  API   ${url}`,
          `  sync  ${syncAddress ?? 'off: this node only dials'}`,
          `  fingerprint ${fingerprint}`,
          ...(invitation === null ? [] : [`  token, valid once within a day: ${invitation.token}`]),
        ].join('\n'),
      )
    },
  })
  return serving.catch((error: unknown) => {
    if (error instanceof server.ConfigError) throw new UsageError(error.message, { cause: error })
    throw error
  })
}

async function invite(database: string, nodeId: string): Promise<{ token: string }> {
  const { initCluster, inviteNode, readMembership } =
    await import('@agentic-flow/sqlite-vector/transport')
  const folder = nodeFolder(database)
  if (readMembership(folder) === null) initCluster(folder, { name: 'cluster', nodeId })
  return { token: inviteNode(folder).token }
}

/** The node's name in its certificate; without a certificate, the name of the file. */
async function nameOfNode(database: string): Promise<string> {
  const folder = nodeFolder(database)
  if (!existsSync(join(folder, 'certificate.pem'))) return nameOfFile(database)
  const { openIdentity } = await import('@agentic-flow/sqlite-vector/transport')
  return openIdentity(folder).commonName ?? nameOfFile(database)
}

/** The settings in force. Without `nodeId`, the node keeps the name in its certificate. */
async function resolved(call: Call): Promise<ResolvedConfig> {
  const { ConfigError, resolveConfig } = await import('@agentic-flow/sqlite-vector-server')
  const flags: Record<string, string | readonly string[]> = {}
  for (const { name, many } of SETTINGS) {
    const given = many === true ? call.texts(name) : call.text(name)
    if (given !== undefined && given.length > 0) flags[name] = given
  }
  try {
    const found = resolveConfig({
      file: call.text('config'),
      env: process.env,
      flags: flags satisfies Flags,
    })
    const { config, origins } = found
    if (origins['nodeId'] !== 'default') return found
    return { config: { ...config, nodeId: await nameOfNode(config.database) }, origins }
  } catch (error) {
    if (error instanceof ConfigError) throw new UsageError(error.message, { cause: error })
    throw error
  }
}
