/**
 * The configuration: where values come from, what is refused and in which words, what is shown.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  CONFIG_OPTIONS,
  ConfigError,
  describeConfig,
  flagName,
  hashApiKey,
  resolveConfig,
  variableName,
} from '../../src/index.ts'

const KEY = 'a-key-that-nobody-guesses'
const ALL = { shards: null, operations: null, requestsPerMinuteMax: null }

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-config-'))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0

function file(content: string): string {
  const path = join(folder, `${(files += 1)}.yaml`)
  writeFileSync(path, content)
  return path
}

/** What refusing says. */
function refusal(...sources: Parameters<typeof resolveConfig>): string {
  try {
    resolveConfig(...sources)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message
  }
  throw new Error('it was not refused')
}

describe('sources', () => {
  test('without any source everything has its default, on loopback', () => {
    const { config, origins } = resolveConfig()

    expect(config.http.listen).toBe('127.0.0.1:8080')
    expect(config.sync.listen).toBe('127.0.0.1:4433')
    expect(config.sync.topology).toEqual({ type: 'mesh' })
    expect(config.snapshots.folder).toBeNull()
    expect(new Set(Object.values(origins))).toEqual(new Set(['default']))
    expect(Object.keys(origins)).toEqual(CONFIG_OPTIONS.map(({ key }) => key))
  })

  test('a flag wins over the environment, that over the file, that over the default', () => {
    const path = file('nodeId: file\nbusyTimeoutMs: 1\nsync:\n  batchSize: 1\n')

    const { config, origins } = resolveConfig({
      file: path,
      env: { SQLITE_VECTOR_NODE_ID: 'env', SQLITE_VECTOR_BUSY_TIMEOUT_MS: '2', PATH: '/bin' },
      flags: { 'node-id': 'flag' },
    })

    expect([config.nodeId, config.busyTimeoutMs, config.sync.batchSize]).toEqual(['flag', 2, 1])
    expect([origins['nodeId'], origins['busyTimeoutMs'], origins['sync.batchSize']]).toEqual([
      'flag',
      'environment',
      'file',
    ])
  })

  test('a file may be JSON', () => {
    const path = file(JSON.stringify({ http: { listen: '[::1]:80' }, peers: [] }))

    expect(resolveConfig({ file: path }).config.http.listen).toBe('[::1]:80')
  })

  test('lists are written alike in a file, a variable and flags', () => {
    const path = file(
      'peers:\n  - { nodeId: b, address: "b:1", shards: [x, y] }\n  - { nodeId: c, address: "c:2" }\n',
    )

    const fromFile = resolveConfig({ file: path }).config.peers
    const fromEnv = resolveConfig({ env: { SQLITE_VECTOR_PEERS: 'b=b:1/x/y, c=c:2' } }).config.peers
    const fromFlags = resolveConfig({ flags: { peers: ['b=b:1/x/y', 'c=c:2'] } }).config.peers

    expect(fromFile).toEqual([
      { nodeId: 'b', address: 'b:1', shards: ['x', 'y'] },
      { nodeId: 'c', address: 'c:2', shards: null },
    ])
    expect(fromEnv).toEqual(fromFile)
    expect(fromFlags).toEqual(fromFile)
  })

  test('shards and topologies can be written as text', () => {
    const { config } = resolveConfig({
      flags: {
        shards: ['a:b:3', 'notes:384:dot'],
        'sync-topology': 'star:hub',
        'sync-listen': 'off',
      },
    })

    expect(config.shards).toMatchObject([
      { shardId: 'a:b', dimension: 3, metric: 'cosine' },
      { shardId: 'notes', dimension: 384, metric: 'dot' },
    ])
    expect(config.sync.topology).toEqual({ type: 'star', hub: 'hub' })
    expect(config.sync.listen).toBeNull()
  })

  test('every setting has a flag and a variable of its own', () => {
    const keys = CONFIG_OPTIONS.map(({ key }) => key)

    expect(new Set(keys.map(flagName)).size).toBe(keys.length)
    expect(flagName('http.bodyBytesMax')).toBe('http-body-bytes-max')
    expect(variableName('http.bodyBytesMax')).toBe('SQLITE_VECTOR_HTTP_BODY_BYTES_MAX')
  })

  test('an effective configuration is frozen', () => {
    expect(Object.isFrozen(resolveConfig().config.http)).toBe(true)
  })
})

