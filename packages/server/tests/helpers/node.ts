/**
 * A node in this process with real HTTP and real UDP on free ports, and clients that hold every answer against the
 * OpenAPI document that the node itself gives.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { resolveConfig, startNode, type RunningNode } from '../../src/index.ts'

export const WRITER = 'writer-key-of-the-tests-1'
export const READER = 'reader-key-of-the-tests-1'

/** Flags of a node on free ports in `folder`, with a key that may write and one that may read. */
export function flagsOf(folder: string, nodeId = 'node'): Record<string, string | string[]> {
  return {
    database: join(folder, `${nodeId}.db`),
    'node-id': nodeId,
    'http-listen': '127.0.0.1:0',
    'sync-listen': '127.0.0.1:0',
    'snapshots-folder': join(folder, 'snapshots'),
    'http-api-keys': [`writer:read-write:${WRITER}`, `reader:read-only:${READER}`],
  }
}

export interface TestNode extends AsyncDisposable {
  readonly node: RunningNode
  readonly folder: string
  /** As the bearer of the key that may write. */
  readonly api: Client
}

/** Starts a node; `flags` are put over those of {@link flagsOf}. */
export async function testNode(
  flags: Readonly<Record<string, string | readonly string[] | undefined>> = {},
  nodeId = 'node',
): Promise<TestNode> {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-server-'))
  try {
    const { config } = resolveConfig({ flags: { ...flagsOf(folder, nodeId), ...flags } })
    const node = await startNode(config)
    return {
      node,
      folder,
      api: new Client(node.url, WRITER),
      async [Symbol.asyncDispose]() {
        await node.close()
        rmSync(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

export interface Answered {
  readonly status: number
  readonly type: string | null
  readonly headers: Headers
  // Checked against the document of the API; each test says what it expects of it.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any
}

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>
}

type Content = Readonly<Record<string, { readonly schema: object }>>

type Init = Omit<RequestInit, 'headers'> & { readonly headers?: Readonly<Record<string, string>> }

/** Calls a node; an answer that the node's own OpenAPI document does not describe is an error. */
export class Client {
  readonly url: string
  readonly #key: string | null
  #described: Promise<Described> | null = null

  constructor(url: string, key: string | null) {
    this.url = url
    this.#key = key
  }

  /** The same node with another key. */
  as(key: string | null): Client {
    return new Client(this.url, key)
  }

  get(path: string): Promise<Answered> {
    return this.call('GET', path)
  }

  post(path: string, body: unknown): Promise<Answered> {
    return this.call('POST', path, body)
  }

  put(path: string, body: unknown): Promise<Answered> {
    return this.call('PUT', path, body)
  }

  delete(path: string): Promise<Answered> {
    return this.call('DELETE', path)
  }

  async call(method: string, path: string, body?: unknown): Promise<Answered> {
    const response = await this.raw(path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const { status, headers } = response
    const type = headers.get('content-type')
    const isJson = type !== null && /json/.test(type)
    const answered = { status, type, headers, body: isJson ? JSON.parse(text) : text }
    this.#described ??= describedBy(this.url)
    ;(await this.#described).check(method, path, answered)
    return answered
  }

  /** Without a check of the answer. */
  raw(path: string, init: Init = {}): Promise<Response> {
    return fetch(this.url + path, {
      ...init,
      headers: {
        ...(init.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.#key === null ? {} : { authorization: `Bearer ${this.#key}` }),
        ...init.headers,
      },
    })
  }
}

class Described {
  readonly #ajv = new Ajv({ strict: false, allErrors: true })
  readonly #paths: readonly (readonly [RegExp, Readonly<Record<string, Operation>>])[]

  constructor(document: { paths: Record<string, Record<string, Operation>>; components: object }) {
    this.#ajv.addSchema({ $id: 'api', components: document.components })
    this.#paths = Object.entries(document.paths).map(([path, methods]) => [
      new RegExp(`^${path.replaceAll(/[.]/g, '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
      methods,
    ])
  }

  check(method: string, path: string, { status, type, body }: Answered): void {
    const [bare = ''] = path.split('?')
    const found = this.#paths.find(
      ([pattern, methods]) => pattern.test(bare) && method.toLowerCase() in methods,
    )
    const responses = found?.[1][method.toLowerCase()]?.responses
    const usual = responses?.[status]
    const expected = usual ?? { content: { 'application/problem+json': { schema: PROBLEM } } }
    const [media = ''] = (type ?? '').split(';')
    if (usual !== undefined && usual.content === undefined) {
      if (body !== '') throw new Error(`${method} ${path}: a body where none is described`)
      return
    }
    const schema = expected.content?.[media]?.schema
    if (schema === undefined)
      throw new Error(`${method} ${path}: ${status} ${media} is not described`)
    if (media === 'text/plain') return
    const validate = this.#ajv.compile(
      JSON.parse(JSON.stringify(schema).replaceAll('"#/components', '"api#/components')) as object,
    )
    if (validate(body)) return
    throw new Error(
      `${method} ${path}: ${JSON.stringify(validate.errors?.[0])} in ${JSON.stringify(body).slice(0, 500)}`,
    )
  }
}

const PROBLEM = { $ref: '#/components/schemas/Problem' }

async function describedBy(url: string): Promise<Described> {
  const response = await fetch(`${url}/openapi.json`)
  return new Described((await response.json()) as ConstructorParameters<typeof Described>[0])
}
