/**
 * Files that were set back to a backup or cloned, and write on: noticed, nothing lost, no dot for two writes.
 */
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'

import { folder, open, record, shown } from '../unit/store/fixture.ts'
import { changeOf, dotOf, put } from '../unit/sync/changes.ts'
import { type Peer, peers, pullFrom, syncBoth } from './drive.ts'

/** Copies a database as it lies on the disk, its log included. */
function copyFile(from: string, to: string): void {
  copyFileSync(from, to)
  if (existsSync(`${from}-wal`)) copyFileSync(`${from}-wal`, `${to}-wal`)
}

/** Takes away what tells a copy from the original, as whoever sets a whole disk back does. */
function forge(path: string): void {
  using db = new DatabaseSync(path)
  db.exec('UPDATE database_metadata SET file_mark = NULL')
}

/** Syncs as often as a retry loop would, until both are content. */
function settle(...all: readonly Peer[]): void {
  for (let round = 0; round < 4; round += 1) {
    for (const a of all) for (const b of all) if (a !== b) pullFrom(a, b)
  }
}

function idsOf(peer: Peer): readonly string[] {
  return peer.fixture.db.list('docs').records.map(({ id }) => id)
}

interface Restored extends Disposable {
  readonly peer: Peer
  readonly restored: Peer
}

/**
 * `peer` has `kept`, `lost-1`, `lost-2` of a file; the file was set back to `kept`, and wrote the records of
 * `since` before it met anybody.
 */
async function restored(since: readonly string[], cutBefore?: 'caughtUp'): Promise<Restored> {
  const place = folder()
  const peer = { name: 'peer', fixture: await open({ path: place.file('peer.db') }) }
  const original = { name: 'node', fixture: await open({ path: place.file('node.db') }) }
  original.fixture.db.insert('docs', record('kept'))
  syncBoth(original, peer)
  copyFile(place.file('node.db'), place.file('backup.db'))
  original.fixture.db.insert('docs', record('lost-1'))
  original.fixture.db.insert('docs', record('lost-2'))
  if (cutBefore === undefined) syncBoth(original, peer)
  else pullFrom(peer, original, { cutBefore })
  original.fixture[Symbol.dispose]()
  forge(place.file('backup.db'))
  const back = { name: 'node', fixture: await open({ path: place.file('backup.db') }) }
  back.fixture.clock.ms += 1_000
  for (const id of since) back.fixture.db.insert('docs', record(id, { since: true }))
  const dispose = (): void => {
    peer.fixture[Symbol.dispose]()
    back.fixture[Symbol.dispose]()
    place[Symbol.dispose]()
  }
  return { peer, restored: back, [Symbol.dispose]: dispose }
}

interface Place extends Disposable {
  readonly path: string
  readonly backup: string
  /** The actor that wrote after the backup was made. */
  readonly actor: string
}

/** A backup, folder included, was made between two opens, and more was written in the second. */
async function backedUp(hasFolder: boolean): Promise<Place> {
  const place = folder()
  const path = place.file('node.db')
  const backup = place.file('backup.db')
  if (hasFolder) mkdirSync(`${path}-node`)
  const original = await open({ path })
  original.db.insert('docs', record('kept'))
  original.db.close()
  copyFile(path, backup)
  if (hasFolder) {
    mkdirSync(`${backup}-node`)
    copyFileSync(join(`${path}-node`, 'open-token'), join(`${backup}-node`, 'open-token'))
  }
  const again = await open({ path })
  again.db.insert('docs', record('lost'))
  const { actor } = again.db.replica.identity()
  again.db.close()
  return { path, backup, actor, [Symbol.dispose]: () => place[Symbol.dispose]() }
}

async function expectNoticed(path: string, actor: string): Promise<void> {
  using back = await open({ path })
  expect(back.db.replica.identity().actor).not.toBe(actor)
  expect(back.events).toContainEqual(
    expect.objectContaining({ type: 'identity-renewed', reason: 'file-replaced' }),
  )
}

