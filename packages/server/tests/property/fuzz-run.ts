/**
 * Sends random requests (requests.ts) to a node that runs as a process of its own, and judges what it
 * answers: no 5xx that is not deliberate, every error a problem, the node alive, its event loop free.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, flagsOf, WRITER } from '../helpers/node.ts'
import { NodeProcess } from '../helpers/process.ts'
import { type Document, type FuzzRequest, Requests } from './requests.ts'

export interface FuzzReport {
  readonly requests: number
  /** Answers by status. */
  readonly statuses: ReadonlyMap<number, number>
  /** Requests whose answer must not be, with the answer. */
  readonly faults: readonly string[]
  /** Longest time that the node's event loop stood still, in milliseconds. */
  readonly blockedMsMax: number
  /** Resident memory of the node at the end, in bytes. */
  readonly residentBytes: number
}

const CONCURRENT = 8
const LOOK_EVERY = 500

/** Errors of the server's side that are answers, not faults. */
const DELIBERATE =
  /^(HTTP_(BUSY|TIMEOUT|NOT_READY|STREAMS_TOO_MANY)|STORE_(BUSY|FULL)|SYNC_|TRANSPORT_)/

export async function fuzzHttp(count: number, seed: number): Promise<FuzzReport> {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-fuzz-'))
  try {
    await using node = await NodeProcess.start({
      ...flagsOf(folder),
      'http-requests-per-minute-max': '0',
      'http-request-timeout-ms': '20000',
      // Nothing leaves the machine, whatever address a request registers.
      'sync-interval-ms': '86400000',
      'sync-retry-ms': '86400000',
      'log-level': 'error',
    })
    return await flood(new Client(node.ready.url, WRITER), count, seed)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function flood(api: Client, count: number, seed: number): Promise<FuzzReport> {
  const document = (await (await api.raw('/openapi.json')).json()) as Document
  const requests = new Requests(document, seed)
  const statuses = new Map<number, number>()
  const faults: string[] = []
  let [sent, blockedMsMax, residentBytes] = [0, 0, 0]
  await prepare(api)
  await look()
  // The start compiles schemas and code; it is not a request's doing.
  blockedMsMax = 0

  await Promise.all(Array.from({ length: CONCURRENT }, work))
  await look()
  return { requests: sent, statuses, faults, blockedMsMax, residentBytes }

  async function work(): Promise<void> {
    while (sent < count && faults.length < 10) {
      sent += 1
      const request = requests.next()
      const fault = await judge(api, request, statuses)
      if (fault !== null) faults.push(fault)
      if (sent % LOOK_EVERY === 0) {
        await prepare(api)
        await look()
      }
    }
  }

  async function look(): Promise<void> {
    const text = await (await api.raw('/metrics')).text()
    const value = (name: string): number =>
      Number(new RegExp(`^${name} (\\S+)`, 'm').exec(text)?.[1] ?? 0)
    blockedMsMax = Math.max(blockedMsMax, value('nodejs_eventloop_lag_max_seconds') * 1_000)
    residentBytes = value('process_resident_memory_bytes')
  }
}

/** Shards with records, again: requests drop them. */
async function prepare(api: Client): Promise<void> {
  for (const [shard, dimension] of [
    ['a', 3],
    ['b', 3],
    ['wide', 512],
  ] as const) {
    const put = { method: 'PUT', body: JSON.stringify({ dimension, metric: 'l2' }) }
    await (await api.raw(`/v1/shards/${shard}`, put)).arrayBuffer()
    const records = Array.from({ length: 200 }, (_, index) => ({
      id: `x${index}`,
      embedding: Array.from({ length: dimension }, (_n, at) => ((index + at) % 7) / 7),
      metadata: { year: 2_000 + index, a: { b: index } },
      text: 'some words of a text',
    }))
    const body = JSON.stringify({ records })
    await (await api.raw(`/v1/shards/${shard}/records`, { method: 'POST', body })).arrayBuffer()
  }
}

/** Null when the answer is one that may be. */
async function judge(
  api: Client,
  { method, path, headers, body, isStream }: FuzzRequest,
  statuses: Map<number, number>,
): Promise<string | null> {
  const abort = new AbortController()
  const shown = `${method} ${path} ${(body ?? '').slice(0, 2_000)}`
  try {
    const response = await api.raw(path, {
      method,
      headers,
      signal: abort.signal,
      ...(body === undefined || method === 'GET' ? {} : { body }),
    })
    const { status } = response
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    const isProblem =
      response.headers.get('content-type')?.startsWith('application/problem+json') === true
    if (isStream && status === 200) {
      abort.abort()
      return null
    }
    const text = await response.text()
    // Readiness answers 503 in its own form.
    if (status < 400 || path.startsWith('/readyz')) return null
    if (!isProblem) return `${shown}\n  ${status} is not a problem: ${text.slice(0, 300)}`
    const { code } = JSON.parse(text) as { readonly code: string }
    return status < 500 || DELIBERATE.test(code) ? null : `${shown}\n  ${status} ${text}`
  } catch (error) {
    if (abort.signal.aborted) return null
    const { message, cause } = error as Error
    return `${shown}\n  ${message} ${String(cause)}`
  }
}
