/**
 * Looks at what `npm run build` emitted as a user's Node would: every export of every package is there
 * and loads without the `source` condition, its types beside it, and every command starts.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

interface Manifest {
  readonly name: string
  readonly exports?: Readonly<Record<string, { readonly types: string; readonly default: string }>>
  readonly bin?: Readonly<Record<string, string>>
}

const root = join(import.meta.dirname, '..')
const complaints: string[] = []
let checked = 0

/** Runs Node without any condition; complains when that fails. */
function runs(what: string, args: readonly string[]): void {
  checked += 1
  try {
    execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    complaints.push(`${what}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

for (const folder of readdirSync(join(root, 'packages'))) {
  const path = join(root, 'packages', folder)
  if (!existsSync(join(path, 'package.json'))) continue
  const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Manifest
  for (const [door, { types }] of Object.entries(manifest.exports ?? {})) {
    const specifier = join(manifest.name, door).replaceAll('\\', '/')
    if (!existsSync(join(path, types))) complaints.push(`${specifier}: no types at ${types}`)
    // The door of the program runs it; the command below does, too.
    if (door === './bin') continue
    runs(specifier, ['--input-type=module', '--eval', `await import(${JSON.stringify(specifier)})`])
  }
  for (const [name, file] of Object.entries(manifest.bin ?? {})) {
    runs(`command ${name}`, [join(path, file), '--version'])
  }
}
for (const complaint of complaints) process.stderr.write(`${complaint}\n`)
process.stdout.write(`build: ${checked} doors and commands, ${complaints.length} complaints\n`)
process.exitCode = complaints.length === 0 && checked > 0 ? 0 : 1
