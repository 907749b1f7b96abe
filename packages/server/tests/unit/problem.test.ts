/**
 * Errors as answers: whose fault it is decides the status, and a fault of the node says nothing of its inside.
 */
import { expect, test } from 'vitest'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector'
import { HttpError } from '../../src/http/errors.ts'
import { problemOf } from '../../src/http/problem.ts'

test.each([
  ['STORE_SHARD_UNKNOWN', 404],
  ['STORE_RECORD_EXISTS', 409],
  ['STORE_QUERY_TOO_COSTLY', 400],
  ['STORE_BUSY', 503],
  ['STORE_FULL', 507],
  ['STORE_CORRUPT', 500],
  ['SYNC_DIVERGED', 502],
  ['TRANSPORT_PEER_UNTRUSTED', 502],
  ['TRANSPORT_DIAL_FAILED', 504],
] as const)('%s is %i', (code, status) => {
  const problem = problemOf(new SqliteVectorError(code, 'what happened'))

  expect(problem).toMatchObject({ status, code, detail: 'what happened' })
  expect(problem.type).toBe(`urn:sqlite-vector:error:${code}`)
  expect(problem.title).not.toBe('')
})

test('a refusal of the API keeps its code', () => {
  const problem = problemOf(new HttpError('HTTP_RATE_LIMITED', 'wait'))

  expect(problem).toMatchObject({ status: 429, code: 'HTTP_RATE_LIMITED', retryable: true })
})

test('a wrong argument is the caller’s fault, in the words of the library', () => {
  const problem = problemOf(new RangeError('k must be an integer from 1 to 10000, got 0'))

  expect(problem).toMatchObject({ status: 400, code: 'HTTP_INPUT_INVALID' })
  expect(problem.detail).toContain('k must be')
})

/** Makes the engine throw. */
function thrownBy(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    return error
  }
}

test.each([
  thrownBy(() => (null as unknown as { x: number }).x),
  thrownBy(() => (undefined as unknown as () => void)()),
  thrownBy(() => [...(1 as unknown as number[])]),
  thrownBy(() => new Uint8Array(-1)),
  thrownBy(() => Array.from({ length: -1 }).concat(Array.from<number>({ length: 2 ** 40 }))),
  new Error('anything else'),
  'no error at all',
])('%s is a fault of the node, and is not told', (error) => {
  expect(problemOf(error)).toMatchObject({
    status: 500,
    code: 'HTTP_INTERNAL',
    detail: 'the node failed to answer',
  })
})

test('a detail names files and never the folders above them; ids keep their slashes', () => {
  const io = problemOf(
    new SqliteVectorError('STORE_IO', "cannot write '/srv/tenant-7/data/notes.db': no such folder"),
  )
  const id = problemOf(
    new SqliteVectorError('STORE_RECORD_UNKNOWN', 'no record "/a/b" in shard "x/y"'),
  )

  expect(io.detail).toBe("cannot write 'notes.db': no such folder")
  expect(id.detail).toBe('no record "/a/b" in shard "x/y"')
})