/** A file whose log holds what a killed process wrote, and an older copy of it. */
async function killed(): Promise<Disposable & { readonly path: string; readonly old: string }> {
  const place = folder()
  const path = place.file('node.db')
  const living = await open({ path: place.file('living.db') })
  for (let n = 0; n < 20; n += 1) living.db.insert('docs', record(`early-${n}`))
  living.db.close()
  copyFileSync(place.file('living.db'), place.file('old.db'))
  const again = await open({ path: place.file('living.db') })
  for (let n = 0; n < 400; n += 1) again.db.insert('docs', record(`late-${n}`))
  again.db.vacuum()
  for (let n = 0; n < 20; n += 1) again.db.delete('docs', `late-${n}`)
  // As after a kill: the file and its log as they lie there.
  copyFile(place.file('living.db'), path)
  again.db.close()
  return { path, old: place.file('old.db'), [Symbol.dispose]: () => place[Symbol.dispose]() }
}

describe('a file that was set back unnoticed', () => {
  test('hears of writes that a peer holds by a transfer that was cut', async () => {
    using world = await restored(['new-1', 'new-2'], 'caughtUp')

    // The restored file is asked before it asks: it has only the peer's SUBSCRIBE to learn from.
    pullFrom(world.peer, world.restored)
    settle(world.restored, world.peer)

    const wanted = ['kept', 'lost-1', 'lost-2', 'new-1', 'new-2']
    expect(idsOf(world.peer)).toEqual(wanted)
    expect(idsOf(world.restored)).toEqual(wanted)
    // Comparing rows would bring the records back, but under names that others bear.
    const dots = wanted.flatMap((id) =>
      world.peer.fixture.db
        .conflictSiblings('docs', id)
        .map(({ dot }) => `${dot.actor}:${dot.counter}`),
    )
    expect(new Set(dots).size).toBe(dots.length)
  })

  test.each([
    ['nothing', []],
    ['less than was lost', ['new-1']],
    ['as much as was lost', ['new-1', 'new-2']],
    ['more than was lost', ['new-1', 'new-2', 'new-3', 'new-4']],
    ['records of the same ids', ['lost-1', 'lost-2', 'new-1']],
  ])('and wrote %s: all is on both sides afterwards', async (_, since) => {
    using world = await restored(since)

    settle(world.restored, world.peer)

    const wanted = [...new Set(['kept', 'lost-1', 'lost-2', ...since])].sort()
    expect(idsOf(world.restored)).toEqual(wanted)
    expect(shown(world.restored.fixture.db)).toEqual(shown(world.peer.fixture.db))
    for (const id of since) {
      const values = world.peer.fixture.db.conflictSiblings('docs', id)
      expect(values.some(({ value }) => value?.metadata['since'] === true)).toBe(true)
    }
  })

  test('writes under a new actor and log, and says why', async () => {
    using world = await restored(['new-1'])
    const { replica } = world.restored.fixture.db
    const before = replica.identity()

    settle(world.restored, world.peer)

    expect(replica.identity().actor).not.toBe(before.actor)
    expect(replica.identity().logId).not.toBe(before.logId)
    expect(world.restored.fixture.events).toContainEqual(
      expect.objectContaining({ type: 'identity-renewed', reason: 'own-writes-unknown' }),
    )
  })

  test('keeps the stamps of what it wrote since', async () => {
    using world = await restored(['new-1'])
    const before = world.restored.fixture.db.conflictSiblings('docs', 'new-1')[0]?.stamp

    settle(world.restored, world.peer)

    expect(world.peer.fixture.db.conflictSiblings('docs', 'new-1')[0]?.stamp).toEqual(before)
  })

  test('the pull that notices ends with a code that says: sync again', async () => {
    using world = await restored(['new-1', 'new-2', 'new-3'])

    const { error } = pullFrom(world.restored, world.peer)

    expect(error).toMatchObject({ code: 'SYNC_IDENTITY_RENEWED', retryable: true })
    expect(pullFrom(world.restored, world.peer).error).toBeNull()
  })
})

