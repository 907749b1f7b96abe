/**
 * Merges a configuration from defaults, file, environment and flags; later sources win. Lists are
 * replaced, never joined. Reads the named file; otherwise pure.
 *
 * An unknown key, variable or flag is rejected with the nearest known name; a wrong value with its
 * place.
 */
import { readFileSync } from 'node:fs'
import { nearestName } from '@agentic-flow/sqlite-vector/options'
import { LineCounter, parseDocument } from 'yaml'
import { splitAddress } from './kinds.ts'
import {
  CONFIG_OPTIONS,
  type ConfigOption,
  flagName,
  isOtherVariable,
  VARIABLE_PREFIX,
  variableName,
} from './table.ts'
import { ConfigError, type NodeConfig, type Origin } from './types.ts'

/** Flags by name without dashes; a repeated flag is a list. */
export type Flags = Readonly<Record<string, string | readonly string[] | undefined>>

export interface ConfigSources {
  /** A YAML or JSON file. @defaultValue none */
  readonly file?: string | undefined
  /** @defaultValue none is read */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly flags?: Flags
}

/** A configuration and the origin of each value, by key. */
export interface ResolvedConfig {
  readonly config: NodeConfig
  readonly origins: Readonly<Record<string, Origin>>
}

interface Given {
  readonly value: unknown
  readonly origin: Origin
  /** Place of the value, for messages. */
  readonly where: string
}

/** @throws ConfigError */
export function resolveConfig(sources: ConfigSources = {}): ResolvedConfig {
  const { file, env = {}, flags = {} } = sources
  const given = new Map<string, Given>()
  for (const { key, fallback } of CONFIG_OPTIONS) {
    given.set(key, { value: fallback, origin: 'default', where: key })
  }
  if (file !== undefined) for (const [key, entry] of fromFile(file)) given.set(key, entry)
  for (const [key, entry] of fromEnvironment(env)) given.set(key, entry)
  for (const [key, entry] of fromFlags(flags)) given.set(key, entry)

  const tree: Tree = {}
  const origins: Record<string, Origin> = {}
  for (const { key, kind } of CONFIG_OPTIONS) {
    const entry = given.get(key)
    if (entry === undefined) continue
    origins[key] = entry.origin
    put(
      tree,
      key,
      named(entry.where, () => kind.check(key, entry.value)),
    )
  }
  const config = tree as unknown as NodeConfig
  checkTogether(config)
  return deepFreeze({ config, origins })
}

function fromFile(path: string): ReadonlyMap<string, Given> {
  let content: string
  try {
    content = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ConfigError(`cannot read the configuration ${path}`, { cause })
  }
  // JSON is YAML, so one reader serves both.
  const lineCounter = new LineCounter()
  // Pretty errors quote the line, which may hold a key.
  const document = parseDocument(content, { uniqueKeys: true, prettyErrors: false, lineCounter })
  const [problem] = document.errors
  if (problem !== undefined) {
    const { line, col } = lineCounter.linePos(problem.pos[0])
    throw new ConfigError(`${path}:${line}:${col}: ${problem.message}`)
  }
  const value: unknown = named(path, () => document.toJS({ maxAliasCount: 100 }))
  const found = new Map<string, Given>()
  if (value === null) return found
  collect(path, value, '', found)
  return found
}

/** Walks down the groups of a file to the settings. */
function collect(path: string, value: unknown, prefix: string, found: Map<string, Given>): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const what = prefix === '' ? 'the file' : prefix.slice(0, -1)
    throw new ConfigError(`${path}: ${what} must be a group of settings`)
  }
  for (const [name, inner] of Object.entries(value)) {
    const key = prefix + name
    const where = `${path}: ${key}`
    if (optionOf(key) !== undefined) found.set(key, { value: inner, origin: 'file', where })
    else if (CONFIG_OPTIONS.some((option) => option.key.startsWith(`${key}.`))) {
      collect(path, inner, `${key}.`, found)
    } else throw unknown(path, key, knownUnder(prefix))
  }
}

