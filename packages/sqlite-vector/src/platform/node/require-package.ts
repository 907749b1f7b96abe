/**
 * Loading an optional or native package at run time, out of sight of bundlers.
 *
 * In a CommonJS bundle `import.meta.url` is not defined; packages are then looked up from the
 * program that was started.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'

/**
 * The exports of the installed package `name`. Throws `MODULE_NOT_FOUND` where it is not installed.
 */
export function requirePackage(name: string): unknown {
  const here = import.meta.url as string | undefined
  const from = here ?? process.argv[1] ?? join(process.cwd(), 'index.js')
  return createRequire(from)(name)
}
