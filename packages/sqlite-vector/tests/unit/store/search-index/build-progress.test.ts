/**
 * A build ends under searches that leave no time between them: each brings it nearer, and the index
 * answers as soon as it is filled, before it is calibrated. Needs 200 MB, so it runs with `npm run
 * test:slow` alone.
 */
import { expect, test } from 'vitest'
import { isotropic } from '../../search/data.ts'
import { temporaryDb } from '../../search/fixture.ts'

const COUNT = Number(process.env['SEARCH_BUILD_ROWS'] ?? 0)
const DIMENSION = 4_096

test.skipIf(COUNT === 0)(
  'searches one after the other find an index in the end',
  { timeout: 60_000 },
  async () => {
    await using fixture = await temporaryDb({ saveIndex: false })
    const { db } = fixture
    db.createShard('s', { dimension: DIMENSION })
    // More components than a search reads before it answers, in few rows.
    const [row = new Float32Array(DIMENSION)] = isotropic(1, DIMENSION, 1)
    db.transaction(() => {
      for (let i = 0; i < COUNT; i += 1) {
        row[i % DIMENSION] = i / COUNT
        db.insert('s', { id: `r${i}`, embedding: row })
      }
    })

    let searches = 0
    for (; db.explain('s').index.rows === null && searches < 12; searches += 1) {
      expect(db.search('s', row, { k: 1 })).toHaveLength(1)
      // One turn of the loop, as between two requests.
      await new Promise((resolve) => setImmediate(resolve))
    }

    expect(searches).toBeLessThan(12)
    expect(db.search('s', row, { k: 1 })).toEqual(db.search('s', row, { k: 1, exact: true }))
  },
)
