/**
 * A small run of the liars' simulator; `npm run liars -- --frames 1000000` is the whole one.
 */
import { expect, test } from 'vitest'
import { runLiars } from './liars.ts'

test.each(['read', 'write'] as const)(
  'a liar that may %s changes nothing it may not, within bounds',
  async (access) => {
    const frames = Number(process.env['LIAR_FRAMES'] ?? 3_000)

    const result = await runLiars({ access, frames, seed: 7 })

    expect(result.violations).toEqual([])
    expect(result.faults).toBe(0)
    expect(result.rssGrowthMb).toBeLessThan(200)
    expect(result.frames).toBeGreaterThanOrEqual(frames)
  },
)
