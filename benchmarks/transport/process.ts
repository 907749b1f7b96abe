/**
 * One end of one protocol in a process of its own: `process.ts server|client DRIVER`, told what to do over IPC.
 */
import { http2Driver } from './drivers/http2.ts'
import { quicWorkerDriver } from './drivers/quic-worker.ts'
import { quicDriver } from './drivers/quic.ts'
import { tlsDriver } from './drivers/tls.ts'
import type { Driver, DriverClient, DriverName, Keys, Usage, Work } from './messages.ts'

const DRIVERS: Readonly<Record<DriverName, Driver>> = {
  quic: quicDriver({}),
  'quic-1350': quicDriver({ datagramBytes: 1_350 }),
  'quic-cubic': quicDriver({ congestionControl: 'cubic' }),
  'quic-worker': quicWorkerDriver,
  tls: tlsDriver,
  http2: http2Driver,
}

const CHUNK_BYTES = 65_536

const [role, name, host = '127.0.0.1'] = process.argv.slice(2) as [
  'server' | 'client',
  DriverName,
  string?,
]
const driver = DRIVERS[name]
let client: DriverClient | null = null
let reconnect: (() => Promise<DriverClient>) | null = null

process.on('message', (message: unknown) => {
  void answer(message as Keys & { address?: string } & Work)
})

async function answer(message: (Keys & { readonly address?: string }) | Work): Promise<void> {
  if ('keyPem' in message) {
    if (role === 'server') process.send?.({ address: await driver.serve(message, host) })
    else {
      reconnect = () => driver.client(message, message.address ?? '')
      client = await reconnect()
      process.send?.({ ready: true })
    }
    return
  }
  process.send?.({ times: await run(message), usage: usage() })
}

async function run(work: Work): Promise<readonly number[]> {
  if (work.type === 'usage') return []
  if (client === null) throw new Error('a server runs no workloads')
  switch (work.type) {
    case 'requests': {
      const payload = new Uint8Array(work.bytes).fill(7)
      const times: number[] = []
      for (let index = 0; index < work.count; index += 1) {
        const startedMs = performance.now()
        const length = await client.request(payload)
        times.push(performance.now() - startedMs)
        if (length !== work.bytes) throw new Error(`${length} of ${work.bytes} bytes came back`)
      }
      return times
    }
    case 'upload': {
      const startedMs = performance.now()
      const upload = client.upload(new Uint8Array(CHUNK_BYTES).fill(7), work.bytes)
      const counted = await uploadInTime(upload, work.timeoutMs)
      if (counted === null) {
        // What is left of it must not disturb what is measured next.
        await client.close()
        client = (await reconnect?.()) ?? null
        return []
      }
      if (counted !== work.bytes) throw new Error(`${counted} of ${work.bytes} bytes arrived`)
      return [performance.now() - startedMs]
    }
    case 'first-answer': {
      const tookMs = await client.firstAnswer(work.how)
      return tookMs === null ? [] : [tookMs]
    }
    case 'churn':
      await client.churn(work.connections, work.channels)
      return []
    default:
      throw new Error('unknown work')
  }
}

/** Null when a limit is set and the upload is not done by then, or its connection ends before. */
async function uploadInTime(
  upload: Promise<number>,
  timeoutMs: number | undefined,
): Promise<number | null> {
  if (timeoutMs === undefined) return upload
  const timeUp = new Promise<null>((resolve) => setTimeout(resolve, timeoutMs, null).unref())
  try {
    return await Promise.race([upload, timeUp])
  } catch (error) {
    process.stderr.write(`${name}: the upload ended: ${String(error)}\n`)
    return null
  }
}

function usage(): Usage {
  globalThis.gc?.()
  const { user, system } = process.cpuUsage()
  // Kilobytes on every platform.
  return {
    cpuSeconds: (user + system) / 1e6,
    mainBusyMs: performance.eventLoopUtilization().active,
    rssBytes: process.memoryUsage.rss(),
    peakRssBytes: process.resourceUsage().maxRSS * 1_024,
  }
}
