/**
 * Real processes on one file: writers side by side, a reader beside a writer, and a writer that is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

import { describe, expect, test } from 'vitest'

import { EVERYTHING, folder, open } from './fixture.ts'

const WRITER = new URL('writer-process.ts', import.meta.url).pathname

/** Starts a writer; `lines` is what it acknowledged. */
function startWriter(path: string, name: string, count: number, batch: number): ChildProcess {
  return spawn(
    process.execPath,
    ['--conditions=source', WRITER, path, name, String(count), String(batch)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
}

async function acknowledged(writer: ChildProcess, until = Infinity): Promise<string[]> {
  const lines: string[] = []
  if (writer.stdout === null) throw new Error('no output of the writer')
  for await (const line of createInterface({ input: writer.stdout })) {
    lines.push(line)
    if (lines.length === until) writer.kill('SIGKILL')
  }
  if (writer.exitCode === null && writer.signalCode === null) await once(writer, 'exit')
  return lines
}

describe('two processes on one file', () => {
  test('write side by side: every record is there, and no dot was given twice', async () => {
    using place = folder()
    const path = place.file('a.db')
    const setUp = await open({ path })
    setUp.db.close()

    const writers = ['x', 'y'].map((name) => startWriter(path, name, 120, 5))
    const [ofX, ofY] = await Promise.all(writers.map((writer) => acknowledged(writer)))

    expect(writers.map(({ exitCode }) => exitCode)).toEqual([0, 0])
    expect(ofX).toHaveLength(120)
    expect(ofY).toHaveLength(120)
    using after = await open({ path })
    const { replica } = after.db
    const { changes, state } = replica.readDelta('docs', EVERYTHING)
    const counters = changes.map(({ siblings }) => siblings[0]?.dot.counter ?? 0)
    expect(changes.map(({ id }) => id).toSorted()).toEqual(
      [...(ofX ?? []), ...(ofY ?? [])].toSorted(),
    )
    expect(counters.toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 240 }, (_, index) => index + 1),
    )
    expect(state).toMatchObject({ recordCount: 240, head: 240, conflictCount: 0 })
    expect(replica.recomputeDigest('docs')).toBe(state.digest)
  })

  test('a reader sees whole batches of a writer, and poll() hears of them', async () => {
    using place = folder()
    using reader = await open({ path: place.file('a.db') })
    const { db } = reader
    const seen = new Set<number>()
    let heard = 0
    db.replica.onCommit(() => void (heard += 1))

    const writer = startWriter(place.file('a.db'), 'x', 400, 8)
    const done = acknowledged(writer)
    while (writer.exitCode === null) {
      seen.add(db.count('docs'))
      db.replica.poll()
      await new Promise((resolve) => void setImmediate(resolve))
    }
    await done
    db.replica.poll()
    seen.add(db.count('docs'))

    expect([...seen].filter((count) => count % 8 !== 0)).toEqual([])
    expect(seen.size).toBeGreaterThan(1)
    expect(heard).toBeGreaterThan(0)
    expect(db.count('docs')).toBe(400)
  })
})

test('a writer killed at random moments loses nothing it acknowledged and leaves no half batch', async () => {
  using place = folder()
  const path = place.file('a.db')
  const first = await open({ path })
  const { actor, logId } = first.db.replica.identity()
  first.db.close()
  const all: string[] = []

  for (const [round, after] of [1, 17, 40, 73].entries()) {
    const writer = startWriter(path, `w${round}-`, 100_000, 4)
    all.push(...(await acknowledged(writer, after)))
    expect(writer.signalCode).toBe('SIGKILL')
  }

  using db = await open({ path })
  const { replica } = db.db
  const ids = new Set(db.db.list('docs', { limit: 10_000 }).records.map(({ id }) => id))
  expect(all.filter((id) => !ids.has(id))).toEqual([])
  expect(ids.size % 4).toBe(0)
  expect(replica.identity()).toEqual({ actor, logId })
  expect(replica.shardState('docs')).toMatchObject({ recordCount: ids.size, head: ids.size })
  expect(replica.recomputeDigest('docs')).toBe(replica.shardState('docs').digest)
})