/** Settings and groups allowed under a prefix, and the full names of all settings. */
function knownUnder(prefix: string): readonly string[] {
  const level = CONFIG_OPTIONS.filter(({ key }) => key.startsWith(prefix)).map(
    ({ key }) => prefix + (key.slice(prefix.length).split('.')[0] ?? ''),
  )
  return [...new Set([...level, ...CONFIG_OPTIONS.map(({ key }) => key)])]
}

function fromEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): ReadonlyMap<string, Given> {
  const found = new Map<string, Given>()
  const known = new Map(CONFIG_OPTIONS.map((option) => [variableName(option.key), option]))
  for (const [name, content] of Object.entries(env)) {
    if (!name.startsWith(VARIABLE_PREFIX) || isOtherVariable(name)) continue
    if (content === undefined) continue
    const option = known.get(name)
    if (option === undefined) throw unknown('environment', name, [...known.keys()])
    const texts = option.kind.repeats ? splitList(content) : [content]
    found.set(option.key, fromTexts(option, texts, 'environment', name))
  }
  return found
}

function fromFlags(flags: Flags): ReadonlyMap<string, Given> {
  const found = new Map<string, Given>()
  const known = new Map(CONFIG_OPTIONS.map((option) => [flagName(option.key), option]))
  for (const [name, content] of Object.entries(flags)) {
    if (content === undefined) continue
    const option = known.get(name)
    if (option === undefined) throw unknown('flags', name, [...known.keys()])
    const texts = typeof content === 'string' ? [content] : content
    const where = `--${name}`
    if (!option.kind.repeats && texts.length !== 1) {
      throw new ConfigError(`${where} may be given once`)
    }
    found.set(option.key, fromTexts(option, texts, 'flag', where))
  }
  return found
}

function fromTexts(
  { kind }: ConfigOption,
  texts: readonly string[],
  origin: Origin,
  where: string,
): Given {
  const values = texts.map((content) => named(where, () => kind.fromText('value', content)))
  return { value: kind.repeats ? values : values[0], origin, where }
}

function splitList(content: string): readonly string[] {
  return content === '' ? [] : content.split(',').map((item) => item.trim())
}

/** Rules between settings. */
function checkTogether({ http, nodeId, peers }: NodeConfig): void {
  const { host } = splitAddress('http.listen', http.listen)
  if (!isLoopback(host) && http.apiKeys.length === 0) {
    throw new ConfigError(
      `http.listen ${http.listen} can be reached from other machines: set http.apiKeys, or listen at 127.0.0.1`,
    )
  }
  if ((http.tls.certificate === null) !== (http.tls.key === null)) {
    throw new ConfigError('http.tls needs both certificate and key, or neither')
  }
  if (peers.some((peer) => peer.nodeId === nodeId)) {
    throw new ConfigError(`peers: ${nodeId} is the name of this node`)
  }
}

/** Returns true when the host can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

function optionOf(key: string): ConfigOption | undefined {
  return CONFIG_OPTIONS.find((option) => option.key === key)
}

function unknown(where: string, name: string, known: readonly string[]): ConfigError {
  const nearest = nearestName(name, known)
  const remedy = nearest === undefined ? '' : `; did you mean ${nearest}?`
  return new ConfigError(`${where}: unknown setting ${name}${remedy}`)
}

/** Runs a check and adds the value's place to its error. */
function named<T>(where: string, check: () => T): T {
  try {
    return check()
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new ConfigError(`${where}: ${message}`, { cause })
  }
}

interface Tree {
  [name: string]: unknown
}

function put(tree: Tree, key: string, value: unknown): void {
  const names = key.split('.')
  const last = names.pop() ?? ''
  let level = tree
  for (const name of names) {
    level[name] ??= {}
    level = level[name] as Tree
  }
  level[last] = value
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner)
    Object.freeze(value)
  }
  return value
}
