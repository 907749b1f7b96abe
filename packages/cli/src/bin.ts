#!/usr/bin/env node
/**
 * The executable. Imports the program, so that a runtime that cannot run it gets one sentence instead of a stack.
 */
export {}

try {
  await import('./main.ts')
} catch (error) {
  if (!(error instanceof Error && 'code' in error && error.code === 'ERR_SQLITE_VECTOR_RUNTIME')) {
    throw error
  }
  process.stderr.write(`sqlite-vector: ${error.message}\n`)
  process.exitCode = 1
}
