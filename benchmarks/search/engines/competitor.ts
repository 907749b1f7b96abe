/**
 * Loads a competitor from its own folder of packages: `npm run bench:competitors` installs them
 * there.
 */
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(
  fileURLToPath(new URL('../competitors/package.json', import.meta.url)),
)

/** The module, or an error that says how to install it. */
export function competitor(name: string): unknown {
  try {
    return require(name)
  } catch (cause) {
    throw new Error(`${name} is not there: npm run bench:competitors`, { cause })
  }
}
