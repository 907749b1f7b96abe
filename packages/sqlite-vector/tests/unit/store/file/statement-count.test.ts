/**
 * What one live write costs in statements, on either side: what runs ten milliseconds after the last time runs cold, so
 * each counts. Statements are counted as SQLite's binding is called.
 */
import { StatementSync } from 'node:sqlite'

import { expect, test } from 'vitest'

import { EVERYTHING, type Fixture, folder, open, pull, record } from '../fixture.ts'

const METHODS = ['run', 'get', 'all', 'iterate'] as const

/** The statements that `fn` runs. */
function statementsOf(fn: () => void): string[] {
  const run: string[] = []
  const { prototype } = StatementSync
  const before = METHODS.map((name) => [name, prototype[name]] as const)
  for (const [name, method] of before) {
    Object.defineProperty(prototype, name, {
      configurable: true,
      writable: true,
      value(this: StatementSync, ...parameters: unknown[]): unknown {
        run.push(this.sourceSQL.replace(/\s+/g, ' '))
        return Reflect.apply(method, this, parameters)
      },
    })
  }
  try {
    fn()
  } finally {
    for (const [name, value] of before) {
      Object.defineProperty(prototype, name, { configurable: true, writable: true, value })
    }
  }
  return run
}

/** Two files, the second of which has what the first has, and is pushed to. */
async function pair(path: string): Promise<{ from: Fixture; to: Fixture } & Disposable> {
  const from = await open({ path })
  const to = await open()
  for (const id of ['a', 'b', 'c']) from.db.insert('docs', record(id))
  pull(from, to)
  from.db.replica.expose('docs')
  return {
    from,
    to,
    [Symbol.dispose]() {
      from.db.close()
      to.db.close()
    },
  }
}

test('a write that has just been committed is pushed without reading a row', async () => {
  using files = folder()
  using nodes = await pair(files.file('a.db'))
  const { replica } = nodes.from.db
  const { head: after } = replica.shardState('docs')
  const only = { actor: replica.identity().actor, counter: 3 }
  nodes.from.db.upsert('docs', record('d'))

  let pushed: readonly string[] = []
  const run = statementsOf(() => {
    const query = { ...EVERYTHING, after, expose: true, only }
    pushed = replica.readDelta('docs', query).changes.map(({ id }) => id)
  })

  expect(pushed).toEqual(['d'])
  expect(run).toEqual(['PRAGMA data_version'])
})

test('a pushed record is applied in nine statements, and notes no cursor that did not move', async () => {
  using files = folder()
  using nodes = await pair(files.file('a.db'))
  const { from, to } = nodes
  const { replica } = from.db
  const { head: cursor, logId } = replica.shardState('docs')
  from.db.upsert('docs', record('d'))
  const read = replica.readDelta('docs', { ...EVERYTHING, after: cursor })
  const source = { peer: 'from', logId, cursor }

  const run = statementsOf(() => {
    to.db.replica.applyDelta('docs', read.changes, source, read.state.versionVector)
  })

  expect(run.map((sql) => /^\w+ ?\w*/.exec(sql)?.[0])).toEqual([
    'BEGIN IMMEDIATE',
    'SELECT d',
    'SELECT shard',
    'SELECT w',
    'INSERT INTO',
    'INSERT INTO',
    'INSERT INTO',
    'UPDATE shard_metadata',
    'COMMIT',
  ])
  expect(to.db.get('docs', 'd')?.id).toBe('d')
})

test('a cursor that did not move is noted again a second later, as a sign of life', async () => {
  using files = folder()
  using nodes = await pair(files.file('a.db'))
  const { from, to } = nodes
  const { head: cursor, logId } = from.db.replica.shardState('docs')
  const contact = (): number | undefined => to.db.replica.peerCursor('docs', 'from')?.lastContactMs
  const before = contact() ?? Number.NaN

  to.clock.ms += 999
  to.db.replica.applyDelta('docs', [], { peer: 'from', logId, cursor })
  expect(contact()).toBe(before)
  to.clock.ms += 1
  to.db.replica.applyDelta('docs', [], { peer: 'from', logId, cursor })
  expect(contact()).toBe(before + 1_000)
})