describe('a file that was restored from an older backup', () => {
  test.each([true, false])(
    'is noticed at open when it was put in the place of the other (a node beside it: %s)',
    async (hasFolder) => {
      using place = await backedUp(hasFolder)
      renameSync(place.backup, place.path)

      await expectNoticed(place.path, place.actor)
    },
  )

  test('is noticed at open when it was written over the other', async () => {
    using place = await backedUp(true)
    copyFileSync(place.backup, place.path)

    await expectNoticed(place.path, place.actor)
  })

  test('is noticed at open when the folder beside it was written over, too', async () => {
    using place = await backedUp(true)
    copyFileSync(place.backup, place.path)
    copyFileSync(
      join(`${place.backup}-node`, 'open-token'),
      join(`${place.path}-node`, 'open-token'),
    )

    await expectNoticed(place.path, place.actor)
  })

  test('is noticed at open when the backup was made since the file was last opened', async () => {
    using place = folder()
    const path = place.file('node.db')
    mkdirSync(`${path}-node`)
    const original = await open({ path })
    original.db.insert('docs', record('kept'))
    copyFile(path, place.file('backup.db'))
    original.db.insert('docs', record('lost'))
    const { actor } = original.db.replica.identity()
    original.db.close()
    rmSync(path)
    copyFile(place.file('backup.db'), path)

    await expectNoticed(path, actor)
  })

  test('keeps its identity when it was only moved or opened again', async () => {
    using place = await backedUp(true)
    const moved = `${place.path}.moved`
    renameSync(place.path, moved)
    renameSync(`${place.path}-node`, `${moved}-node`)

    using again = await open({ path: moved })
    using twin = await open({ path: moved })

    expect(again.db.replica.identity().actor).toBe(place.actor)
    expect([...again.events, ...twin.events]).toEqual([])
  })

  test('gives no name twice, though it writes before it meets anybody', async () => {
    using place = folder()
    const path = place.file('node.db')
    const original: Peer = { name: 'node', fixture: await open({ path }) }
    const early: Peer = { name: 'early', fixture: await open() }
    const late: Peer = { name: 'late', fixture: await open() }
    original.fixture.db.insert('docs', record('kept'))
    copyFile(path, place.file('backup.db'))
    original.fixture.db.insert('docs', record('lost'))
    pullFrom(early, original)
    original.fixture.db.close()
    rmSync(path)
    copyFile(place.file('backup.db'), path)
    const back: Peer = { name: 'node', fixture: await open({ path }) }
    back.fixture.db.insert('docs', record('since'))
    // Nobody who knows what was lost has been met by then.
    pullFrom(late, back)

    settle(early, late, back)

    for (const peer of [early, late, back]) {
      expect(idsOf(peer)).toEqual(['kept', 'lost', 'since'])
      expect(peer.fixture.db.replica.shardState('docs').conflictCount).toBe(0)
      peer.fixture[Symbol.dispose]()
    }
  })
})

describe('a file that was put beside the log of another', () => {
  test('is refused by name when the two do not make a whole', async () => {
    using place = await killed()
    rmSync(place.path)
    copyFileSync(place.old, place.path)

    await expect(open({ path: place.path })).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })

  test('opens when the log is its own', async () => {
    using place = await killed()

    using fixture = await open({ path: place.path })

    expect(fixture.db.count('docs')).toBe(400)
    expect(fixture.db.replica.recount('docs').correct).toBe(true)
  })
})

