/**
 * A first sync between two processes over QUIC, against plain SQLite rows shipped over TCP between the
 * same two processes. See README.md.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { bar, median, type Bar, type BenchOptions } from '../bar.ts'
import type { ReceiverCalls, Response, RunAnswer, SenderCalls } from './messages.ts'
import { makeRecords, rawBytes } from './records.ts'

export const title = 'sync: 10,000 records of 384 dimensions to a new peer, against rows over TCP'

/** Records of one batch, and of one transaction at the receiver: the default of `createVectorSync`. */
const BATCH = 256

export async function bars({ quick, log }: BenchOptions): Promise<readonly Bar[]> {
  const count = quick ? 2_000 : 10_000
  const rounds = quick ? 2 : 9
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-sync-'))
  const sender = new Process<SenderCalls>('sender.ts')
  const receiver = new Process<ReceiverCalls>('receiver.ts')
  try {
    log(`making ${count} records`)
    const source = await sender.call('open', { folder, count, batchSize: BATCH })
    const quic: RunAnswer[] = []
    const tcp: RunAnswer[] = []
    // The first round warms the code and the disk, and does not count.
    for (let round = 0; round <= rounds; round += 1) {
      const overQuic = async (): Promise<RunAnswer> => {
        const path = join(folder, `quic-${round}.db`)
        const trusted = source.certificatePem
        const { certificatePem } = await receiver.call('prepare', { path, trusted })
        await sender.call('trust', { certificatePem })
        return receiver.call('quic', { address: source.address })
      }
      const overTcp = (): Promise<RunAnswer> =>
        receiver.call('tcp', { path: join(folder, `tcp-${round}.db`), port: source.port })
      const first = round % 2 === 0 ? await overQuic() : await overTcp()
      const second = round % 2 === 0 ? await overTcp() : await overQuic()
      const [quicRun, tcpRun] = round % 2 === 0 ? [first, second] : [second, first]
      check(quicRun, count)
      check(tcpRun, count)
      log(`round ${round}: QUIC ${quicRun.ms.toFixed(0)} ms, TCP ${tcpRun.ms.toFixed(0)} ms`)
      if (round === 0) continue
      quic.push(quicRun)
      tcp.push(tcpRun)
    }
    return result(count, quic, tcp)
  } finally {
    sender.end()
    receiver.end()
    rmSync(folder, { recursive: true, force: true })
  }
}

function result(
  count: number,
  quic: readonly RunAnswer[],
  tcp: readonly RunAnswer[],
): readonly Bar[] {
  const rates = (runs: readonly RunAnswer[]): number[] => runs.map(({ ms }) => (count / ms) * 1_000)
  const ratios = quic.map(({ ms }, index) => (tcp[index]?.ms ?? Number.NaN) / ms)
  const raw = rawBytes(makeRecords(count))
  return [
    bar(`sync ${count} records, median`, median(rates(quic)), 'none', 'records/s'),
    bar('plain rows over TCP, median', median(rates(tcp)), 'none', 'records/s'),
    bar('sync / plain rows over TCP', median(ratios), '>= 0.4', 'ratio'),
    bar('frames / payload', median(quic.map(({ bytes }) => bytes)) / raw, '<= 1.05', 'ratio'),
    bar(
      'UDP payload both ways / payload',
      median(quic.map(({ wireBytes }) => wireBytes)) / raw,
      'none',
      'ratio',
    ),
    bar('TCP stream / payload', median(tcp.map(({ bytes }) => bytes)) / raw, 'none', 'ratio'),
  ]
}

/** A wrong result is never fast. */
function check(run: RunAnswer, count: number): void {
  if (run.count !== count) throw new Error(`${run.count} of ${count} records arrived`)
}

type Calls = Readonly<Record<string, { request: unknown; answer: unknown }>>

/** One of the two processes. */
class Process<C extends { readonly [K in keyof C]: Calls[string] }> {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, PromiseWithResolvers<never>>()
  #number = 0

  constructor(file: string) {
    this.#child = fork(join(import.meta.dirname, file), [], {
      execArgv: ['--conditions=source', ...profiling(file)],
    })
    this.#child.on('message', (message) => {
      const { number, answer, failure } = message as Response
      const waiting = this.#waiting.get(number)
      this.#waiting.delete(number)
      if (failure === undefined) waiting?.resolve(answer as never)
      else waiting?.reject(new Error(`${file}: ${failure}`))
    })
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${file} ended: ${code}`))
    })
  }

  call<K extends keyof C & string>(call: K, request: C[K]['request']): Promise<C[K]['answer']> {
    this.#number += 1
    const waiting = Promise.withResolvers<never>()
    this.#waiting.set(this.#number, waiting)
    this.#child.send({ number: this.#number, call, request })
    return waiting.promise
  }

  end(): void {
    if (this.#child.connected) this.#child.disconnect()
  }
}

/** `SYNC_PROFILE=folder` writes a CPU profile of each process there. */
function profiling(file: string): string[] {
  const folder = process.env['SYNC_PROFILE']
  if (folder === undefined) return []
  return ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${file}.cpuprofile`]
}
