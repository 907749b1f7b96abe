/**
 * A transport whose channels break at a chosen frame: everything else is the transport underneath.
 */
import { SqliteVectorError } from '../../src/errors.ts'
import type { Channel, Connection, Transport } from '../../src/transport/types.ts'

/** Counts the frames that our side handles, and breaks the channel of the `cutAt`-th, from 1. */
export class Cut {
  readonly cutAt: number
  frames = 0

  constructor(cutAt: number) {
    this.cutAt = cutAt
  }

  get done(): boolean {
    return this.frames >= this.cutAt
  }

  /** Counts a frame. @throws `TRANSPORT_ABORTED` at the chosen one */
  count(channel: Channel): void {
    this.frames += 1
    if (this.frames !== this.cutAt) return
    channel.abort('cut by the test')
    throw new SqliteVectorError('TRANSPORT_ABORTED', 'cut by the test')
  }
}

export function cuttingTransport(transport: Transport, cut: Cut): Transport {
  return {
    identity: transport.identity,
    listen: (address) => transport.listen(address),
    dial: async (address, options) => cutting(await transport.dial(address, options), cut),
    async *accept() {
      for await (const connection of transport.accept()) yield cutting(connection, cut)
    },
    close: () => transport.close(),
    [Symbol.asyncDispose]: () => transport.close(),
  }
}

function cutting(connection: Connection, cut: Cut): Connection {
  return {
    peer: connection.peer,
    remoteAddress: connection.remoteAddress,
    closed: connection.closed,
    openChannel: async (options) => cuttingChannel(await connection.openChannel(options), cut),
    async *channels() {
      for await (const channel of connection.channels()) yield cuttingChannel(channel, cut)
    },
    stats: () => connection.stats(),
    close: (reason) => connection.close(reason),
    [Symbol.asyncDispose]: () => connection.close(),
  }
}

function cuttingChannel(channel: Channel, cut: Cut): Channel {
  return {
    async send(frame, options) {
      cut.count(channel)
      await channel.send(frame, options)
    },
    async receive(options) {
      const frame = await channel.receive(options)
      if (frame !== null) cut.count(channel)
      return frame
    },
    finish: () => channel.finish(),
    abort: (reason) => channel.abort(reason),
  }
}