describe('a file that was cloned', () => {
  test.each([true, false])(
    'and both copies write and meet a third: all is everywhere (unnoticed: %s)',
    async (isUnnoticed) => {
      using place = folder()
      const third = { name: 'third', fixture: await open({ path: place.file('third.db') }) }
      const one = { name: 'one', fixture: await open({ path: place.file('one.db') }) }
      one.fixture.db.insert('docs', record('common'))
      syncBoth(one, third)
      copyFile(place.file('one.db'), place.file('two.db'))
      if (isUnnoticed) forge(place.file('two.db'))
      const two = { name: 'two', fixture: await open({ path: place.file('two.db') }) }
      one.fixture.db.insert('docs', record('by-one'))
      two.fixture.db.insert('docs', record('by-two'))

      settle(one, third)
      settle(two, third)
      settle(one, two, third)

      for (const peer of [one, two, third]) {
        expect(idsOf(peer)).toEqual(['by-one', 'by-two', 'common'])
        peer.fixture[Symbol.dispose]()
      }
    },
  )

  test.each([true, false])(
    'and the copies meet each other: both keep what each wrote (unnoticed: %s)',
    async (isUnnoticed) => {
      using place = folder()
      const one = { name: 'one', fixture: await open({ path: place.file('one.db') }) }
      one.fixture.db.insert('docs', record('common'))
      copyFile(place.file('one.db'), place.file('two.db'))
      if (isUnnoticed) forge(place.file('two.db'))
      const two = { name: 'two', fixture: await open({ path: place.file('two.db') }) }
      one.fixture.db.insert('docs', record('by-one'))
      two.fixture.db.insert('docs', record('by-two'))

      settle(one, two)

      expect(idsOf(one)).toEqual(['by-one', 'by-two', 'common'])
      expect(shown(one.fixture.db)).toEqual(shown(two.fixture.db))
      expect(one.fixture.db.replica.identity().actor).not.toBe(
        two.fixture.db.replica.identity().actor,
      )
      one.fixture[Symbol.dispose]()
      two.fixture[Symbol.dispose]()
    },
  )
})

describe('the original of a clone keeps its name', () => {
  test('though the clone shows it writes that it sent while their names were in doubt', async () => {
    using place = folder()
    const one: Peer = { name: 'one', fixture: await open({ path: place.file('one.db') }) }
    one.fixture.db.insert('docs', record('never-sent'))
    copyFile(place.file('one.db'), place.file('two.db'))
    const two: Peer = { name: 'two', fixture: await open({ path: place.file('two.db') }) }
    one.fixture.db.insert('docs', record('sent'))

    pullFrom(two, one, { cutBefore: 'caughtUp' })
    expect(idsOf(two)).toEqual(['never-sent', 'sent'])
    settle(one, two)

    expect(one.fixture.events).toEqual([])
    for (const peer of [one, two]) {
      expect(idsOf(peer)).toEqual(['never-sent', 'sent'])
      expect(peer.fixture.db.replica.shardState('docs').conflictCount).toBe(0)
      peer.fixture[Symbol.dispose]()
    }
  })

  test('though a peer wrote another record with a floor that covers what was never confirmed', async () => {
    using fixture = await open()
    fixture.db.insert('docs', record('mine'))
    const { actor, logId } = fixture.db.replica.identity()
    const dot = dotOf('cc'.repeat(16), 1)
    const context = new Map([
      [actor, 1],
      [dot.actor, 1],
    ])

    const source = { peer: 'peer', logId: '01'.repeat(16), cursor: 1 }
    fixture.db.replica.applyDelta('docs', [changeOf('other', [put(dot)], context)], source)

    expect(fixture.db.replica.identity()).toEqual({ actor, logId })
    expect(fixture.db.list('docs').records.map(({ id }) => id)).toEqual(['mine', 'other'])
  })

  test('though the clone brings a delete that the original has forgotten', async () => {
    using place = folder()
    const one: Peer = { name: 'one', fixture: await open({ path: place.file('one.db') }) }
    one.fixture.db.insert('docs', record('dead'))
    one.fixture.db.delete('docs', 'dead')
    copyFile(place.file('one.db'), place.file('two.db'))
    const two: Peer = { name: 'two', fixture: await open({ path: place.file('two.db') }) }
    expect(one.fixture.db.collectTombstones('docs')).toBe(1)
    one.fixture.db.insert('docs', record('kept'))

    settle(one, two)

    expect(one.fixture.events).toEqual([])
    for (const peer of [one, two]) {
      expect(idsOf(peer)).toEqual(['kept'])
      peer.fixture[Symbol.dispose]()
    }
  })
})

