/**
 * Compiles and runs every TypeScript fence of the README and of docs/, so that documents stay true.
 *
 * A fence is a module of its own. ` ```ts no-run ` is compiled only: for what needs something that a
 * document cannot have, such as a second machine. A ` ```text output ` fence right after a ts fence
 * is what that must print. Failures name the document and the line.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runModule } from './run-module.ts'

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
  return [
    'README.md',
    ...found.filter((name) => name.endsWith('.md')).map((name) => join('docs', name)),
  ]
}

function fencesOf(document: string): readonly Fence[] {
  const text = readFileSync(join(root, document), 'utf8')
  const pattern = /^```ts( no-run)?\n([\s\S]*?)^```\n(?:\s*^```text output\n([\s\S]*?)^```)?/gm
  return [...text.matchAll(pattern)].map((match) => ({
    document,
    line: text.slice(0, match.index).split('\n').length + 1,
    code: match[2] ?? '',
    run: match[1] === undefined,
    output: match[3] ?? null,
  }))
}

/** Compiler complaints, in terms of the documents. */
function typeErrors(fences: readonly Fence[]): readonly string[] {
  const config = {
    extends: '../../tsconfig.tests.json',
    compilerOptions: { incremental: false, tsBuildInfoFile: null, noUnusedLocals: false },
    include: ['*.ts'],
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

function complaintAbout(fence: Fence, index: number): string | null {
  const ended = runModule(join(folder, `${index}.ts`))
  const where = `${fence.document}:${fence.line}`
  if (!ended.ok) return `${where}: failed\n${ended.stdout}${ended.complaint}`
  if (fence.output === null || fence.output === ended.stdout) return null
  return `${where}: printed\n${ended.stdout}and not\n${fence.output}`
}

rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
const fences = documents().flatMap(fencesOf)
for (const [index, fence] of fences.entries()) {
  // `export {}` makes a module of a fence that imports nothing; at the end, so that lines stay.
  writeFileSync(join(folder, `${index}.ts`), `${fence.code}\nexport {}\n`)
}
const complaints = [...typeErrors(fences)]
let ran = 0
for (const [index, fence] of fences.entries()) {
  if (!fence.run) continue
  ran += 1
  const complaint = complaintAbout(fence, index)
  if (complaint !== null) complaints.push(complaint)
}
for (const complaint of complaints) process.stderr.write(`${complaint}\n`)
process.stdout.write(
  `doc examples: ${fences.length} compiled, ${ran} run, ${complaints.length} complaints\n`,
)
process.exitCode = complaints.length === 0 && fences.length > 0 ? 0 : 1
