/**
 * docs/reference/configuration.md and http-api.md say what the code does: settings, codes, paths.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { expect, test } from 'vitest'
import { CONFIG_OPTIONS, flagName, HTTP_ERRORS, variableName } from '../../src/index.ts'
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

test('every schema of the API can be compiled, and refuses what is no object', async () => {
  const text = readFileSync(join(docs, 'openapi.json'), 'utf8')
  const { paths } = JSON.parse(text) as {
    paths: Record<
      string,
      Record<string, { requestBody?: { content: Record<string, { schema: object }> } }>
    >
  }
  const ajv = new Ajv({ strict: false })
  const bodies = Object.values(paths)
    .flatMap((methods) => Object.values(methods))
    .flatMap(({ requestBody }) => Object.values(requestBody?.content ?? {}))

  expect(bodies.length).toBeGreaterThan(15)
  for (const { schema } of bodies) expect(ajv.compile(schema)('no object')).toBe(false)
})
