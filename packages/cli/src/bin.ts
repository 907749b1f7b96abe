#!/usr/bin/env node
/**
 * The executable. Imports the program, so that a runtime that cannot run it gets one sentence
 * instead of a stack.
 */

/** Resolves when the program has been loaded, or its runtime refused. */
export const loaded: Promise<void> = load()

async function load(): Promise<void> {
  try {
    await import('./main.ts')
  } catch (error) {
    if (
      !(error instanceof Error && 'code' in error && error.code === 'ERR_SQLITE_VECTOR_RUNTIME')
    ) {
      throw error
    }
    process.stderr.write(`sqlite-vector: ${error.message}\n`)
    process.exitCode = 1
  }
}
