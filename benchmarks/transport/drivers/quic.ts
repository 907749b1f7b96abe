/**
 * The QUIC transport of this library: a channel for each request, one channel for an upload.
 */
import { createPrivateKey } from 'node:crypto'
import {
  type Channel,
  type Connection,
  NodeIdentity,
  QuicTransport,
  type QuicTransportOptions,
  TicketStore,
  TrustList,
} from '@agentic-flow/sqlite-vector/transport'
import type { Driver, DriverClient, Keys } from '../messages.ts'

/** What the worker's side needs besides. */
export interface QuicDriverClient extends DriverClient {
  /** Sends what `next` gives until that is empty; resolves with what the server counted. */
  uploadFrom(next: () => Promise<Uint8Array>): Promise<number>
}

export interface QuicDriver extends Driver {
  client(keys: Keys, address: string): Promise<QuicDriverClient>
}

/** The first frame of a channel that is an upload; anything else is a request. */
const UPLOAD = Uint8Array.of(1)

export function quicDriver(
  options: Pick<QuicTransportOptions, 'datagramBytes' | 'congestionControl'>,
): QuicDriver {
  const open = (keys: Keys, tickets = TicketStore.inMemory()): Promise<QuicTransport> => {
    const trust = TrustList.inMemory()
    trust.add(keys.peerPem)
    const identity = new NodeIdentity(createPrivateKey(keys.keyPem), keys.certificatePem)
    return QuicTransport.create({ identity, trust, tickets, idleCloseMs: 0, ...options })
  }
  return {
    async serve(keys, host) {
      const transport = await open(keys)
      const accept = async (): Promise<void> => {
        for await (const connection of transport.accept()) void serveConnection(connection)
      }
      void accept()
      return transport.listen(`${host}:0`)
    },
    async client(keys, address) {
      const transport = await open(keys)
      const connection = await transport.dial(address)
      return quicClient(connection, address, (tickets) => open(keys, tickets))
    },
  }
}

async function serveConnection(connection: Connection): Promise<void> {
  for await (const channel of connection.channels()) {
    // A client that goes away has its measurements already.
    serveChannel(channel).catch(() => {})
  }
}

async function serveChannel(channel: Channel): Promise<void> {
  const first = await channel.receive()
  if (first === null) return
  if (first.length !== 1) {
    await channel.send(first)
    await channel.finish()
    await channel.receive()
    return
  }
  let bytes = 0
  for (let frame = await channel.receive(); frame !== null; frame = await channel.receive()) {
    bytes += frame.length
  }
  await channel.send(new Uint8Array(new BigUint64Array([BigInt(bytes)]).buffer))
  await channel.finish()
}

async function request(connection: Connection, bytes: Uint8Array): Promise<number> {
  // Only where the connection was dialled early does this make a difference.
  const channel = await connection.openChannel({ early: true })
  const [answer] = await Promise.all([
    channel.receive(),
    channel.send(bytes).then(() => channel.finish()),
  ])
  await channel.receive()
  return answer?.length ?? 0
}

function quicClient(
  connection: Connection,
  address: string,
  open: (tickets: TicketStore) => Promise<QuicTransport>,
): QuicDriverClient {
  const tickets = TicketStore.inMemory()
  const uploadFrom = async (next: () => Promise<Uint8Array>): Promise<number> => {
    const channel = await connection.openChannel()
    await channel.send(UPLOAD)
    for (let chunk = await next(); chunk.length > 0; chunk = await next()) await channel.send(chunk)
    await channel.finish()
    const answer = await channel.receive()
    await channel.receive()
    if (answer === null) throw new Error('the server did not count')
    return Number(new BigUint64Array(answer.buffer, answer.byteOffset, 1)[0])
  }
  return {
    request: (bytes) => request(connection, bytes),
    uploadFrom,
    upload(chunk, total) {
      let sent = 0
      const nothing = new Uint8Array()
      return uploadFrom(() => {
        sent += chunk.length
        return Promise.resolve(sent > total ? nothing : chunk)
      })
    },
    async firstAnswer(how) {
      await using transport = await open(how === 'full' ? TicketStore.inMemory() : tickets)
      if (how !== 'full' && tickets.get(address) === null) {
        const visit = await transport.dial(address)
        await request(visit, new Uint8Array(64))
        await visit.close()
      }
      const startedMs = performance.now()
      const fresh = await transport.dial(address, { early: how !== 'resumed' })
      await request(fresh, new Uint8Array(64))
      return performance.now() - startedMs
    },
    async churn(connections, channels) {
      await using transport = await open(tickets)
      for (let index = 0; index < connections; index += 1) {
        const fresh = await transport.dial(address)
        for (let count = 0; count < channels; count += 1) await request(fresh, new Uint8Array(64))
        await fresh.close()
      }
    },
    close: () => connection.close(),
  }
}
