/**
 * QUIC beside TLS over TCP on paths with delay and loss: time to the first answer and throughput, both in the
 * same run over the same emulated path. See README.md.
 */
import { once } from 'node:events'
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createIdentity } from '@agentic-flow/sqlite-vector/transport'
import { bar, median, type Bar, type BenchOptions } from '../bar.ts'
import type { DriverName, Result, Work } from '../transport/messages.ts'
import { EmulatedPath, missing } from './path.ts'

export const title =
  'network: QUIC and TLS over TCP on emulated paths of 50 ms round trip with loss'

const NAMES = ['quic', 'quic-cubic', 'tls'] as const satisfies readonly DriverName[]
type Name = (typeof NAMES)[number]

const RTT_MS = 50
const MEBIBYTE = 1_048_576
const UPLOADS = [
  { loss: 0, bytes: 8 * MEBIBYTE },
  { loss: 0.01, bytes: 8 * MEBIBYTE },
  { loss: 0.05, bytes: 2 * MEBIBYTE },
]
/** What an upload may take before it counts as not done. */
const UPLOAD_MS_MAX = 60_000

export async function bars(options: BenchOptions): Promise<readonly Bar[]> {
  const reason = missing()
  if (reason !== null) throw new Error(`this suite emulates a network: ${reason}`)
  const rounds = options.quick ? 1 : 5
  await using path = await EmulatedPath.open()
  await path.behave({ delayMs: RTT_MS / 2 })
  const clients = new Map<Name, ChildProcess>()
  for (const name of NAMES) clients.set(name, await startPair(path, name))
  const result: Bar[] = []
  for (const how of ['full', 'resumed', 'early'] as const) {
    options.log(`first answer, ${how}`)
    result.push(...(await firstAnswers(clients, how, rounds)))
  }
  for (const { loss, bytes } of UPLOADS) {
    options.log(`${bytes / MEBIBYTE} MiB at ${loss * 100} % loss`)
    await path.behave({ loss })
    result.push(...(await uploads(clients, `at ${loss * 100} % loss`, bytes, rounds)))
  }
  await path.behave({ loss: 0, rateMbit: 100 })
  options.log('24 MiB through a bottleneck of 100 Mbit/s')
  result.push(...(await bottleneck(clients, rounds)))
  await path.behave({ loss: 0.01 })
  options.log('8 MiB through that bottleneck at 1 % loss')
  result.push(...(await uploads(clients, 'through 100 Mbit/s at 1 % loss', 8 * MEBIBYTE, rounds)))
  return result
}

async function firstAnswers(
  clients: ReadonlyMap<Name, ChildProcess>,
  how: 'full' | 'resumed' | 'early',
  rounds: number,
): Promise<readonly Bar[]> {
  const goals = { full: '<= 2.1', resumed: '<= 2.1', early: '<= 1.1' }
  const result: Bar[] = []
  for (const name of NAMES) {
    if (name === 'quic-cubic') continue
    const times: number[] = []
    for (let round = 0; round < rounds * 2 + 1; round += 1) {
      const answer = await ask(clients.get(name), { type: 'first-answer', how })
      if (round > 0) times.push(...answer.times)
    }
    if (times.length === 0) continue
    const goal = name === 'quic' ? goals[how] : 'none'
    result.push(bar(`${name}: first answer, ${how}, median`, median(times) / RTT_MS, goal, 'RTT'))
  }
  return result
}

async function uploads(
  clients: ReadonlyMap<Name, ChildProcess>,
  path: string,
  bytes: number,
  rounds: number,
): Promise<readonly Bar[]> {
  const rates = await rateOf(clients, bytes, rounds)
  const ratio = median(rates.quic) / median(rates.tls)
  return [
    ...NAMES.map((name) =>
      bar(`${name}: one stream ${path}, median`, median(rates[name]), 'none', 'MiB/s'),
    ),
    bar(`QUIC / TLS over TCP ${path}`, ratio, path === 'at 0 % loss' ? 'none' : '>= 1', 'ratio'),
  ]
}

async function bottleneck(
  clients: ReadonlyMap<Name, ChildProcess>,
  rounds: number,
): Promise<readonly Bar[]> {
  const rates = await rateOf(clients, 24 * MEBIBYTE, rounds)
  return NAMES.map((name) =>
    bar(`${name}: one stream through 100 Mbit/s, median`, median(rates[name]), 'none', 'MiB/s'),
  )
}

/** Rounds in which all take turns; a rate of 0 is an upload that was not done in time. */
async function rateOf(
  clients: ReadonlyMap<Name, ChildProcess>,
  bytes: number,
  rounds: number,
): Promise<Record<Name, number[]>> {
  const rates: Record<Name, number[]> = { quic: [], 'quic-cubic': [], tls: [] }
  for (let round = 0; round < rounds; round += 1) {
    for (const name of round % 2 === 0 ? NAMES : NAMES.toReversed()) {
      const work = { type: 'upload', bytes, timeoutMs: UPLOAD_MS_MAX } as const
      const [tookMs] = (await ask(clients.get(name), work)).times
      rates[name].push(tookMs === undefined ? 0 : bytes / MEBIBYTE / (tookMs / 1_000))
    }
  }
  return rates
}

async function startPair(path: EmulatedPath, name: Name): Promise<ChildProcess> {
  const script = join(import.meta.dirname, '../transport/process.ts')
  const server = path.start('b', script, ['server', name, path.address('b')])
  const client = path.start('a', script, ['client', name])
  const [ofServer, ofClient] = [createIdentity(), createIdentity()]
  server.send({
    keyPem: ofServer.privateKeyPem(),
    certificatePem: ofServer.certificatePem,
    peerPem: ofClient.certificatePem,
  })
  const [{ address }] = (await once(server, 'message')) as [{ address: string }]
  client.send({
    keyPem: ofClient.privateKeyPem(),
    certificatePem: ofClient.certificatePem,
    peerPem: ofServer.certificatePem,
    address,
  })
  await once(client, 'message')
  return client
}

async function ask(client: ChildProcess | undefined, work: Work): Promise<Result> {
  if (client === undefined) throw new Error('no such client')
  const waiting = new AbortController()
  client.send(work)
  try {
    return await Promise.race([
      once(client, 'message', waiting).then(([result]) => result as Result),
      once(client, 'exit', waiting).then(() => {
        throw new Error('a client of the benchmark ended early')
      }),
    ])
  } finally {
    waiting.abort()
  }
}
