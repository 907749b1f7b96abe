/**
 * The place of a database: its real name, and whether it can be written there.
 *
 * Not here: the checks of the file's content (file/inspect.ts).
 */
import { files } from '#platform'

import { withFileErrors } from './file/failures.ts'
import { databasePath } from './file/inspect.ts'
import type { ResolvedVectorDBOptions } from './options.ts'

/** The options with the file's real name; read-only where the file system is. */
export function located(options: ResolvedVectorDBOptions): ResolvedVectorDBOptions {
  const path = withFileErrors(options.path, () => databasePath(options.path))
  if (options.readOnly || path === ':memory:' || !files.isReadOnly(path)) {
    return { ...options, path }
  }
  options.onEvent({ type: 'opened-read-only', path, reason: 'the file system is read-only' })
  return { ...options, path, readOnly: true, saveIndex: false }
}
