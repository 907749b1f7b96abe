/**
 * The defaults that docs/reference/options.md states are those that the code fills in.
 *
 * A default is stated by its comment and set somewhere else; here each literal one is compared with what resolving
 * empty options gives. Defaults in words (`the system's clock`) are left to readers.
 */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  resolveListOptions,
  resolveVectorDBOptions,
} from '../packages/sqlite-vector/src/store/options.ts'
import { resolveSyncConfig } from '../packages/sqlite-vector/src/sync/node/options.ts'
import { createIdentity } from '../packages/sqlite-vector/src/transport/identity/identity.ts'
import { TrustList } from '../packages/sqlite-vector/src/transport/identity/trust.ts'
import { resolveQuicOptions } from '../packages/sqlite-vector/src/transport/quic/options.ts'
import { optionTypes } from '../scripts/tidy/options.ts'
import { readRepository } from '../scripts/tidy/repository.ts'

const TYPES = optionTypes(readRepository(join(import.meta.dirname, '..')))

/** Literal defaults of a type, by field: `60 000` and `536870912` are numbers, `'bbr'` is a text. */
function statedOf(type: string): ReadonlyMap<string, unknown> {
  const fields = TYPES.find(({ name }) => name === type)?.fields ?? []
  return new Map(
    fields.flatMap(({ name, fallback }): [string, unknown][] => {
      const literal = /^`([^`]+)`/.exec(fallback ?? '')?.[1]
      if (literal === undefined) return []
      if (/^[\d_, ]+$/.test(literal)) return [[name, Number(literal.replaceAll(/[_, ]/g, ''))]]
      if (literal === 'true' || literal === 'false') return [[name, literal === 'true']]
      if (literal === 'null') return [[name, null]]
      return /^'[^']*'$/.test(literal) ? [[name, literal.slice(1, -1)]] : []
    }),
  )
}

const RESOLVED: readonly (readonly [string, () => object, number])[] = [
  ['VectorDBOptions', () => resolveVectorDBOptions({ path: 'a.db' }), 4],
  ['ListOptions', () => resolveListOptions({}), 3],
  ['VectorSyncConfig', () => resolveSyncConfig({}), 5],
  [
    'QuicTransportOptions',
    () => resolveQuicOptions({ identity: createIdentity(), trust: TrustList.inMemory() }),
    11,
  ],
]

test.each(RESOLVED)('stated defaults of %s are the real ones', (type, resolved, atLeast) => {
  const stated = statedOf(type)
  const real = new Map<string, unknown>(Object.entries(resolved()))
  const compared = [...stated].filter(([name]) => real.has(name))

  expect(Object.fromEntries(compared)).toEqual(
    Object.fromEntries(compared.map(([name]) => [name, real.get(name)])),
  )
  expect(compared.length).toBeGreaterThanOrEqual(atLeast)
})
