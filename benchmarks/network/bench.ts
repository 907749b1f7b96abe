/**
 * QUIC beside TLS over TCP on paths with delay and loss: time to the first answer and throughput, both in the
 * same run over the same emulated path. Every figure is said as soon as it is there, and every part has a
 * time of its own, so that the whole stays below eight minutes whatever the path does. See README.md.
 */
import { once } from 'node:events'
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createIdentity } from '@agentic-flow/sqlite-vector/transport'
import { bar, median, type Bar, type BenchOptions } from '../bar.ts'
import type { DriverName, Result, Work } from '../transport/messages.ts'
import { EmulatedPath, missing, type PathBehaviour } from './path.ts'

export const title =
  'network: QUIC and TLS over TCP on emulated paths of 50 ms round trip with loss'

const NAMES = ['quic', 'quic-cubic', 'tls'] as const satisfies readonly DriverName[]
type Name = (typeof NAMES)[number]

const DELAY_MS = 25
const MEBIBYTE = 1_048_576

interface Condition {
  readonly name: string
  readonly behaviour: PathBehaviour
  readonly bytes: number
  /** Of QUIC's rate over that of TLS. */
  readonly goal: string
}

const CONDITIONS: readonly Condition[] = [
  { name: 'at 0 % loss', behaviour: { loss: 0 }, bytes: 8 * MEBIBYTE, goal: 'none' },
  { name: 'at 1 % loss', behaviour: { loss: 0.01 }, bytes: 8 * MEBIBYTE, goal: '>= 1' },
  { name: 'at 5 % loss', behaviour: { loss: 0.05 }, bytes: 2 * MEBIBYTE, goal: '>= 1' },
  {
    name: 'through 100 Mbit/s',
    behaviour: { loss: 0, rateMbit: 100 },
    bytes: 24 * MEBIBYTE,
    goal: 'none',
  },
  {
    name: 'through 100 Mbit/s at 1 % loss',
    behaviour: { loss: 0.01, rateMbit: 100 },
    bytes: 8 * MEBIBYTE,
    goal: '>= 1',
  },
  {
    name: 'through 100 Mbit/s at 5 % loss',
    behaviour: { loss: 0.05, rateMbit: 100 },
    bytes: 2 * MEBIBYTE,
    goal: '>= 1',
  },
]

/** No round of a condition starts later than this after its first one. */
const CONDITION_MS_MAX = 45_000
/** What an upload may take before it counts as not done. */
const UPLOAD_MS_MAX = 12_000
/** CUBIC often takes all of that; its first round still has the window of the path before. */
const CUBIC_ROUNDS = 3
const ANSWER_MS_MAX = 30_000

export async function bars(options: BenchOptions): Promise<readonly Bar[]> {
  const reason = missing()
  if (reason !== null) throw new Error(`this suite emulates a network: ${reason}`)
  const rounds = options.quick ? 1 : 9
  await using path = await EmulatedPath.open()
  await path.behave({ delayMs: DELAY_MS })
  const result: Bar[] = []
  const report = (...found: readonly Bar[]): void => {
    for (const { name, value, unit } of found) {
      options.log(`${name}: ${value.toPrecision(4)} ${unit}`)
    }
    result.push(...found)
  }
  const roundTripMs = await bareRoundTrip(path, options.quick ? 10 : 40)
  report(bar('a bare datagram there and back, median', roundTripMs, 'none', 'ms'))
  const clients = new Map<Name, ChildProcess>()
  for (const name of NAMES) clients.set(name, await startPair(path, name))
  for (const how of ['full', 'resumed', 'early'] as const) {
    for (const name of ['quic', 'tls'] as const) {
      report(...(await firstAnswers(clients.get(name), { name, how, rounds, roundTripMs })))
    }
  }
  for (const condition of CONDITIONS) {
    await path.behave({ rateMbit: 0, ...condition.behaviour })
    report(...(await uploads(clients, condition, rounds)))
  }
  return result
}

/** What everything here is compared with: the emulator and both kernels take their time, too. */
async function bareRoundTrip(path: EmulatedPath, rounds: number): Promise<number> {
  const script = join(import.meta.dirname, 'echo.ts')
  const [server, client] = (['b', 'a'] as const).map((end) =>
    path.start(end, script, [end === 'b' ? 'server' : 'client', path.address('b')]),
  ) as [ChildProcess, ChildProcess]
  await Promise.all([once(server, 'message'), once(client, 'message')])
  client.send(rounds)
  const [times] = (await once(client, 'message')) as [readonly number[]]
  client.kill()
  server.kill()
  return median(times)
}

interface FirstAnswers {
  readonly name: Name
  readonly how: 'full' | 'resumed' | 'early'
  readonly rounds: number
  readonly roundTripMs: number
}

async function firstAnswers(
  client: ChildProcess | undefined,
  { name, how, rounds, roundTripMs }: FirstAnswers,
): Promise<readonly Bar[]> {
  const goals = { full: '<= 2.1', resumed: '<= 2.1', early: '<= 1.1' }
  const times: number[] = []
  // Handshakes are code that is cold: the first ones of each kind do not count.
  const coldRounds = 3
  for (let round = 0; round < rounds * 2 + coldRounds; round += 1) {
    const answer = await ask(client, { type: 'first-answer', how })
    if (round >= coldRounds) times.push(...answer.times)
  }
  if (times.length === 0) return []
  const goal = name === 'quic' ? goals[how] : 'none'
  return [
    bar(`${name}: first answer, ${how}, median`, median(times) / roundTripMs, goal, 'round trips'),
  ]
}

/** Rounds in which all take turns; a rate of 0 is an upload that was not done in time. */
async function uploads(
  clients: ReadonlyMap<Name, ChildProcess>,
  { name: path, bytes, goal }: Condition,
  rounds: number,
): Promise<readonly Bar[]> {
  const rates: Record<Name, number[]> = { quic: [], 'quic-cubic': [], tls: [] }
  const startedMs = performance.now()
  for (let round = 0; round < rounds; round += 1) {
    if (performance.now() - startedMs > CONDITION_MS_MAX) break
    for (const name of round % 2 === 0 ? NAMES : NAMES.toReversed()) {
      if (name === 'quic-cubic' && round >= CUBIC_ROUNDS) continue
      const work = { type: 'upload', bytes, timeoutMs: UPLOAD_MS_MAX } as const
      const [tookMs] = (await ask(clients.get(name), work)).times
      rates[name].push(tookMs === undefined ? 0 : bytes / MEBIBYTE / (tookMs / 1_000))
    }
  }
  const of = (name: Name): string =>
    rates[name].length === 1 ? 'once' : `median of ${rates[name].length}`
  return [
    ...NAMES.map((name) =>
      bar(`${name}: one stream ${path}, ${of(name)}`, median(rates[name]), 'none', 'MiB/s'),
    ),
    bar(`QUIC / TLS over TCP ${path}`, median(rates.quic) / median(rates.tls), goal, 'ratio'),
  ]
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
  const { signal } = waiting
  const timer = setTimeout(() => waiting.abort(new Error('a client gave no answer')), ANSWER_MS_MAX)
  client.send(work)
  try {
    return await Promise.race([
      once(client, 'message', { signal }).then(([result]) => result as Result),
      once(client, 'exit', { signal }).then(() => {
        throw new Error('a client of the benchmark ended early')
      }),
    ])
  } finally {
    clearTimeout(timer)
    waiting.abort()
  }
}
