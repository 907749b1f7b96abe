/**
 * Syncs that are refused, again and again over one connection, leave no channel open on either side.
 * `REFUSED_SYNCS` gives another number of them.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createVectorDB } from '../../src/store/vector-db.ts'
import { createVectorSync } from '../../src/sync/index.ts'

const REFUSED = Number(process.env['REFUSED_SYNCS'] ?? 25)
const SHARD = 'notes'
const PATIENCE = { timeout: 20_000 }

test(
  `${REFUSED} syncs of a peer that may only read leave no channel open`,
  { timeout: 1_200_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'refused-syncs-'))
    const [dbA, dbB] = [
      await createVectorDB({ path: join(folder, 'a.db') }),
      await createVectorDB({ path: join(folder, 'b.db') }),
    ]
    {
      await using a = createVectorSync(dbA, 'a')
      await using b = createVectorSync(dbB, 'b')
      a.trust.add(b.certificatePem)
      b.trust.add(a.certificatePem)
      a.permissions.grant(b.fingerprint, SHARD, 'read')
      dbA.createShard(SHARD, { dimension: 1, metric: 'l2' })
      dbA.insert(SHARD, { id: 'of-a', embedding: [1] })
      const address = await a.listen('127.0.0.1:0')
      await b.sync(SHARD, address)
      dbB.insert(SHARD, { id: 'of-b', embedding: [2] })

      for (let index = 0; index < REFUSED; index += 1) {
        const result = await b.sync(SHARD, address, { signal: AbortSignal.timeout(20_000) })
        expect(result.pushed).toBe(false)
      }
      const open = (): number[] =>
        [a, b].map((node) => node.getSession().connections[0]?.stats.channelsOpen ?? -1)

      await expect.poll(open, PATIENCE).toEqual([0, 0])
      expect(dbA.count(SHARD)).toBe(1)
    }
    dbA.close()
    dbB.close()
    rmSync(folder, { recursive: true })
  },
)
