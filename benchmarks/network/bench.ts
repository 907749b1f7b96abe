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
import { EmulatedPath, missing, type PathBehaviour, tcpCongestionControl } from './path.ts'

export const title =
  'network: QUIC and TLS over TCP on emulated paths of 50 ms round trip with loss'

/** What takes turns; TLS once with the congestion control that the kernel is set to, once with that of most systems. */
const DRIVERS = {
  quic: 'quic',
  'quic-cubic': 'quic-cubic',
  tls: 'tls',
  'tls-cubic': 'tls',
} as const satisfies Readonly<Record<string, DriverName>>
type Name = keyof typeof DRIVERS
const NAMES = Object.keys(DRIVERS) as readonly Name[]
/** They take seconds where packets are lost: less of them says enough. */
const SLOW: ReadonlySet<Name> = new Set(['quic-cubic', 'tls-cubic'])
const SLOW_ROUNDS = 3
const SLOW_SHARE = 1 / 4

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
  const kernels = tcpCongestionControl()
  for (const name of ['quic', 'tls'] as const) {
    await using pair = await Pair.start(path, name)
    for (const how of ['full', 'resumed', 'early'] as const) {
      report(...(await firstAnswers(pair, { name, how, rounds, roundTripMs })))
    }
  }
  for (const condition of CONDITIONS) {
    await path.behave({ rateMbit: 0, ...condition.behaviour })
    report(...(await uploads(path, { kernels, condition, rounds })))
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
  pair: Pair,
  { name, how, rounds, roundTripMs }: FirstAnswers,
): Promise<readonly Bar[]> {
  const goals = { full: '<= 2.1', resumed: '<= 2.1', early: '<= 1.1' }
  const times: number[] = []
  // Handshakes are code that is cold: the first ones of each kind do not count.
  const coldRounds = 3
  for (let round = 0; round < rounds * 2 + coldRounds; round += 1) {
    const answer = await pair.ask({ type: 'first-answer', how })
    if (round >= coldRounds) times.push(...answer.times)
  }
  if (times.length === 0) return []
  const goal = name === 'quic' ? goals[how] : 'none'
  return [
    bar(`${name}: first answer, ${how}, median`, median(times) / roundTripMs, goal, 'round trips'),
  ]
}

interface Uploads {
  /** Congestion control that the kernel is set to. */
  readonly kernels: string
  readonly condition: Condition
  readonly rounds: number
}

/** Rounds in which all take turns; a rate of 0 is an upload that was not done in time. */
async function uploads(
  path: EmulatedPath,
  { kernels, condition, rounds }: Uploads,
): Promise<readonly Bar[]> {
  const { name: where, goal } = condition
  await using stack = new AsyncDisposableStack()
  // Connections of their own: what the path before did to a window is not this one's.
  const pairs = new Map<Name, Pair>()
  for (const name of NAMES) {
    path.setTcpCongestionControl(name === 'tls-cubic' ? 'cubic' : kernels)
    pairs.set(name, stack.use(await Pair.start(path, DRIVERS[name])))
  }
  const rates: Record<Name, number[]> = { quic: [], 'quic-cubic': [], tls: [], 'tls-cubic': [] }
  const startedMs = performance.now()
  for (let round = 0; round < rounds; round += 1) {
    if (performance.now() - startedMs > CONDITION_MS_MAX) break
    for (const name of round % 2 === 0 ? NAMES : NAMES.toReversed()) {
      const isSlow = SLOW.has(name)
      if (isSlow && round >= SLOW_ROUNDS) continue
      path.setTcpCongestionControl(name === 'tls-cubic' ? 'cubic' : kernels)
      const bytes = condition.bytes * (isSlow ? SLOW_SHARE : 1)
      const work = { type: 'upload', bytes, timeoutMs: UPLOAD_MS_MAX } as const
      const [tookMs] = (await askOf(pairs, name, work)).times
      rates[name].push(tookMs === undefined ? 0 : bytes / MEBIBYTE / (tookMs / 1_000))
    }
  }
  const of = (name: Name): string => {
    const how = name === 'tls' ? ` (TCP ${kernels})` : ''
    const { length } = rates[name]
    return `${name}${how}: one stream ${where}, ${length === 1 ? 'once' : `median of ${length}`}`
  }
  const ratio = (name: Name, control: string): Bar =>
    bar(
      `QUIC / TLS over TCP (${control}) ${where}`,
      median(rates.quic) / median(rates[name]),
      goal,
      'ratio',
    )
  return [
    ...NAMES.map((name) => bar(of(name), median(rates[name]), 'none', 'MiB/s')),
    ratio('tls', kernels),
    ratio('tls-cubic', 'cubic'),
  ]
}

function askOf(pairs: ReadonlyMap<Name, Pair>, name: Name, work: Work): Promise<Result> {
  const pair = pairs.get(name)
  if (pair === undefined) throw new Error(`nothing was started for ${name}`)
  return pair.ask(work)
}

/** A server at one end of the path, and a client at the other that knows it. */
class Pair implements AsyncDisposable {
  readonly #client: ChildProcess
  readonly #server: ChildProcess

  private constructor(client: ChildProcess, server: ChildProcess) {
    this.#client = client
    this.#server = server
  }

  static async start(path: EmulatedPath, driver: DriverName): Promise<Pair> {
    const script = join(import.meta.dirname, '../transport/process.ts')
    const server = path.start('b', script, ['server', driver, path.address('b')])
    const client = path.start('a', script, ['client', driver])
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
    return new Pair(client, server)
  }

  async ask(work: Work): Promise<Result> {
    const waiting = new AbortController()
    const { signal } = waiting
    const noAnswer = (): void => waiting.abort(new Error('a client gave no answer'))
    const timer = setTimeout(noAnswer, ANSWER_MS_MAX)
    this.#client.send(work)
    try {
      return await Promise.race([
        once(this.#client, 'message', { signal }).then(([result]) => result as Result),
        once(this.#client, 'exit', { signal }).then(() => {
          throw new Error('a client of the benchmark ended early')
        }),
      ])
    } finally {
      clearTimeout(timer)
      waiting.abort()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of [this.#client, this.#server]) {
      const exit = once(child, 'exit')
      child.kill()
      await exit
    }
  }
}
