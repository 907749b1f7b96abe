/**
 * The writing identity of a file: when it stays, and when a new one is drawn.
 */
import { describe, expect, test } from 'vitest'

import type { Machine } from '../../../../src/store/replica/machine.ts'
import { folder, open, record } from '../fixture.ts'

function machine(bootId: string | null, alive = false): Machine {
  return { bootId, pid: 4_242, processAlive: () => alive }
}

describe('a file keeps its identity', () => {
  test('from open to open', async () => {
    using place = folder()
    const path = place.file('a.db')
    const first = await open({ path, machine: machine('boot 1') })
    const identity = first.db.replica.identity()
    first.db.close()

    using second = await open({ path, machine: machine('boot 2') })

    expect(second.db.replica.identity()).toEqual(identity)
    expect(identity.actor).toMatch(/^[0-9a-f]{32}$/)
    expect(identity.logId).toMatch(/^[0-9a-f]{32}$/)
  })

  test('after a process that was killed, on the same boot', async () => {
    using place = folder()
    const path = place.file('a.db')
    using killed = await open({ path, machine: machine('boot 1') })
    const identity = killed.db.replica.identity()

    using next = await open({ path, machine: machine('boot 1') })

    expect(next.db.replica.identity()).toEqual(identity)
    expect(next.events).toEqual([])
  })

  test('while another process has it open, where the system names no boots', async () => {
    using place = folder()
    const path = place.file('a.db')
    using living = await open({ path, machine: machine(null) })

    using next = await open({ path, machine: machine(null, true) })

    expect(next.db.replica.identity()).toEqual(living.db.replica.identity())
  })
})

describe('a file gets a new actor and a new log', () => {
  test.each([
    ['after power was lost', machine('boot 1'), machine('boot 2')],
    ['when nobody knows whether power was lost', machine(null), machine(null)],
    ['when the last boot is unknown', machine(null), machine('boot 2')],
  ])('%s', async (_what, before, after) => {
    using place = folder()
    const path = place.file('a.db')
    using lost = await open({ path, machine: before })
    lost.db.insert('docs', record('a'))
    const identity = lost.db.replica.identity()

    using next = await open({ path, machine: after })

    const renewed = next.db.replica.identity()
    expect(renewed.actor).not.toBe(identity.actor)
    expect(renewed.logId).not.toBe(identity.logId)
    expect(next.events).toEqual([
      { type: 'identity-renewed', reason: 'unclean-open', identity: renewed },
    ])
    next.db.insert('docs', record('b'))
    expect(next.db.replica.shardState('docs').versionVector).toEqual(
      new Map([
        [identity.actor, 1],
        [renewed.actor, 1],
      ]),
    )
  })

  test('once for one loss of power', async () => {
    using place = folder()
    const path = place.file('a.db')
    using lost = await open({ path, machine: machine('boot 1') })
    expect(lost.db.count('docs')).toBe(0)
    const second = await open({ path, machine: machine('boot 2') })
    const identity = second.db.replica.identity()
    second.db.close()

    using third = await open({ path, machine: machine('boot 3') })

    expect(third.db.replica.identity()).toEqual(identity)
  })

  test('when asked; acknowledgements of the old log are void, writes go on', async () => {
    using fixture = await open()
    const { db } = fixture
    db.insert('docs', record('a'))
    db.replica.recordAck('docs', 'p', 1, new Map())
    const before = db.replica.identity()

    const renewed = db.replica.renewIdentity()

    expect(renewed).toEqual(db.replica.identity())
    expect(renewed.actor).not.toBe(before.actor)
    expect(db.replica.shardState('docs').logId).toBe(renewed.logId)
    expect(db.replica.peerCursor('docs', 'p')?.ackedCursor).toBe(0)
    db.insert('docs', record('b'))
    expect(db.replica.shardState('docs').versionVector.get(renewed.actor)).toBe(1)
  })

  test('that another connection on the file uses from its next write on', async () => {
    using place = folder()
    const path = place.file('a.db')
    using one = await open({ path })
    using other = await open({ path })
    one.db.insert('docs', record('a'))

    const { actor } = other.db.replica.renewIdentity()
    one.db.insert('docs', record('b'))

    expect(one.db.replica.shardState('docs').versionVector.get(actor)).toBe(1)
  })

  test('inside a transaction that wrote before: no dot is lost and none is used twice', async () => {
    using fixture = await open()
    const { db } = fixture
    const old = db.replica.identity().actor

    db.transaction(() => {
      db.insert('docs', record('a'))
      db.replica.renewIdentity()
      db.insert('docs', record('b'))
    })

    const renewed = db.replica.identity().actor
    expect(db.replica.shardState('docs').versionVector).toEqual(
      new Map([
        [old, 1],
        [renewed, 1],
      ]),
    )
  })
})
