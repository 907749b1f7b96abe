/**
 * Commits of another process are found by the next search, without asking for it; and a process
 * killed in the middle of its writes leaves an index that is right.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { temporaryDb } from '../../search/fixture.ts'

const SCRIPT = fileURLToPath(new URL('writer-process.ts', import.meta.url))

class Writer implements AsyncDisposable {
  readonly child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  constructor(path: string) {
    const args = ['--conditions=source', SCRIPT, path]
    this.child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]()
  }

  async line(): Promise<string> {
    const { value } = await this.#lines.next()
    return value as string
  }

  say(request: object): void {
    this.child.stdin.write(`${JSON.stringify(request)}\n`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await gone
  }
}

test('a commit of another process is found at once, a delete is found no more', async () => {
  await using fixture = await temporaryDb()
  const { db } = fixture
  db.createShard('s', { dimension: 3, metric: 'l2' })
  db.insert('s', { id: 'first', embedding: [1, 1, 1] })
  db.search('s', [0, 0, 0])
  await using writer = new Writer(fixture.path)
  expect(await writer.line()).toBe('open')

  writer.say({ id: 'theirs', embedding: [0, 0, 0] })
  await writer.line()
  expect(db.search('s', [0, 0, 0], { k: 1 })).toMatchObject([{ id: 'theirs', distance: 0 }])
  writer.say({ id: 'theirs', remove: true })
  await writer.line()
  expect(db.search('s', [0, 0, 0], { k: 9 }).map(({ id }) => id)).toEqual(['first'])
})

test('after a kill in the middle of writes, search and a scan of the rows agree, and acknowledged records are found', async () => {
  await using fixture = await temporaryDb()
  const { db } = fixture
  db.createShard('s', { dimension: 3, metric: 'l2' })
  const acknowledged: string[] = []
  {
    await using writer = new Writer(fixture.path)
    await writer.line()
    for (let i = 0; i < 400; i += 1) writer.say({ id: `r${i}`, embedding: [i, 1, 2] })
    while (acknowledged.length < 150) {
      acknowledged.push(await writer.line())
      if (acknowledged.length % 50 === 0) db.search('s', [0, 0, 0])
    }
  }

  const found = db.search('s', [0, 1, 2], { k: 1_000 })

  const scanning = await fixture.open({ searchMemoryBytes: 0 })
  expect(found).toEqual(scanning.search('s', [0, 1, 2], { k: 1_000 }))
  const ids = new Set(found.map(({ id }) => id))
  expect(acknowledged.filter((id) => !ids.has(id))).toEqual([])
  expect(db.explain('s').source).toBe('arena')
})
