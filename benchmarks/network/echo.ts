/**
 * Bare UDP at both ends of the path: what a round trip takes without any protocol.
 * `echo.ts server HOST` sends back what comes; `echo.ts client HOST` measures when it is told to.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

const PORT = 7_007
const DATAGRAM_BYTES = 64
const ANSWER_MS_MAX = 1_000

const [role, host = ''] = process.argv.slice(2)
const socket = createSocket('udp4')

if (role === 'server') {
  socket.on('message', (datagram, { address, port }) => socket.send(datagram, port, address))
  socket.bind(PORT, host)
} else {
  process.on('message', (rounds: number) => {
    void measure(rounds).then((times) => process.send?.(times))
  })
  socket.bind()
}
await once(socket, 'listening')
process.send?.('ready')

/** Milliseconds of each round trip that was completed. */
async function measure(rounds: number): Promise<readonly number[]> {
  const times: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const startedMs = performance.now()
    socket.send(new Uint8Array(DATAGRAM_BYTES), PORT, host)
    try {
      await once(socket, 'message', { signal: AbortSignal.timeout(ANSWER_MS_MAX) })
      times.push(performance.now() - startedMs)
    } catch {
      // Lost on the way: no round trip.
    }
  }
  return times
}
