/**
 * Random damage to random rows of random tables: every read afterwards gives values or a coded error, and ends.
 */
import { DatabaseSync } from 'node:sqlite'

import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { SqliteVectorError } from '../../../src/errors.ts'
import { inOneGo } from '../../../src/store/file/sliced.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../../src/store/vector-db.ts'
import { EVERYTHING, folder, open, pull, record, TestClock } from '../../unit/store/fixture.ts'

const RUNS = Number(process.env['DAMAGE_RUNS'] ?? 25)

const TABLES = [
  'actors',
  'database_metadata',
  'shard_metadata',
  'vectors',
  'embeddings',
  'tombstones',
  'vector_changelog',
  'vector_conflicts',
  'peers',
  'sync_cursors',
  'own_writes',
  'sync_quarantine',
] as const

const VALUES = [
  'NULL',
  '0',
  '-1',
  '9007199254740993',
  "'x'",
  "''",
  "x''",
  "x'ff'",
  "x'ffffffffffffffffff'",
  'zeroblob(16)',
  'zeroblob(17)',
  "'{'",
  `'{"a":' || replace(hex(zeroblob(600)), '0', '[') || replace(hex(zeroblob(600)), '0', ']') || '}'`,
] as const

const READS: Readonly<Record<string, (db: SQLiteVectorDB) => unknown>> = {
  shards: (db) => db.shards(),
  stats: (db) => db.stats(),
  get: (db) => ['r0', 'r1', 'r2', 'gone', 'both'].map((id) => attempt(() => db.get('docs', id))),
  list: (db) => db.list('docs', { includeVectors: true }),
  count: (db) => db.count('docs'),
  filter: (db) => db.count('docs', { n: { $gte: 0 } }),
  search: (db) => db.search('docs', [1, 0, 0], { k: 5 }),
  'exact search': (db) => db.search('docs', [1, 0, 0], { k: 5, exact: true, includeVectors: true }),
  text: (db) => db.searchText('docs', 'word'),
  conflicts: (db) => db.listConflicts('docs'),
  siblings: (db) => db.conflictSiblings('docs', 'both'),
  quarantine: (db) => db.listQuarantine('docs'),
  recount: (db) => db.recount('docs'),
  state: (db) => db.replica.shardState('docs'),
  cursors: (db) => db.replica.peerCursors(),
  claimed: (db) => db.replica.claimedVector('docs'),
  feed: (db) => db.replica.readDelta('docs', EVERYTHING),
  'feed to a peer': (db) => db.replica.readDelta('docs', { ...EVERYTHING, expose: true }),
  records: (db) => db.replica.readRecords('docs', ['r0', 'r1', 'both', 'gone'], 1_000_000),
  ranges: (db) => inOneGo(db.replica.summarizeRanges('docs', [{ from: '', to: null }])),
  'ranges with payloads': (db) =>
    inOneGo(db.replica.summarizeRanges('docs', [{ from: '', to: null }], true)),
  collect: (db) => db.collectTombstones('docs'),
}

function attempt(fn: () => unknown): unknown {
  try {
    return fn()
  } catch (error) {
    if (error instanceof SqliteVectorError) return error.code
    throw error
  }
}

async function build(path: string): Promise<void> {
  using one = await open({ path })
  using other = await open()
  for (let index = 0; index < 6; index += 1) {
    one.db.insert('docs', { ...record(`r${index}`, { n: index }), text: `word ${index}` })
  }
  one.db.insert('docs', record('both'))
  one.db.insert('docs', record('gone'))
  pull(one, other)
  one.db.update('docs', 'both', { metadata: { side: 1 } })
  other.db.update('docs', 'both', { metadata: { side: 2 } })
  one.db.delete('docs', 'gone')
  pull(other, one, 'other')
}

test('reads of a damaged file give values or coded errors, and end', async () => {
  using files = folder()
  const whole = files.file('whole.db')
  await build(whole)
  let number = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          table: fc.constantFrom(...TABLES),
          row: fc.nat(20),
          column: fc.nat(20),
          value: fc.constantFrom('DELETE', ...VALUES),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      async (damage) => {
        number += 1
        const path = files.file(`damaged-${number}.db`)
        {
          using source = new DatabaseSync(whole)
          source.prepare('VACUUM INTO ?').run(path)
        }
        inflict(path, damage)
        await readAll(path)
      },
    ),
    { numRuns: RUNS },
  )
})

interface Damage {
  readonly table: string
  readonly row: number
  readonly column: number
  readonly value: string
}

function inflict(path: string, damage: readonly Damage[]): void {
  using raw = new DatabaseSync(path)
  for (const { table, row, column, value } of damage) {
    const columns = raw.prepare(`SELECT name FROM pragma_table_info('${table}')`).all()
    const select = raw.prepare(`SELECT * FROM ${table}`)
    select.setReadBigInts(true)
    const rows = select.all()
    const target = rows[row % Math.max(1, rows.length)]
    if (target === undefined) continue
    const name = String(columns[column % columns.length]?.['name'])
    const keys = Object.entries(target).filter(([, kept]) => kept !== null)
    const where = keys.map(([key]) => `${key} = ?`).join(' AND ')
    const values = keys.map(([, kept]) => kept as string)
    const change =
      value === 'DELETE' ? `DELETE FROM ${table}` : `UPDATE ${table} SET ${name} = ${value}`
    try {
      raw.prepare(`${change} WHERE ${where}`).run(...values)
    } catch (error) {
      // The tables are strict: SQLite refuses a value of another type, and such damage cannot be.
      if (!(error instanceof Error) || !/constraint|cannot store|datatype/i.test(error.message))
        throw error
    }
  }
}

async function readAll(path: string): Promise<void> {
  let db: SQLiteVectorDB
  try {
    db = await createVectorDB({ path, durability: 'normal' }, { clock: new TestClock() })
  } catch (error) {
    expect(error).toBeInstanceOf(SqliteVectorError)
    return
  }
  using opened = db
  for (const [name, read] of Object.entries(READS)) {
    try {
      read(opened)
    } catch (error) {
      if (error instanceof SqliteVectorError) continue
      throw new Error(`${name} threw without a code`, { cause: error })
    }
  }
}