describe('a snapshot', () => {
  test('is a whole file under an identity of its own, also while somebody writes', async () => {
    using place = folder()
    const source = { name: 'source', fixture: await open({ path: place.file('source.db') }) }
    for (let n = 0; n < 50; n += 1) source.fixture.db.insert('docs', record(`r${n}`))

    const taking = source.fixture.db.snapshot(place.file('copy.db'))
    source.fixture.db.insert('docs', record('meanwhile'))
    const bytes = await taking
    const copy = { name: 'copy', fixture: await open({ path: place.file('copy.db') }) }

    expect(bytes).toBeGreaterThan(0)
    // As the file was when the copy was begun.
    expect(copy.fixture.db.count('docs')).toBe(50)
    expect(copy.fixture.db.replica.identity()).not.toEqual(source.fixture.db.replica.identity())
    copy.fixture.db.insert('docs', record('after'))
    settle(source, copy)
    expect(source.fixture.db.replica.shardState('docs').conflictCount).toBe(0)
    expect(idsOf(copy)).toEqual(idsOf(source))
    source.fixture[Symbol.dispose]()
    copy.fixture[Symbol.dispose]()
  })

  test('holds whole transactions only, and is made, however much is written meanwhile', async () => {
    using place = folder()
    using source = await open({ path: place.file('source.db') })
    source.db.createShard('wide', { dimension: 256 })
    const embedding = Array.from({ length: 256 }, (_, index) => index + 1)
    const state = { written: 0, taking: false }
    const write = (): void =>
      source.db.transaction(() => {
        for (let n = 0; n < 40; n += 1) {
          source.db.insert('wide', { id: `r${state.written}-${n}`, embedding })
        }
        state.written += 1
      })
    while (state.written < 25) write()
    for (let round = 0; round < 4; round += 1) {
      const before = state.written
      state.taking = true
      const taking = source.db.snapshot(place.file(`copy-${round}.db`)).finally(() => {
        state.taking = false
      })
      do {
        write()
        await setImmediate()
      } while (state.taking)
      await taking

      using copy = await open({ path: place.file(`copy-${round}.db`) })

      expect(copy.db.count('wide')).toBe(before * 40)
      expect(copy.db.replica.recount('wide').correct).toBe(true)
    }
  })

  test('of a database in memory is a file', async () => {
    using place = folder()
    using source = await open()
    source.db.insert('docs', { ...record('kept'), text: 'hello world' })

    await source.db.snapshot(place.file('copy.db'))

    using copy = await open({ path: place.file('copy.db') })
    expect(shown(copy.db)).toEqual(shown(source.db))
    expect(copy.db.replica.recount('docs').correct).toBe(true)
  })

  test('refuses a name that is taken, and leaves nothing behind when it is aborted', async () => {
    using place = folder()
    using source = await open({ path: place.file('source.db') })
    const abort = new AbortController()
    abort.abort(new Error('enough'))

    await expect(source.db.snapshot(place.file('source.db'))).rejects.toMatchObject({
      code: 'STORE_IO',
    })
    await expect(
      source.db.snapshot(place.file('copy.db'), { signal: abort.signal }),
    ).rejects.toThrow('enough')
    expect(existsSync(place.file('copy.db'))).toBe(false)
  })
})

test('peers that are what they say never renew anything', async () => {
  using all = await peers('a', 'b', 'c')
  const [a, b, c] = all
  for (const peer of [a, b, c]) {
    peer.fixture.db.insert('docs', record(peer.name))
    peer.fixture.db.insert('docs', record('shared'))
  }

  settle(a, b, c)
  for (const peer of [a, b, c]) peer.fixture.db.update('docs', 'shared', { metadata: { n: 1 } })
  settle(a, b, c)

  for (const { fixture } of [a, b, c]) expect(fixture.events).toEqual([])
})
