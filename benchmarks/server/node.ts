/**
 * The program of one node of this benchmark: `serve()` with the flags of its argument; one line when it is ready.
 *
 * At SIGUSR2 it says, in a line, how much processor time its main thread took between two ticks of 10 ms since the last
 * time: how long the loop is held, whatever else the machine does.
 */
import { type Flags, serve } from '../../packages/server/src/index.ts'

const TICK_MS = 10

const held: number[] = []
let before = process.threadCpuUsage()

function takenMs(): number {
  const { user, system } = process.threadCpuUsage(before)
  before = process.threadCpuUsage()
  return (user + system) / 1_000
}

setInterval(() => held.push(takenMs()), TICK_MS).unref()
process.on('SIGUSR2', () => {
  const sorted = held.splice(0).toSorted((a, b) => a - b)
  const p99Ms = sorted[Math.floor(sorted.length * 0.99)] ?? 0
  process.stdout.write(`${JSON.stringify({ p99Ms, maxMs: sorted.at(-1) ?? 0 })}\n`)
})

const flags = JSON.parse(process.argv[2] ?? '{}') as Flags
process.exitCode = await serve({
  flags,
  onReady: ({ url, syncAddress }) => {
    process.stdout.write(`${JSON.stringify({ url, syncAddress })}\n`)
  },
})
