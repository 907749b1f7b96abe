/**
 * An experiment: the client's QUIC transport in a worker thread, the caller on the main thread. Frames
 * cross by transfer, without a copy, with a window of chunks under way. Shows what a worker would gain for
 * the thread that also runs SQLite, and what it costs in latency.
 */
import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type { Driver, DriverClient, Keys } from '../messages.ts'
import { quicDriver } from './quic.ts'

/** Chunks handed to the worker and not taken over by the transport yet. */
const WINDOW = 32

type ToWorker =
  | { readonly type: 'request'; readonly bytes: Uint8Array }
  | { readonly type: 'begin' }
  | { readonly type: 'chunk'; readonly bytes: Uint8Array }
  | { readonly type: 'end' }

type FromWorker =
  | { readonly type: 'ready' }
  | { readonly type: 'answer'; readonly length: number }
  | { readonly type: 'taken' }

export const quicWorkerDriver: Driver = {
  serve: (keys, host) => quicDriver({}).serve(keys, host),
  async client(keys, address) {
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { keys, address },
      execArgv: ['--conditions=source'],
    })
    await once(worker, 'message')
    return workerClient(worker)
  },
}

function workerClient(worker: Worker): DriverClient {
  let underWay = 0
  const answers: ((length: number) => void)[] = []
  const room: (() => void)[] = []
  worker.on('message', (message: FromWorker) => {
    if (message.type === 'answer') answers.shift()?.(message.length)
    if (message.type !== 'taken') return
    underWay -= 1
    room.shift()?.()
  })
  const post = (message: ToWorker): void => {
    const transfer = 'bytes' in message ? [message.bytes.buffer as ArrayBuffer] : []
    worker.postMessage(message, transfer)
  }
  const answer = (): Promise<number> => new Promise((resolve) => answers.push(resolve))
  return {
    async request(bytes) {
      const answered = answer()
      post({ type: 'request', bytes: new Uint8Array(bytes) })
      return answered
    },
    async upload(chunk, total) {
      const answered = answer()
      post({ type: 'begin' })
      for (let sent = 0; sent < total; sent += chunk.length) {
        if (underWay >= WINDOW) await new Promise<void>((resolve) => room.push(resolve))
        underWay += 1
        post({ type: 'chunk', bytes: new Uint8Array(chunk) })
      }
      post({ type: 'end' })
      return answered
    },
    firstAnswer: () => Promise.resolve(null),
    churn: () => Promise.resolve(null),
    async close() {
      await worker.terminate()
    },
  }
}

function say(message: FromWorker): void {
  parentPort?.postMessage(message)
}

/** The worker's side. */
async function hostTransport(): Promise<void> {
  const { keys, address } = workerData as { keys: Keys; address: string }
  const client = await quicDriver({}).client(keys, address)
  const chunks: Uint8Array[] = []
  let wake: (() => void) | null = null
  parentPort?.on('message', (message: ToWorker) => {
    if (message.type === 'request') {
      void client.request(message.bytes).then((length) => say({ type: 'answer', length }))
    } else if (message.type === 'begin') {
      void client
        .uploadFrom(async () => {
          while (chunks.length === 0) {
            await new Promise<void>((resolve) => {
              wake = resolve
            })
          }
          const chunk = chunks.shift() as Uint8Array
          if (chunk.length > 0) say({ type: 'taken' })
          return chunk
        })
        .then((length) => say({ type: 'answer', length }))
    } else {
      chunks.push(message.type === 'chunk' ? message.bytes : new Uint8Array())
      wake?.()
    }
  })
  say({ type: 'ready' })
}

if (!isMainThread && parentPort !== null) await hostTransport()
