/**
 * Runs every program of examples/, each in a process and an empty folder of its own; fails when one
 * does. An example checks its own outcome: it throws when it did not see what it is there to show.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { runModule } from './run-module.ts'

const folder = join(import.meta.dirname, '..', 'examples')
const names = readdirSync(folder).filter((name) => name.endsWith('.ts'))
let failed = 0
for (const name of names.toSorted()) {
  const ended = runModule(join(folder, name))
  process.stdout.write(
    `${ended.ok ? 'ok    ' : 'FAILED'} examples/${name} (${ended.durationMs} ms)\n`,
  )
  if (ended.ok) continue
  failed += 1
  process.stderr.write(`${ended.stdout}${ended.complaint}\n`)
}
process.stdout.write(`examples: ${names.length} run, ${failed} failed\n`)
process.exitCode = failed === 0 && names.length > 0 ? 0 : 1
