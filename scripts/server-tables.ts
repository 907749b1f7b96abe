/**
 * Writes the tables of configuration.md, metrics.md and http-api.md in docs/reference/, and openapi.json there, from the
 * code of the server.
 *
 * Run after a change of either: `node --conditions=source scripts/server-tables.ts`, then `npm run format`. The tests
 * of the server compare the documents with the code.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  CONFIG_OPTIONS,
  flagName,
  HTTP_ERRORS,
  serverVersion,
  variableName,
} from '../packages/server/src/index.ts'
import type { NodeContext } from '../packages/server/src/http/context.ts'
import { openApi } from '../packages/server/src/http/openapi.ts'
import { allRoutes } from '../packages/server/src/http/routes.ts'
import { Metrics } from '../packages/server/src/metrics/metrics.ts'

const docs = join(import.meta.dirname, '../docs/reference')

function line(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  return [line(titles), line(titles.map(() => '---')), ...rows.map(line)].join('\n')
}

function replace(file: string, name: string, content: string): void {
  const path = join(docs, file)
  const text = readFileSync(path, 'utf8')
  const begin = `<!-- ${name}: made by scripts/server-tables.ts -->`
  const start = text.indexOf(begin)
  const end = text.indexOf('<!-- end -->', start)
  if (start < 0 || end < 0) throw new Error(`${file} has no place for ${name}`)
  writeFileSync(path, `${text.slice(0, start)}${begin}\n\n${content}\n\n${text.slice(end)}`)
}

const settings = CONFIG_OPTIONS.map(({ key, kind, fallback, summary }) => [
  `\`${key}\``,
  `\`--${flagName(key)}\``,
  `\`${variableName(key)}\``,
  `\`${kind.syntax}\`${kind.repeats ? ', many' : ''}`,
  Array.isArray(fallback) ? 'none' : `\`${String(fallback)}\``,
  summary,
])
replace(
  'configuration.md',
  'configuration',
  table(['Key', 'Flag', 'Variable', 'Value', 'Default', 'Meaning'], settings),
)

const text = await new Metrics('0').text()
const kinds = new Map(
  [...text.matchAll(/^# TYPE (\S+) (\S+)/gm)].map(([, name, kind]) => [name, kind]),
)
const metrics = [...text.matchAll(/^# HELP (sqlite_vector_\S+) (.+)$/gm)].map(
  ([, name = '', help = '']) => [`\`${name}\``, kinds.get(name) ?? '', help],
)
replace('metrics.md', 'metrics', table(['Metric', 'Kind', 'Meaning'], metrics))

// Routes are only looked at, never run: nothing of a node is needed.
const config = { http: { eventStreamsMax: 1 } }
const nobody = { config, db: {}, coordinator: {}, metrics: {} } as unknown as NodeContext
const routes = allRoutes(nobody, () => null)
const paths = routes.map(({ method, path, access, summary }) => [
  `\`${method} ${path}\``,
  access,
  summary,
])
replace('http-api.md', 'paths', table(['Path', 'Access', 'Does'], paths))

const errors = Object.entries(HTTP_ERRORS).map(([code, { status, retryable, hint }]) => [
  `\`${code}\``,
  String(status),
  retryable ? 'yes' : 'no',
  hint,
])
replace('http-api.md', 'errors', table(['Code', 'Status', 'Retryable', 'What to do'], errors))

writeFileSync(
  join(docs, 'openapi.json'),
  `${JSON.stringify(openApi(routes, serverVersion()), null, 2)}\n`,
)
