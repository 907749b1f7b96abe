/**
 * Histories of who answers at an address; `ADDRESS_SEEDS` gives another number of them.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { simulateAddresses } from './address-simulator.ts'

const SEEDS = Number(process.env['ADDRESS_SEEDS'] ?? 2)
const FIRST = Number(process.env['ADDRESS_SEED'] ?? 1)

test(`the peer of a connection is the node that answers, in ${SEEDS} histories`, async () => {
  const root = mkdtempSync(join(tmpdir(), 'addresses-'))
  const sum = { dials: 0, answered: 0, refused: 0, changed: 0, resumed: 0 }
  try {
    for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) {
      const tally = await simulateAddresses(seed, join(root, String(seed)))
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += tally[key]
    }
  } finally {
    rmSync(root, { recursive: true })
  }
  if (SEEDS > 100) console.log(JSON.stringify(sum))

  // A history without tickets, changes and refusals would prove little.
  expect(sum.answered).toBeGreaterThan(SEEDS)
  expect(sum.refused).toBeGreaterThan(SEEDS)
  expect(sum.resumed).toBeGreaterThan(0)
}, 1_200_000)
