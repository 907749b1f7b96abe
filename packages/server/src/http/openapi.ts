/**
 * The OpenAPI document of the API, made from the routes that are served. Pure.
 *
 * Reference: OpenAPI 3.1.0, whose schemas are JSON Schema.
 */
import { problem } from './schemas.ts'
import type { JsonSchema, Route } from './route.ts'

/** Parameters of a path, in order. */
export function pathParameters(path: string): readonly string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
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
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: { Problem: problem },
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
          requestBody: { required: true, content: { 'application/json': { schema: route.body } } },
        }),
    responses: {
      ...Object.fromEntries(
        Object.entries({ [answer.status]: answer.description, ...answer.also }).map(
          ([status, description]) => [status, { description, ...contentOf(route) }],
        ),
      ),
      default: {
        description: errorText(route.errors ?? []),
        content: {
          'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
        },
      },
    },
  }
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
