/**
 * Full-text search in any language: what is found by which query, per shard, in files of older
 * releases, and alike on two replicas.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import * as fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { SHARD_TEXTS_STEP, STEPS, TEXT_INDEX_STEP } from '../../../../src/store/file/schema.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../../../src/store/vector-db.ts'
import type { ShardOptions, TextOptions } from '../../../../src/store/types.ts'

const folders: string[] = []

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

function file(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-texts-'))
  folders.push(folder)
  return join(folder, 'a.db')
}

const PLAIN: ShardOptions = { dimension: 1, metric: 'l2' }

/** A database with one text a record; ids are the texts. */
async function holding(texts: readonly string[], text?: TextOptions): Promise<SQLiteVectorDB> {
  const db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', text === undefined ? PLAIN : { ...PLAIN, text })
  await db.insertBatch('s', texts.map(recordOf))
  return db
}

function recordOf(text: string): { id: string; embedding: number[]; text: string } {
  return { id: text, embedding: [1], text }
}

function found(db: SQLiteVectorDB, query: string): string[] {
  return db
    .searchText('s', query, { k: 100 })
    .map(({ id }) => id)
    .toSorted()
}

describe('words in any script', () => {
  const texts = [
    'gen-itgc后50条 記録',
    '東京都に住んでいます',
    '京都の寺',
    'ภาษาไทยง่ายมาก',
    '서울에서 만나요',
    'Straße und Fluß',
    'un œuvre d’art naïve',
    'Ёлка и ель',
    'ὁ λόγος',
    'ＦＵＬＬ ｗｉｄｔｈ ﬁle',
    'call getUserName on the iPhone15',
    'the user_name field',
    'C++ and C# beside plain C',
    'the number 3.14 and 1,000',
    'Zażółć gęślą jaźń',
  ]
  const cases: readonly (readonly [query: string, hits: readonly string[]])[] = [
    ['itgc', ['gen-itgc后50条 記録']],
    ['50', ['gen-itgc后50条 記録']],
    ['后', ['gen-itgc后50条 記録']],
    ['記録', ['gen-itgc后50条 記録']],
    ['録', ['gen-itgc后50条 記録']],
    ['東京', ['東京都に住んでいます']],
    ['京都', ['京都の寺', '東京都に住んでいます']],
    ['"京都の"', ['京都の寺']],
    ['ไทย', ['ภาษาไทยง่ายมาก']],
    ['서울', ['서울에서 만나요']],
    ['strasse', ['Straße und Fluß']],
    ['FLUSS', ['Straße und Fluß']],
    ['oeuvre', ['un œuvre d’art naïve']],
    ['naive', ['un œuvre d’art naïve']],
    ['елка', ['Ёлка и ель']],
    ['λογοσ', ['ὁ λόγος']],
    ['full file', ['ＦＵＬＬ ｗｉｄｔｈ ﬁle']],
    ['username', ['call getUserName on the iPhone15'].slice(1)],
    ['getusername', ['call getUserName on the iPhone15']],
    ['user', ['call getUserName on the iPhone15', 'the user_name field']],
    ['iphone', ['call getUserName on the iPhone15']],
    ['C++', ['C++ and C# beside plain C']],
    ['c#', ['C++ and C# beside plain C']],
    ['3.14', ['the number 3.14 and 1,000']],
    ['zazolc', ['Zażółć gęślą jaźń']],
    ['get*', ['call getUserName on the iPhone15']],
    ['nothing', []],
    ['…', []],
  ]

  test.each(cases)('%s', async (query, hits) => {
    using db = await holding(texts)

    expect(found(db, query)).toEqual([...hits].toSorted())
  })

  test('a phrase is found in its order only, a prefix where it begins a word', async () => {
    using db = await holding(['red green blue', 'green red', 'greenhouse'])

    expect(found(db, '"red green"')).toEqual(['red green blue'])
    expect(found(db, 'green')).toEqual(['green red', 'red green blue'])
    expect(found(db, 'green*')).toEqual(['green red', 'greenhouse', 'red green blue'])
    expect(found(db, '"unfinished green')).toEqual(['green red', 'red green blue'])
  })
})

test('words of one stem are one word where the shard has a language', async () => {
  const texts = ['running shoes', 'he runs', 'a ruin']
  using plain = await holding(texts)
  using english = await holding(texts, { language: 'en' })
  using german = await holding(['die Häuser', 'das Haus'], { language: 'de' })

  expect(found(plain, 'run')).toEqual([])
  expect(found(english, 'run')).toEqual(['he runs', 'running shoes'])
  expect(found(english, 'shoe')).toEqual(['running shoes'])
  expect(found(english, '"running shoes"')).toEqual(['running shoes'])
  expect(found(english, 'runn*')).toEqual(['running shoes'])
  expect(found(german, 'Haus')).toEqual(['das Haus', 'die Häuser'])
})

test('trigrams find what lies within a word', async () => {
  const text = 'Donaudampfschifffahrtsgesellschaft'
  using db = await holding([text, 'part AB-1234/x', 'Schiff'], { tokenizer: 'trigram' })

  expect(found(db, 'schiff')).toEqual([text, 'Schiff'])
  expect(found(db, 'b-1234')).toEqual(['part AB-1234/x'])
  expect(found(db, 'ab')).toEqual([])
})

