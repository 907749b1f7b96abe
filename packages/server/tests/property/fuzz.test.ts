/**
 * A short run of the HTTP fuzzer; `npm run fuzz:http` runs a long one.
 */
import { expect, test } from 'vitest'
import { fuzzHttp } from './fuzz-run.ts'

test('random requests from the OpenAPI document never break a node', async () => {
  const seed = Math.floor(Date.now() / 1_000)
  const { faults, requests } = await fuzzHttp(400, seed)

  expect(faults, `seed ${seed}`).toEqual([])
  expect(requests).toBe(400)
})
