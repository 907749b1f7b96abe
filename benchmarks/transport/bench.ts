/**
 * The QUIC transport beside node:tls and node:http2: two processes each on loopback, mutual TLS everywhere,
 * workloads interleaved round by round so that all meet the same machine. See README.md.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createIdentity } from '@agentic-flow/sqlite-vector/transport'
import { bar, median, type Bar, type BenchOptions } from '../bar.ts'
import type { DriverName, Result, Work } from './messages.ts'

export const title =
  'transport: requests and bulk over QUIC, TLS and HTTP/2, two processes on loopback'

const NAMES: readonly DriverName[] = ['quic', 'quic-1350', 'quic-worker', 'tls', 'http2']
const MEBIBYTE = 1_048_576

interface Pair {
  readonly name: DriverName
  readonly server: ChildProcess
  readonly client: ChildProcess
}

interface Figures {
  readonly small: number[]
  readonly large: number[]
  readonly rates: number[]
  readonly cpuPerGib: number[]
  readonly mainPerGib: number[]
  readonly full: number[]
  readonly resumed: number[]
  readonly early: number[]
  peakRssBytes: number
}

export async function bars(options: BenchOptions): Promise<readonly Bar[]> {
  const rounds = options.quick ? 2 : 9
  const uploadBytes = (options.quick ? 32 : 128) * MEBIBYTE
  const pairs = await Promise.all(NAMES.map(startPair))
  const figures = new Map(NAMES.map((name) => [name, emptyFigures()]))
  const slopes: Bar[] = []
  try {
    // The first round warms the code of all processes and does not count.
    for (let round = 0; round <= rounds; round += 1) {
      options.log(`round ${round} of ${rounds}`)
      for (const pair of round % 2 === 0 ? pairs : pairs.toReversed()) {
        const into = round === 0 ? emptyFigures() : (figures.get(pair.name) as Figures)
        await measure(pair, into, options.quick ? 200 : 1_000, uploadBytes)
      }
    }
    options.log('opening and closing connections')
    slopes.push(...(await memorySlopes(pairs[0] as Pair, options.quick ? 50 : 500)))
  } finally {
    for (const { server, client } of pairs) {
      client.kill()
      server.kill()
    }
  }
  return [...report(figures), ...slopes]
}

async function measure(
  pair: Pair,
  into: Figures,
  requests: number,
  uploadBytes: number,
): Promise<void> {
  const small = await ask(pair.client, { type: 'requests', bytes: 64, count: requests })
  into.small.push(...small.times)
  const large = await ask(pair.client, { type: 'requests', bytes: 150_000, count: requests / 10 })
  into.large.push(...large.times)
  for (const how of ['full', 'resumed', 'early'] as const) {
    for (let index = 0; index < 5; index += 1) {
      into[how].push(...(await ask(pair.client, { type: 'first-answer', how })).times)
    }
  }
  const before = await cpuSeconds(pair)
  const upload = await ask(pair.client, { type: 'upload', bytes: uploadBytes })
  const after = await cpuSeconds(pair)
  into.rates.push(uploadBytes / MEBIBYTE / ((upload.times[0] ?? 0) / 1_000))
  const gibibytes = uploadBytes / (1_024 * MEBIBYTE)
  into.cpuPerGib.push((after.cpu - before.cpu) / gibibytes)
  into.mainPerGib.push((after.busyMs - before.busyMs) / 1_000 / gibibytes)
  into.peakRssBytes = Math.max(into.peakRssBytes, after.rss)
}

/** Rounds of connections that come and go before memory is looked at, and between that and the second look. */
const CHURN_ROUNDS = 2

/** What memory of either process grows by with each connection that came and went, after as many to warm up. */
async function memorySlopes(pair: Pair, connections: number): Promise<readonly Bar[]> {
  const work = { type: 'churn', connections, channels: 4 } as const
  const churn = async (): Promise<readonly number[]> => {
    for (let round = 0; round < CHURN_ROUNDS; round += 1) await ask(pair.client, work)
    return Promise.all(rssOf(pair))
  }
  const before = await churn()
  const after = await churn()
  return (['client', 'server'] as const).map((role, index) => {
    const growth =
      ((after[index] ?? 0) - (before[index] ?? 0)) / (CHURN_ROUNDS * connections) / 1_024
    const name = `quic: memory per connection with 4 channels that came and went, ${role}`
    return bar(name, growth, 'none', 'KiB')
  })
}

function rssOf({ client, server }: Pair): Promise<number>[] {
  return [client, server].map(async (child) => (await ask(child, { type: 'usage' })).usage.rssBytes)
}