test('any text is a query: FTS5 refuses none', async () => {
  const texts = ['a AND b', 'NEAR(x y)', '"quoted"', 'col:umn ^start', '東京 C++ 3.14']
  using words = await holding(texts, { language: 'en' })
  using trigrams = await holding(texts, { tokenizer: 'trigram' })
  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 5 }),
    fc.constantFrom('"', '*', ' ', 'AND', 'NOT', 'NEAR(', ')', '^', ':', '-', '+', '東', 'a', '\0'),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      for (const db of [words, trigrams]) {
        expect(Array.isArray(db.searchText('s', pieces.join('')))).toBe(true)
      }
    }),
    { numRuns: 500 },
  )
})

test('every text that was written is found by itself, and by none once it is gone', async () => {
  using db = await holding([], { language: 'en' })
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => {
      const words = text.match(/[\p{L}\p{N}]/gu)
      fc.pre(words !== null && !text.includes('\0') && !text.includes('"'))
      db.upsert('s', { id: 'x', embedding: [1], text })
      const hits = db.searchText('s', text).length
      db.update('s', 'x', { text: null })
      const after = db.searchText('s', text).length
      expect([hits, after]).toEqual([1, 0])
      return Promise.resolve()
    }),
    { numRuns: 200 },
  )
})

test('a score belongs to its shard: texts of others move nothing', async () => {
  using db = await holding(['rare words', 'other things'])
  const before = db.searchText('s', 'rare words')

  db.createShard('other', PLAIN)
  const others = Array.from({ length: 50 }, (_, i) => ({ ...recordOf('rare words'), id: `o${i}` }))
  await db.insertBatch('other', others)

  expect(db.searchText('s', 'rare words')).toEqual(before)
  db.dropShard('other')
  expect(db.searchText('s', 'rare words')).toEqual(before)
})

test('a file of an older release is searched by words in any script after it is opened', async () => {
  const path = file()
  {
    using db = await createVectorDB({ path })
    db.createShard('s', PLAIN)
    await db.insertBatch('s', ['東京都', 'Straße', 'getUserName'].map(recordOf))
    db.insert('s', { id: 'none', embedding: [1] })
  }
  // As the release before this schema left it: one index for all shards, over the rows.
  const old = new DatabaseSync(path)
  old.exec(`DROP TABLE record_text_1; ALTER TABLE shard_metadata DROP COLUMN text_analysis`)
  old.exec(TEXT_INDEX_STEP)
  old.exec(`PRAGMA user_version = ${STEPS.indexOf(SHARD_TEXTS_STEP)}`)
  old.close()

  using db = await createVectorDB({ path })

  expect(found(db, '東京')).toEqual(['東京都'])
  expect(found(db, 'strasse')).toEqual(['Straße'])
  expect(db.recount('s').correct).toBe(true)
  expect(new DatabaseSync(path).prepare(`PRAGMA integrity_check`).get()).toEqual({
    integrity_check: 'ok',
  })
})

test('a count of the rows finds an index that lost, kept or changed a text, and makes it again', async () => {
  const faults = [
    'DELETE FROM record_text_1 WHERE rowid = 2',
    `INSERT INTO record_text_1 (rowid, tokens) VALUES (99, 'a ghost')`,
    `DELETE FROM record_text_1 WHERE rowid = 2;
     INSERT INTO record_text_1 (rowid, tokens) VALUES (2, 'another text of other words')`,
    'DROP TABLE record_text_1',
  ]
  for (const fault of faults) {
    const path = file()
    {
      using db = await createVectorDB({ path })
      db.createShard('s', PLAIN)
      await db.insertBatch('s', ['one text', 'two texts', 'three'].map(recordOf))
      // Some records only have a text.
      db.insert('s', { id: 'none', embedding: [1] })
      expect(db.recount('s').correct).toBe(true)
    }
    const raw = new DatabaseSync(path)
    raw.exec(fault)
    raw.close()

    using db = await createVectorDB({ path })
    expect(db.recount('s').correct, fault).toBe(false)
    expect(db.recount('s').correct, fault).toBe(true)
    expect(found(db, 'two')).toEqual(['two texts'])
    expect(found(db, 'ghost')).toEqual([])
  }
})

test('a transaction that fails leaves no index of its texts', async () => {
  using db = await createVectorDB({ path: ':memory:' })
  db.createShard('s', PLAIN)
  expect(() =>
    db.transaction(() => {
      db.insert('s', recordOf('undone'))
      throw new Error('undo')
    }),
  ).toThrow('undo')

  db.transaction(() => {
    expect(() =>
      db.transaction(() => {
        db.insert('s', recordOf('undone'))
        throw new Error('undo')
      }),
    ).toThrow('undo')
    db.insert('s', recordOf('done'))
  })

  expect(found(db, 'undone done')).toEqual(['done'])
  expect(db.recount('s').correct).toBe(true)
})

test('a tokenizer is part of the shard, and one that is none is refused by name', async () => {
  using db = await createVectorDB({ path: ':memory:' })
  const english = { ...PLAIN, text: { language: 'en' } } as const
  expect(db.createShard('s', english).text).toBe('words:en')
  expect(db.createShard('s', english).text).toBe('words:en')
  expect(db.shards()[0]?.text).toBe('words:en')

  expect(() => db.createShard('s', PLAIN)).toThrow('text is "words:en", not "words"')
  const made = (text: object): unknown => db.createShard('t', { ...PLAIN, text })
  expect(() => made({ tokenizer: 'bigram' })).toThrow('text.tokenizer must be one of')
  expect(() => made({ language: 'xx' })).toThrow('text.language must be one of')
  expect(() => made({ tokenizer: 'trigram', language: 'en' })).toThrow(
    "needs the tokenizer 'words'",
  )
  expect(() => made({ lang: 'en' })).toThrow('text: unknown option "lang"')
})
