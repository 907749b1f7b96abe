/**
 * Opens one identity folder from several threads at the same moment and prints what each got.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { openIdentity } from '../../../../src/transport/identity/identity.ts'

interface Race {
  readonly folder: string
  readonly gate: Int32Array
}

if (isMainThread) {
  const [folder = '', count = '1'] = process.argv.slice(2)
  const gate = new Int32Array(new SharedArrayBuffer(4))
  let ready = 0
  for (let index = 0; index < Number(count); index += 1) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { folder, gate } })
    worker.on('message', (message: string) => {
      if (message !== 'ready') {
        console.log(message)
        return
      }
      ready += 1
      if (ready < Number(count)) return
      Atomics.store(gate, 0, 1)
      Atomics.notify(gate, 0)
    })
  }
} else {
  const { folder, gate } = workerData as Race
  parentPort?.postMessage('ready')
  Atomics.wait(gate, 0, 0)
  parentPort?.postMessage(openIdentity(folder).fingerprint)
}
