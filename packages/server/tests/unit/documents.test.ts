/**
 * docs/reference/configuration.md and http-api.md say what the code does: settings, codes, paths.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { ERRORS, SqliteVectorError, type ErrorCode } from '@agentic-flow/sqlite-vector/errors'
import { expect, test } from 'vitest'
import { CONFIG_OPTIONS, flagName, HTTP_ERRORS, variableName } from '../../src/index.ts'
import { problemOf } from '../../src/http/problem.ts'
import { testNode } from '../helpers/node.ts'

const docs = join(import.meta.dirname, '../../../../docs/reference')

/** Rows of the tables of a page whose first cell is code that matches, as their cells. */
function rows(file: string, first: RegExp): readonly (readonly string[])[] {
  return readFileSync(join(docs, file), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim())
        .slice(1, -1),
    )
    .filter(([cell = '']) => first.test(cell))
}

test('every setting has its row with flag, variable and default, and no other', () => {
  const listed = rows('configuration.md', /^`[a-z][\w.]*`$/).filter(([, flag = '']) =>
    flag.startsWith('`--'),
  )

  expect(listed.map((cells) => cells.slice(0, 3).concat(cells[4] ?? ''))).toEqual(
    CONFIG_OPTIONS.map(({ key, fallback }) => [
      `\`${key}\``,
      `\`--${flagName(key)}\``,
      `\`${variableName(key)}\``,
      Array.isArray(fallback) ? 'none' : `\`${String(fallback)}\``,
    ]),
  )
})

test('every code of the API has its row with status and whether to try again', () => {
  expect(rows('http-api.md', /^`HTTP_/).map((cells) => cells.slice(0, 3))).toEqual(
    Object.entries(HTTP_ERRORS).map(([code, { status, retryable }]) => [
      `\`${code}\``,
      String(status),
      retryable ? 'yes' : 'no',
    ]),
  )
})

test('every code of the API is provoked by a test', () => {
  const folder = join(import.meta.dirname, '..')
  const texts = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts') && !file.endsWith('documents.test.ts'))
    .map((file) => readFileSync(join(folder, file), 'utf8'))

  expect(
    Object.keys(HTTP_ERRORS).filter((code) => !texts.some((text) => text.includes(code))),
  ).toEqual([])
})

test('every path has its row, operation ids are unique, and docs/reference/openapi.json is what is served', async () => {
  await using fixture = await testNode()
  const { body } = await fixture.api.get('/openapi.json')
  const document = body as {
    paths: Record<string, Record<string, { operationId: string; 'x-access': string }>>
  }
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, path, method })),
  )

  const ids = operations.map(({ operationId }) => operationId)
  expect(new Set(ids).size).toBe(ids.length)
  const listed = rows('http-api.md', /^`(GET|PUT|POST|PATCH|DELETE) \//)
  const served = operations.map(
    ({ method, path, 'x-access': access }) => `\`${method.toUpperCase()} ${path}\` ${access}`,
  )
  expect(listed).toHaveLength(served.length)
  expect(new Set(listed.map((cells) => cells.slice(0, 2).join(' ')))).toEqual(new Set(served))
  const file = JSON.parse(readFileSync(join(docs, 'openapi.json'), 'utf8')) as unknown
  expect(file).toEqual(document)
})

interface Operation {
  readonly operationId: string
  readonly summary?: string
  readonly tags?: readonly string[]
  readonly 'x-access': string
  readonly responses: Readonly<Record<string, { readonly description?: string }>>
  readonly requestBody?: {
    readonly content: Readonly<
      Record<string, { readonly schema: object; readonly example?: unknown }>
    >
  }
}

interface Api {
  readonly openapi: string
  readonly servers: readonly { readonly url: string }[]
  readonly tags: readonly { readonly name: string; readonly description?: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

const api = JSON.parse(readFileSync(join(docs, 'openapi.json'), 'utf8')) as Api
const operationsOfApi = Object.values(api.paths).flatMap((methods) => Object.values(methods))

/** A schema of the document with its references. */
function compiled(schema: object) {
  const ajv = new Ajv({ strict: false })
  ajv.addSchema({ $id: 'api', components: api.components })
  const text = JSON.stringify(schema).replaceAll('"#/components', '"api#/components')
  return ajv.compile(JSON.parse(text) as object)
}

test('every schema of the API can be compiled, refuses what is not an object, and takes its example', () => {
  const bodies = operationsOfApi.flatMap(({ requestBody }) =>
    Object.values(requestBody?.content ?? {}),
  )

  expect(bodies.length).toBeGreaterThan(15)
  for (const { schema, example } of bodies) {
    const check = compiled(schema)
    expect(check('no object')).toBe(false)
    expect(check(example), JSON.stringify([example, check.errors])).toBe(true)
  }
})

test('the OpenAPI document passes its lint: servers, tags, ids, summaries, refusals, references', () => {
  const text = JSON.stringify(api)
  const references = [...text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(
    ([, name]) => name ?? '',
  )
  const known = new Set(api.tags.map(({ name }) => name))

  expect(api.openapi).toMatch(/^3\.1\./)
  expect(api.servers.map(({ url }) => url)).toEqual(['/'])
  expect(api.tags.filter(({ name, description }) => (description ?? name) === name)).toEqual([])
  for (const name of references) expect(api.components.schemas).toHaveProperty(name)
  for (const name of Object.keys(api.components.schemas)) expect(references).toContain(name)
  for (const operation of operationsOfApi) {
    const { operationId, summary = '', tags = [], responses } = operation
    expect(operationId).toMatch(/^[a-z][A-Za-z]+$/)
    expect(summary, operationId).toMatch(/^[A-Z].+[.]$/)
    expect(tags.filter((tag) => !known.has(tag))).toEqual([])
    const statuses = Object.keys(responses)
    expect(statuses).toContain('400')
    if (operation['x-access'] !== 'open')
      expect(statuses).toEqual(expect.arrayContaining(['401', '403', '429']))
    for (const { description = '' } of Object.values(responses)) expect(description).not.toBe('')
  }
})

test('no hint of an error over HTTP names a function of the library', () => {
  const hints = (Object.keys(ERRORS) as ErrorCode[]).map(
    (code) => problemOf(new SqliteVectorError(code, 'x')).title,
  )

  expect(hints.filter((hint) => /\w\(\)/.test(hint))).toEqual([])
})
