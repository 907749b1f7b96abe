/**
 * The options of the library's public types, read from its sources: name, type, default and meaning of each field.
 *
 * Not a parser of TypeScript: it relies on the formatter's layout, one field of an interface per two-space indent.
 * Used by the program that writes docs/reference/options.md and by the rule that checks it.
 */
import { exportedNames } from './documents.ts'
import type { Repository } from './repository.ts'
import type { Rule } from './rules.ts'

const LIBRARY = 'packages/sqlite-vector/src'
const DOORS = ['index', 'sync/index', 'transport/index', 'sealed/index', 'testing/index'] as const
const PAGE = 'docs/reference/options.md'
/** Types that a caller fills in, by their names. */
const TAKEN = /(?:Options|Config|Input|Update|Environment|Bounds)$|^(?:Embedder|ConflictValue)$/

export interface OptionField {
  readonly name: string
  readonly type: string
  /** As it is written; null when the field has none. */
  readonly fallback: string | null
  readonly isRequired: boolean
  readonly meaning: string
}

export interface OptionType {
  readonly name: string
  /** Import path after the package's name: '.', './sync', … */
  readonly door: string
  readonly summary: string
  /** Types whose fields it has as well. */
  readonly bases: readonly string[]
  readonly fields: readonly OptionField[]
}

/** Every public type of options, by door and name. */
export function optionTypes(repository: Repository): readonly OptionType[] {
  const seen = new Set<string>()
  return DOORS.flatMap((door) => {
    const names = [...new Set(exportedNames(repository, `${LIBRARY}/${door}.ts`))]
    const taken = names.filter((name) => TAKEN.test(name) && !seen.has(name)).toSorted()
    for (const name of taken) seen.add(name)
    const path = door === 'index' ? '.' : `./${door.replace('/index', '')}`
    return taken
      .map((name) => declared(repository, name, path))
      .filter(
        ({ fields, bases }) => fields.length > 0 || bases.some((base) => /Options/.test(base)),
      )
  })
}

/** Every option has a meaning, and one row in docs/reference/options.md that shows its default; no other page tables it. */
export const optionRows: Rule = (repository) => {
  const types = optionTypes(repository)
  const page = repository.files.get(PAGE) ?? ''
  return [
    ...types.flatMap((type) => complaintsAbout(type, page)),
    ...tablesElsewhere(repository, types),
  ]
}

function complaintsAbout({ name, fields }: OptionType, page: string): readonly string[] {
  const start = page.indexOf(`\n### ${name}\n`)
  if (start === -1) return [`${PAGE}: no section for ${name}; run scripts/options-table.ts`]
  const end = page.indexOf('\n##', start + 1)
  const section = page.slice(start, end === -1 ? undefined : end)
  const rows = [...section.matchAll(/^\| `(\w+)` +\|(?:\\\||[^|])*\| ((?:\\\||[^|])*?) *\|/gm)]
  const shown = new Map(rows.map(([, field = '', fallback = '']) => [field, fallback]))
  return [
    ...fields.flatMap((field) => {
      const wanted = defaultCell(field)
      const missing =
        shown.get(field.name) === wanted
          ? []
          : [
              `${PAGE}: ${name}.${field.name} has no row with the default ${wanted}; run scripts/options-table.ts`,
            ]
      return field.meaning === '' ? [`${name}.${field.name} has no comment`, ...missing] : missing
    }),
    ...[...shown.keys()]
      .filter((row) => !fields.some((field) => field.name === row))
      .map((row) => `${PAGE}: ${name} has no field ${row}; run scripts/options-table.ts`),
  ]
}

/** Pages that table a type's options a second time. */
function tablesElsewhere(repository: Repository, types: readonly OptionType[]): readonly string[] {
  const names = types.filter(({ fields }) => fields.length > 0).map(({ name }) => name)
  return [...repository.files].flatMap(([path, text]) => {
    if (path === PAGE || !path.startsWith('docs/')) return []
    const heads = [...text.matchAll(/^\| `(\w+)` [^\n]*\n\| -/gm)].map(([, head = '']) => head)
    return heads
      .filter((head) => names.includes(head))
      .map((head) => `${path}: tables ${head}, which ${PAGE} does`)
  })
}

/** The default as the page shows it. */
export function defaultCell({ isRequired, fallback }: OptionField): string {
  return (isRequired ? 'required' : (fallback ?? 'none')).replaceAll('|', '\\|')
}

function declared(repository: Repository, name: string, door: string): OptionType {
  const before = String.raw`(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?export `
  const asInterface = new RegExp(
    String.raw`${before}interface ${name}(?:<[^>{]*>)?(?: extends ([^{]+?))? \{\n([\s\S]*?)^\}`,
    'm',
  )
  const asAlias = new RegExp(`${before}type ${name}(?:<[^=]*>)? = ([^\\n]+)`, 'm')
  for (const [path, text] of repository.files) {
    if (!path.startsWith(`${LIBRARY}/`)) continue
    const found = asInterface.exec(text)
    if (found !== null) {
      const [, comment = '', bases = '', body = ''] = found
      return {
        name,
        door,
        summary: prose(comment),
        // Without type parameters: a base is found by its name.
        bases: bases === '' ? [] : bases.split(',').map((base) => base.replace(/<.*>/, '').trim()),
        fields: fieldsOf(body),
      }
    }
    const alias = asAlias.exec(text)
    if (alias !== null) {
      const [, comment = '', of = ''] = alias
      return { name, door, summary: prose(comment), bases: [of], fields: [] }
    }
  }
  throw new Error(`no declaration of ${name} found`)
}

function fieldsOf(body: string): readonly OptionField[] {
  const pattern =
    /(?:^ {2}\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?^ {2}(?:readonly )?(\w+)(\?)?(?:: |(?=\())((?:(?!^ {2}(?:\S|\/\*))[\s\S])*)/gm
  return [...body.matchAll(pattern)].map(
    ([, comment = '', name = '', optional, type = '']): OptionField => {
      const fallback = /@defaultValue ([\s\S]*)$/.exec(prose(comment))?.[1] ?? null
      return {
        name,
        type: type.replaceAll(/\s+/g, ' ').replaceAll('readonly ', '').replaceAll('<M>', '').trim(),
        fallback,
        isRequired: optional === undefined,
        meaning: prose(comment).replace(/ ?@defaultValue [\s\S]*$/, ''),
      }
    },
  )
}

/** A comment as one line of Markdown. */
function prose(comment: string): string {
  return comment
    .replaceAll(/\n\s*\* ?/g, ' ')
    .replaceAll(/\{@link ([^}]+)\}/g, '`$1`')
    .replaceAll(/\s+/g, ' ')
    .trim()
}
