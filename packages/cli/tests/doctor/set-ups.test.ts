/**
 * Broken set-ups: each is named by `doctor` with a remedy, the remedy works when it is followed, and
 * the examination changes no file.
 */
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { startNode, resolveConfig } from '@agentic-flow/sqlite-vector-server'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkWeight } from '../../src/doctor/surroundings.ts'
import { examine, type Examination } from '../../src/doctor/examine.ts'
import type { Finding } from '../../src/doctor/finding.ts'
import { temporaryFolder } from '../helpers.ts'

import { CASES, makeSound, type Place, removeSound, restore, restoreFolder } from './set-ups.ts'

beforeAll(makeSound)

afterAll(removeSound)

test('there are 40 set-ups', () => expect(CASES.length).toBeGreaterThanOrEqual(40))

test.each(CASES.filter(({ skip }) => skip !== true))(
  '$name',
  async ({ breaks, check, state, detail, advice, follows, with: options, after }) => {
    using home = temporaryFolder()
    const path = join(home.path, 'a.db')
    const place: Place = { path, folder: `${path}-node`, at: (name) => join(`${path}-node`, name) }
    restore(place)
    restoreFolder(place)
    const broken = (await breaks(place)) as AsyncDisposable | undefined
    const before = stateOf(home.path)

    const findings = await look(path, options)

    expect(stateOf(home.path)).toEqual(before)
    const found = findings.find((finding) => finding.check === check && finding.state === state)
    expect(found, JSON.stringify(findings, null, 1)).toMatchObject({
      detail: expect.stringMatching(detail),
      advice: expect.stringMatching(advice),
    })
    expect(
      findings.every((finding) => (finding.state === 'ok') === (finding.advice === null)),
    ).toBe(true)
    if (typeof broken === 'object' && Symbol.asyncDispose in broken)
      await broken[Symbol.asyncDispose]()
    await follows(place)
    const healed = await look(path, after ?? options)
    expect(healed.filter((finding) => finding.check === check && finding.state !== 'ok')).toEqual(
      [],
    )
  },
  60_000,
)

test('a node that serves the file is named', async () => {
  using home = temporaryFolder()
  const path = join(home.path, 'a.db')
  const { config } = resolveConfig({
    flags: { database: path, 'http-listen': '127.0.0.1:0', 'sync-listen': 'off' },
  })
  const node = await startNode(config)
  try {
    const findings = await look(path)
    expect(findings.find(({ check }) => check === 'processes')?.detail).toContain(
      `process ${process.pid} serves it`,
    )
  } finally {
    await node.close()
  }
})

test('shards too heavy for the machine are named', () => {
  const heavy = checkWeight(
    [{ shardId: 'big', recordCount: 6_000_000, dimension: 1_000 }],
    1_073_741_824,
  )

  expect(heavy.map(({ state, advice }) => [state, advice === null])).toEqual([
    ['warning', false],
    ['warning', false],
  ])
})

function look(path: string, options: Partial<Examination> = {}): Promise<readonly Finding[]> {
  return examine(path, { signal: new AbortController().signal, offline: true, ...options })
}

/** Names, modes and contents of everything below a folder. */
function stateOf(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .toSorted()
    .map((name) => {
      const found = lstatSync(join(folder, name))
      const isSmall = found.isFile() && found.size < 10_000_000
      const digest = isSmall
        ? createHash('sha256')
            .update(readFileSync(join(folder, name)))
            .digest('hex')
        : ''
      return `${name} ${found.mode} ${found.size} ${digest}`
    })
}
