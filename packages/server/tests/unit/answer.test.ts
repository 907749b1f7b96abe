/**
 * Answers: written in parts that are the same JSON, bounded before the work starts.
 */
import { describe, expect, test } from 'vitest'
import { AnswerBudget, ANSWER_VECTOR_BYTES_MAX } from '../../src/http/answer-budget.ts'
import { Items, jsonParts, type Parted } from '../../src/http/json-parts.ts'

async function written(value: Parted, signal = new AbortController().signal): Promise<string> {
  let text = ''
  for await (const part of jsonParts(value, signal)) text += part
  return text
}

describe('JSON in parts', () => {
  test('is what JSON.stringify writes: empty lists, nested lists, values that come last', async () => {
    const rows = [
      { id: 'a', text: 'ä"\n' },
      { id: 'b', text: null },
    ]

    expect(JSON.parse(await written({ records: new Items(rows), next: () => 7 }))).toEqual({
      records: rows,
      next: 7,
    })
    expect(await written({ records: new Items([]) })).toBe('{"records":[]}')
    const nested = new Items([[1, 2], []], (row: readonly number[]) => new Items(row))
    expect(await written({ batches: nested })).toBe('{"batches":[[1,2],[]]}')
  })

  test('the event loop gets turns, and an abort ends the work', async () => {
    const abort = new AbortController()
    let made = 0
    function* endless(): Generator<string> {
      for (;;) yield `item ${(made += 1)}`
    }
    setTimeout(() => abort.abort(new Error('gone')), 50)

    await expect(written({ items: new Items(endless()) }, abort.signal)).rejects.toThrow('gone')
    expect(made).toBeGreaterThan(0)
  })
})

describe('the budget of answers', () => {
  const size = { records: 1_000, dimension: 1_000, includeVectors: true }

  test('one answer beyond the bound is refused naming it', () => {
    const wide = { records: 600, dimension: 8_192, includeVectors: true }

    expect(() => new AnswerBudget().reserve(wide)).toThrow(String(ANSWER_VECTOR_BYTES_MAX))
    expect(() => new AnswerBudget().reserve({ ...wide, includeVectors: false })).not.toThrow()
  })

  test('answers beyond the sum wait for others to leave: HTTP_BUSY', () => {
    const budget = new AnswerBudget(6_000_000)

    const release = budget.reserve(size)
    expect(() => budget.reserve(size)).toThrow(expect.objectContaining({ code: 'HTTP_BUSY' }))
    release()
    release()

    expect(() => budget.reserve(size)).not.toThrow()
    expect(() => budget.reserve(size)).toThrow()
  })
})
