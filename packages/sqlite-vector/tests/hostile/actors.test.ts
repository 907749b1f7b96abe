/**
 * Names of actors by the thousand: refused with a code at the door, before anything is written that cannot be sent on.
 */
import { describe, expect, test } from 'vitest'
import { VERSION_VECTOR_ACTORS_MAX } from '../../src/limits.ts'
import type { Change } from '../../src/model/types.ts'
import { open } from '../unit/store/fixture.ts'
import { changeOf, dotOf, put } from '../unit/sync/changes.ts'

const SOURCE = { peer: 'liar', logId: '01'.repeat(16), cursor: 1 }

function actorOf(n: number): string {
  return (n + 1).toString(16).padStart(32, '0')
}

function actors(from: number, count: number): [string, number][] {
  return Array.from({ length: count }, (_, n) => [actorOf(from + n), 1])
}

function batchOf(from: number): readonly Change[] {
  return Array.from({ length: 3_000 }, (_, n) =>
    changeOf(`r${from + n}`, [put(dotOf(actorOf(from + n), 1))]),
  )
}

describe('a shard whose actors are nearly all that a vector can name', () => {
  test('takes no batch that would name more beyond the vector', async () => {
    using fixture = await open()
    const { replica } = fixture.db
    const fill = (): void => {
      for (let n = 0; n < 6; n += 1) {
        replica.applyDelta('docs', batchOf(n * 3_000), { ...SOURCE, cursor: n + 1 })
      }
    }

    expect(fill).toThrow(expect.objectContaining({ code: 'STORE_CHANGE_INVALID' }))

    const { uncovered, recordCount } = replica.shardState('docs')
    expect(uncovered.size).toBe(15_000)
    expect(recordCount).toBe(15_000)
  })

  test('quarantines a write whose merged context would name more', async () => {
    using fixture = await open()
    const { replica } = fixture.db
    const half = VERSION_VECTOR_ACTORS_MAX / 2 + 1
    const [one, two] = [actorOf(90_000), actorOf(90_001)]
    const first = changeOf('x', [put(dotOf(one, 1))], new Map([...actors(0, half), [one, 1]]))
    const second = changeOf('x', [put(dotOf(two, 1))], new Map([...actors(half, half), [two, 1]]))

    replica.applyDelta('docs', [first], SOURCE)
    const { quarantined } = replica.applyDelta('docs', [second], { ...SOURCE, cursor: 2 })

    expect(quarantined).toBe(1)
    expect(fixture.db.listQuarantine('docs')[0]?.reason).toContain('actors')
    expect(
      replica.readDelta('docs', { after: 0, countMax: 9, bytesMax: 9e6, known: new Map() }).changes,
    ).toHaveLength(1)
  })

  test('takes no floor that would name more', async () => {
    using fixture = await open()
    const { replica } = fixture.db
    const join = (from: number): unknown =>
      replica.joinVector('docs', SOURCE, new Map(), new Map(actors(from, 9_000)))
    join(0)

    expect(() => join(9_000)).toThrow(expect.objectContaining({ code: 'STORE_CHANGE_INVALID' }))
  })
})