async function cpuSeconds({
  client,
  server,
}: Pair): Promise<{ cpu: number; rss: number; busyMs: number }> {
  const usages = [await ask(client, { type: 'usage' }), await ask(server, { type: 'usage' })]
  return {
    cpu: usages.reduce((sum, { usage }) => sum + usage.cpuSeconds, 0),
    busyMs: usages[0]?.usage.mainBusyMs ?? 0,
    rss: Math.max(...usages.map(({ usage }) => usage.peakRssBytes)),
  }
}

function report(figures: ReadonlyMap<DriverName, Figures>): readonly Bar[] {
  const of = (name: DriverName): Figures => figures.get(name) as Figures
  const ratio = (a: DriverName, b: DriverName): number =>
    median(of(a).rates.map((rate, round) => rate / (of(b).rates[round] ?? Number.NaN)))
  const result: Bar[] = [
    bar('QUIC: request of 64 B, p50', quantile(of('quic').small, 0.5), '<= 0.6', 'ms'),
    bar('QUIC: request of 150 KB, p50', quantile(of('quic').large, 0.5), '<= 2.5', 'ms'),
    bar('QUIC: one stream / node:tls', ratio('quic', 'tls'), '>= 0.15', 'ratio'),
    bar(
      'QUIC in datagrams of 1,350 B: one stream / node:tls',
      ratio('quic-1350', 'tls'),
      'none',
      'ratio',
    ),
    bar('QUIC: one stream / node:http2', ratio('quic', 'http2'), 'none', 'ratio'),
  ]
  for (const name of NAMES) {
    const { small, large, rates, cpuPerGib, mainPerGib, full, resumed, early, peakRssBytes } =
      of(name)
    result.push(
      bar(`${name}: request of 64 B, p50`, quantile(small, 0.5), 'none', 'ms'),
      bar(`${name}: request of 64 B, p99`, quantile(small, 0.99), 'none', 'ms'),
      bar(`${name}: request of 150 KB, p50`, quantile(large, 0.5), 'none', 'ms'),
      bar(`${name}: request of 150 KB, p99`, quantile(large, 0.99), 'none', 'ms'),
      bar(`${name}: one stream, median`, median(rates), 'none', 'MiB/s'),
      bar(`${name}: CPU of both processes`, median(cpuPerGib), 'none', 's/GiB'),
      bar(`${name}: the sender's main thread busy`, median(mainPerGib), 'none', 's/GiB'),
      bar(`${name}: peak memory of one process`, peakRssBytes / MEBIBYTE, 'none', 'MiB'),
    )
    if (full.length > 0) {
      result.push(bar(`${name}: connect and first answer, full`, median(full), 'none', 'ms'))
    }
    if (resumed.length > 0) {
      result.push(bar(`${name}: connect and first answer, resumed`, median(resumed), 'none', 'ms'))
    }
    if (early.length > 0) {
      result.push(bar(`${name}: connect and first answer, early data`, median(early), 'none', 'ms'))
    }
  }
  return result
}

function emptyFigures(): Figures {
  return {
    small: [],
    large: [],
    rates: [],
    cpuPerGib: [],
    mainPerGib: [],
    full: [],
    resumed: [],
    early: [],
    peakRssBytes: 0,
  }
}

async function startPair(name: DriverName): Promise<Pair> {
  const script = join(import.meta.dirname, 'process.ts')
  const [server, client] = ['server', 'client'].map((role) =>
    fork(script, [role, name], { execArgv: ['--conditions=source', '--expose-gc'] }),
  ) as [ChildProcess, ChildProcess]
  const [ofServer, ofClient] = [
    createIdentity({ nodeId: 'server' }),
    createIdentity({ nodeId: 'client' }),
  ]
  server.send({
    keyPem: ofServer.privateKeyPem(),
    certificatePem: ofServer.certificatePem,
    peerPem: ofClient.certificatePem,
  })
  const { address } = await message<{ address: string }>(server)
  client.send({
    keyPem: ofClient.privateKeyPem(),
    certificatePem: ofClient.certificatePem,
    peerPem: ofServer.certificatePem,
    address,
  })
  await message(client)
  return { name, server, client }
}

async function ask(child: ChildProcess, work: Work): Promise<Result> {
  child.send(work)
  return message<Result>(child)
}

async function message<T>(child: ChildProcess): Promise<T> {
  const waiting = new AbortController()
  try {
    return await Promise.race([
      once(child, 'message', waiting).then(([value]) => value as T),
      once(child, 'exit', waiting).then(() => {
        throw new Error('a process of the benchmark ended early')
      }),
    ])
  } finally {
    waiting.abort()
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