describe('refusals', () => {
  test('unknown settings are refused with the nearest name, wherever they stand', () => {
    const path = file('http:\n  lisen: "127.0.0.1:1"\n')

    expect(refusal({ file: path })).toBe(
      `${path}: unknown setting http.lisen; did you mean http.listen?`,
    )
    expect(refusal({ env: { SQLITE_VECTOR_NODEID: 'x' } })).toContain('SQLITE_VECTOR_NODE_ID?')
    expect(refusal({ flags: { 'http-listn': 'x' } })).toContain('did you mean http-listen?')
  })

  test('variables of the command are not settings of a node', () => {
    const env = { SQLITE_VECTOR_URL: 'http://x', SQLITE_VECTOR_API_KEY: KEY }

    expect(resolveConfig({ env }).config.nodeId).toBe('node')
  })

  test.each([
    ['a number that is none', { flags: { 'sync-batch-size': 'many' } }, '--sync-batch-size'],
    ['a number beyond its range', { flags: { 'sync-batch-size': '0' } }, 'from 1 to 4096'],
    ['a choice that there is not', { flags: { durability: 'half' } }, 'full, normal'],
    ['an address without port', { flags: { 'http-listen': 'localhost' } }, 'host:port'],
    ['a flag twice', { flags: { 'node-id': ['a', 'b'] } }, 'may be given once'],
    ['a peer twice', { flags: { peers: ['a=x:1', 'a=y:1'] } }, 'is given twice'],
    ['a peer that is this node', { flags: { peers: ['node=x:1'] } }, 'is the name of this node'],
    ['a shard without dimension', { flags: { shards: ['notes'] } }, 'SHARD:DIMENSION'],
    ['a metric that there is not', { flags: { shards: ['notes:3:l3'] } }, 'cosine, l2, dot'],
  ])('%s', (_what, sources, words) => {
    expect(refusal(sources)).toContain(words)
  })

  test('a file that is missing, damaged, or no group of settings', () => {
    expect(refusal({ file: join(folder, 'none.yaml') })).toContain('cannot read')
    expect(refusal({ file: file('nodeId: [') })).toMatch(/\.yaml:\d+:\d+: /)
    expect(refusal({ file: file('- a\n- b\n') })).toContain('must be a group')
    expect(refusal({ file: file('http: 8080\n') })).toContain('http must be a group')
    expect(refusal({ file: file('nodeId: a\nnodeId: b\n') })).toContain('unique')
  })

  test('listening beyond loopback needs API keys', () => {
    const flags = { 'http-listen': '0.0.0.0:8080' }

    expect(refusal({ flags })).toContain('set http.apiKeys')
    expect(
      resolveConfig({ flags: { ...flags, 'http-api-keys': [`a:read-only:${KEY}`] } }).config.http,
    ).toMatchObject({ listen: '0.0.0.0:8080' })
  })
})

describe('keys of the API', () => {
  test('only their hashes are kept, and a hash may be given instead', () => {
    const path = file(
      `http:\n  apiKeys:\n    - { name: a, access: read-write, key: ${KEY} }\n` +
        `    - { name: b, access: read-only, sha256: ${hashApiKey('x')} }\n`,
    )

    const { apiKeys } = resolveConfig({ file: path }).config.http

    expect(apiKeys).toEqual([
      { name: 'a', access: 'read-write', sha256: hashApiKey(KEY), ...ALL },
      { name: 'b', access: 'read-only', sha256: hashApiKey('x'), ...ALL },
    ])
  })

  test('no description and no error shows a key or its hash', () => {
    const flags = { 'http-api-keys': [`a:read-only:${KEY}`] }
    const wrong = [
      file(`http: { apiKeys: [${KEY}] }`),
      file(`http: { apiKeys: [ { name: a, access: none, key: ${KEY} } ] }`),
      file(`http: { apiKeys: [ { name: a, access: read-only, sha256: ${KEY} } ] }`),
      file(`http:\n  apiKeys: [ { name: a, key: ${KEY}\n`),
    ]

    const shown = JSON.stringify(describeConfig(resolveConfig({ flags })))
    const said = wrong.map((path) => refusal({ file: path }))
    said.push(refusal({ flags: { 'http-api-keys': [KEY] } }))

    expect(shown).toContain('<hidden>')
    for (const text of [shown, ...said]) {
      expect(text).not.toContain(KEY)
      expect(text).not.toContain(hashApiKey(KEY))
    }
  })

  test('a short key is refused', () => {
    expect(refusal({ flags: { 'http-api-keys': ['a:read-only:short'] } })).toContain(
      '16 characters',
    )
  })
})

test('a key that stands where a list or an object belongs is refused without being shown', () => {
  const shapes = [
    `http:\n  apiKeys: ${KEY}`,
    `http:\n  apiKeys: [${KEY}]`,
    `http:\n  apiKeys: [{ ${KEY}: read-only }]`,
    `http:\n  apiKeys: [{ name: a, access: ${KEY} }]`,
    `http:\n  apiKeys: { ${KEY}: read-only }`,
    `http:\n  apiKeys: [{ name: a, access: read-only, key: [${KEY}] }]`,
  ]

  const refusals = shapes.map((shape) => refusal({ file: file(shape) }))

  for (const text of refusals) {
    expect(text).toContain('http.apiKeys')
    expect(text).not.toContain(KEY)
  }
})
