/**
 * SQLite's own check of a file: sound, damaged, no database, not there.
 */
import { mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { closeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkIntegrity } from '../../../../src/store/file/integrity.ts'
import { createVectorDB } from '../../../../src/store/vector-db.ts'

let folder: string
let path: string

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'integrity-'))
  path = join(folder, 'a.db')
  using db = await createVectorDB({ path })
  db.createShard('notes', { dimension: 64 })
  const records = Array.from({ length: 500 }, (_, index) => ({
    id: `r${index}`,
    embedding: new Float32Array(64).fill(index + 1),
    text: `text ${index}`,
  }))
  await db.insertBatch('notes', records)
})

afterEach(() => rmSync(folder, { recursive: true }))

test('a sound file has no complaints, also while it is open', async () => {
  using _ = await createVectorDB({ path })

  expect(checkIntegrity(path)).toEqual([])
})

test('pages that were overwritten are complained of', () => {
  const file = openSync(path, 'r+')
  // The last third holds rows and index entries; the header and the schema stay readable.
  const from = Math.floor((statSync(path).size * 2) / 3 / 4_096) * 4_096
  writeSync(file, new Uint8Array(8 * 4_096).fill(0x5a), 0, 8 * 4_096, from)
  closeSync(file)

  const found = ((): readonly string[] => {
    try {
      return checkIntegrity(path)
    } catch (error) {
      return [(error as { code: string }).code]
    }
  })()

  expect(found.length).toBeGreaterThan(0)
  expect(found.length).toBeLessThanOrEqual(20)
})

test('what is no database and what is not there are coded errors', () => {
  const text = join(folder, 'text')
  writeFileSync(text, 'no database '.repeat(1_000))

  expect(() => checkIntegrity(text)).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }))
  expect(() => checkIntegrity(join(folder, 'none'))).toThrow(
    expect.objectContaining({ code: 'STORE_IO' }),
  )
})
