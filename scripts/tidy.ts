/**
 * A test of the repository itself: `npm run tidy` prints every violation and fails when there is one.
 *
 * The rules lie in tidy/rules.ts (code), tidy/documents.ts and tidy/options.ts (documents), and tests/tidy.test.ts
 * shows for each that it can fail.
 */
import { join } from 'node:path'
import * as documents from './tidy/documents.ts'
import { readRepository } from './tidy/repository.ts'
import { optionRows } from './tidy/options.ts'
import * as code from './tidy/rules.ts'

const RULES: readonly code.Rule[] = [
  code.headers,
  code.globals,
  code.leftovers,
  code.importers,
  code.namedFiles,
  code.manifests,
  code.blobs,
  code.registries,
  code.errorCodes,
  documents.errorRows,
  documents.limitRows,
  documents.exportsDocumented,
  optionRows,
  documents.links,
  documents.mapped,
  documents.decisions,
  documents.decisionIndex,
]

const repository = readRepository(join(import.meta.dirname, '..'))
const violations = RULES.flatMap((rule) => rule(repository))
for (const violation of violations) process.stderr.write(`${violation}\n`)
process.stdout.write(
  `tidy: ${repository.files.size} files, ${RULES.length} rules, ${violations.length} violations\n`,
)
process.exitCode = violations.length === 0 ? 0 : 1
