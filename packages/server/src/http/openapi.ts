/**
 * The OpenAPI document of the API, made from the routes that are served. Pure.
 *
 * Reference: OpenAPI 3.1.0, whose schemas are JSON Schema.
 */
import { exampleOf } from './example.ts'
import * as schemas from './schemas.ts'
import type { JsonSchema, Route } from './route.ts'

/** Parameters of a path, in order. */
export function pathParameters(path: string): readonly string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
}

const TAGS: Readonly<Record<string, string>> = {
  health: 'Liveness, readiness, metrics and this document.',
  shards: 'Named sets of records with one dimension and metric.',
  records: 'Write, read, list and count records.',
  search: 'Search by vector, by text, by both, or by filter.',
  conflicts: 'Records with concurrent writes.',
  quarantine: 'Changes from peers that could not be applied.',
  node: 'The node itself.',
  peers: 'The peers of the node.',
  sync: 'Replication with peers.',
  snapshots: 'Copies of the database.',
  events: 'Streams of server-sent events.',
  admin: 'Administration, for keys that may write everything.',
}

/** Schemas with a name in the document; used elsewhere they become references. */
const NAMED: readonly (readonly [string, JsonSchema])[] = [
  ['Problem', schemas.problem],
  ['Record', schemas.record],
  ['RecordInput', schemas.recordInput],
  ['ShardState', schemas.shardState],
  ['Vector', schemas.vector],
  ['Filter', schemas.filter],
  ['VersionVector', schemas.versionVector],
  ['Dot', schemas.dot],
]

const NAMES = new Map(NAMED.map(([name, schema]) => [schema as unknown, name]))

/** Replaces named schemas by references to them. */
function named(value: unknown): unknown {
  const name = NAMES.get(value)
  return name === undefined ? namedInside(value) : { $ref: `#/components/schemas/${name}` }
}

function namedInside(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(named)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, named(inner)]))
}

/** The document as a plain object. */
export function openApi(routes: readonly Route[], version: string): JsonSchema {
  const paths: Record<string, Record<string, JsonSchema>> = {}
  for (const route of routes) {
    const methods = (paths[route.path] ??= {})
    methods[route.method.toLowerCase()] = operation(route)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'SQLiteVector node',
      version,
      description:
        'Records, searches, sync and upkeep of one node. See docs/reference/http-api.md.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'This node.' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({
      name,
      description: TAGS[name] ?? name,
    })),
    paths: named(paths),
    components: {
      schemas: Object.fromEntries(NAMED.map(([name, schema]) => [name, namedInside(schema)])),
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', description: 'A key of http.apiKeys.' },
      },
    },
  }
}

function operation(route: Route): JsonSchema {
  const { id, tag, summary, access, answer } = route
  return {
    operationId: id,
    tags: [tag],
    summary,
    security: access === 'open' ? [] : [{ key: [] }],
    'x-access': access,
    ...parametersOf(route),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: ((route.body['required'] ?? []) as readonly string[]).length > 0,
            content: {
              'application/json': { schema: route.body, example: exampleOf(route.body) },
            },
          },
        }),
    responses: {
      ...Object.fromEntries(
        Object.entries({ [answer.status]: answer.description, ...answer.also }).map(
          ([status, description]) => [status, { description, ...contentOf(route) }],
        ),
      ),
      ...refusalsOf(route),
      default: { description: errorText(route.errors ?? []), content: PROBLEM },
    },
  }
}

const PROBLEM = {
  'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
}

/** The refusals that every caller has to expect. */
function refusalsOf({ access, path, body }: Route): JsonSchema {
  const refusals: Record<string, string> = { 400: 'The request is malformed.' }
  if (access !== 'open') {
    refusals['401'] = 'The API key is missing or unknown.'
    refusals['403'] = 'The API key does not permit this, or the request comes from another origin.'
    refusals['429'] = 'Too many requests in this minute.'
  }
  if (path.includes('{')) refusals['404'] = 'A name in the path is unknown.'
  if (body !== undefined) {
    refusals['413'] = 'The body is too large.'
    refusals['415'] = 'The body is not JSON, or is compressed.'
  }
  return Object.fromEntries(
    Object.entries(refusals).map(([status, description]) => [
      status,
      { description, content: PROBLEM },
    ]),
  )
}

function parametersOf({ path, query, method, answer }: Route): JsonSchema {
  const inPath = pathParameters(path).map((name) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
  const { properties = {}, required = [] } = (query ?? {}) as {
    properties?: Record<string, JsonSchema>
    required?: readonly string[]
  }
  const inQuery = Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }))
  const resume =
    method === 'GET' && answer.type === 'text/event-stream'
      ? [{ name: 'Last-Event-ID', in: 'header', required: false, schema: { type: 'string' } }]
      : []
  const parameters = [...inPath, ...inQuery, ...resume]
  return parameters.length === 0 ? {} : { parameters }
}

function contentOf({ answer }: Route): JsonSchema {
  const { type = 'application/json', schema, status } = answer
  if (status === 204) return {}
  return { content: { [type]: { schema: schema ?? { type: 'string' } } } }
}

function errorText(codes: readonly string[]): string {
  return codes.length === 0 ? 'An error.' : `An error, such as ${codes.join(', ')}.`
}
