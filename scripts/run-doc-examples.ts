/**
 * Compiles and runs every TypeScript fence of the README and of docs/, so that documents stay true.
 *
 * A fence is a module of its own. ` ```ts no-run ` is compiled only: for what needs something that a
 * document cannot have, such as a second machine. ` ```ts more ` continues the fence before it. A ` ```text output `
 * fence right after a ts fence is what that must print. Pages with ` ```sh story ` blocks are run by doc-story.ts.
 * Failures name the document and the line. Arguments are the pages to check; without any, all are.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runStory, stepsOf, type Step } from './doc-story.ts'
import { runModuleAgain } from './run-module.ts'

interface Fence {
  readonly document: string
  /** Line of the first line of code, from 1. */
  readonly line: number
  readonly code: string
  readonly run: boolean
  readonly output: string | null
}

const root = join(import.meta.dirname, '..')
// Inside the repository, so that its packages resolve; not inside node_modules, where Node runs no
// TypeScript.
const folder = join(root, '.cache', 'doc-examples')

function documents(): readonly string[] {
  const found = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
  const pages = [
    'README.md',
    ...found.filter((name) => name.endsWith('.md')).map((name) => join('docs', name)),
  ]
  const wanted = process.argv.slice(2)
  return wanted.length === 0 ? pages : pages.filter((page) => wanted.includes(page))
}

function fencesOf(document: string): readonly Fence[] {
  const text = readFileSync(join(root, document), 'utf8')
  const pattern =
    /^```ts( no-run| more)?\n([\s\S]*?)^```\n(?:\s*^```text output\n([\s\S]*?)^```)?/gm
  const fences: Fence[] = []
  for (const match of text.matchAll(pattern)) {
    const [, kind, code = '', output] = match
    const line = text.slice(0, match.index).split('\n').length + 1
    const before = fences.at(-1)
    if (kind !== ' more') {
      fences.push({ document, line, code, run: kind === undefined, output: output ?? null })
    } else if (before === undefined) {
      throw new Error(`${document}:${line}: continues no fence`)
    } else {
      // Blank lines stand for the page between the two, so that complaints name its lines.
      const gap = '\n'.repeat(line - before.line - before.code.split('\n').length + 1)
      const all = `${before.output ?? ''}${output ?? ''}`
      fences.push({
        ...before,
        code: `${before.code}${gap}${code}`,
        output: all === '' ? null : all,
      })
    }
  }
  return fences
}

interface Story {
  readonly document: string
  readonly steps: readonly Step[]
  /** A folder inside the repository, so that packages resolve. */
  readonly folder: string
}

/** Pages that tell a story; their programs are laid out for the compiler in a folder of their own. */
function stories(): readonly Story[] {
  return documents().flatMap((document) => {
    const steps = stepsOf(readFileSync(join(root, document), 'utf8'))
    if (steps.length === 0) return []
    const story = join(folder, document.replaceAll(/\W+/g, '-'))
    mkdirSync(join(story, 'programs'), { recursive: true })
    for (const step of steps) {
      if (step.kind === 'program') writeFileSync(join(story, 'programs', step.name), step.code)
    }
    return [{ document, steps, folder: story }]
  })
}

/** Compiler complaints, in terms of the documents. */
function typeErrors(fences: readonly Fence[]): readonly string[] {
  const config = {
    extends: '../../tsconfig.tests.json',
    compilerOptions: { incremental: false, tsBuildInfoFile: null, noUnusedLocals: false },
    include: ['*.ts', '*/programs/*.ts'],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const tsc = join(root, 'node_modules', '.bin', process.platform === 'win32' ? 'tsc.cmd' : 'tsc')
  const ended = spawnSync(tsc, ['-p', folder, '--pretty', 'false'], {
    cwd: folder,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  })
  if (ended.error !== undefined) throw ended.error
  if (ended.status === 0) return []
  return ended.stdout
    .trim()
    .split('\n')
    .map((complaint) =>
      complaint.replace(/^(\d+)\.ts\((\d+),\d+\)/, (_, index: string, line: string) => {
        const fence = fences[Number(index)]
        return fence === undefined ? index : `${fence.document}:${fence.line + Number(line) - 1}`
      }),
    )
}

function complaintsAbout(fence: Fence, index: number): readonly string[] {
  const runs = runModuleAgain(join(folder, `${index}.ts`), 2)
  return runs.flatMap((ended, run) => {
    const where = `${fence.document}:${fence.line}${run === 0 ? '' : ' (second run)'}`
    if (!ended.ok) return [`${where}: failed\n${ended.stdout}${ended.complaint}`]
    if (fence.output === null || fence.output === ended.stdout) return []
    return [`${where}: printed\n${ended.stdout}and not\n${fence.output}`]
  })
}

rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
const fences = documents().flatMap(fencesOf)
for (const [index, fence] of fences.entries()) {
  // `export {}` makes a module of a fence that imports nothing; at the end, so that lines stay.
  writeFileSync(join(folder, `${index}.ts`), `${fence.code}\nexport {}\n`)
}
const told = stories()
const complaints = [...typeErrors(fences)]
let ran = 0
for (const [index, fence] of fences.entries()) {
  if (!fence.run) continue
  ran += 1
  complaints.push(...complaintsAbout(fence, index))
}
for (const { document, steps, folder: story } of told) {
  complaints.push(...(await runStory(document, steps, story)))
}
for (const complaint of complaints) process.stderr.write(`${complaint}\n`)
process.stdout.write(
  `doc examples: ${fences.length} compiled, ${ran} run, ${told.length} stories told, ` +
    `${complaints.length} complaints\n`,
)
process.exitCode = complaints.length === 0 && fences.length + told.length > 0 ? 0 : 1
