/**
 * A node in a process of its own, for tests that kill it: `listen-node.ts FOLDER ADDRESS`. Keeps identity,
 * trust and tickets in the folder, echoes every frame, prints the bound address and its own memory.
 */
import { createInterface } from 'node:readline'
import { openIdentity } from '../../src/transport/identity/identity.ts'
import { QuicTransport } from '../../src/transport/quic/transport.ts'
import { TicketStore } from '../../src/transport/quic/tickets.ts'
import { TrustList } from '../../src/transport/identity/trust.ts'
import type { Channel, Connection } from '../../src/transport/types.ts'

const [folder = '', address = ''] = process.argv.slice(2)
const transport = await QuicTransport.create({
  identity: openIdentity(folder),
  trust: TrustList.open(folder),
  tickets: TicketStore.open(folder),
})
process.stdout.write(`${await transport.listen(address)}\n`)

async function echo(channel: Channel): Promise<void> {
  for (let frame = await channel.receive(); frame !== null; frame = await channel.receive()) {
    await channel.send(frame)
  }
  await channel.finish()
}

async function serve(connection: Connection): Promise<void> {
  for await (const channel of connection.channels()) {
    // A dialler may go away at any moment: that is what these tests are about.
    echo(channel).catch(() => {})
  }
}

/** Every line asks for the memory in use. */
async function answerQuestions(): Promise<void> {
  for await (const _ of createInterface({ input: process.stdin })) {
    globalThis.gc?.()
    process.stdout.write(`${process.memoryUsage.rss()}\n`)
  }
  await transport.close()
}

await Promise.all([
  answerQuestions(),
  (async () => {
    for await (const connection of transport.accept()) serve(connection).catch(() => {})
  })(),
])
