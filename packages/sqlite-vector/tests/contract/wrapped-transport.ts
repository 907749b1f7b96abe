/**
 * A transport in which channels and connections do something else than those underneath: everything that a change
 * leaves out is passed on.
 */
import type { Channel, Connection, Transport } from '../../src/transport/types.ts'

/** What to do instead, for each channel and each connection. */
export interface Changes {
  readonly channel?: (channel: Channel) => Partial<Channel>
  readonly connection?: (connection: Connection) => Partial<Connection>
}

export function wrappedTransport(transport: Transport, changes: Changes): Transport {
  return {
    identity: transport.identity,
    listen: (address) => transport.listen(address),
    dial: async (address, options) => wrapped(await transport.dial(address, options), changes),
    async *accept() {
      for await (const connection of transport.accept()) yield wrapped(connection, changes)
    },
    close: () => transport.close(),
    [Symbol.asyncDispose]: () => transport.close(),
  }
}

function wrapped(connection: Connection, changes: Changes): Connection {
  return {
    peer: connection.peer,
    remoteAddress: connection.remoteAddress,
    closed: connection.closed,
    openChannel: async (options) => wrappedChannel(await connection.openChannel(options), changes),
    async *channels() {
      for await (const channel of connection.channels()) yield wrappedChannel(channel, changes)
    },
    stats: () => connection.stats(),
    close: (reason) => connection.close(reason),
    [Symbol.asyncDispose]: () => connection.close(),
    ...changes.connection?.(connection),
  }
}

function wrappedChannel(channel: Channel, changes: Changes): Channel {
  return {
    send: (frame, options) => channel.send(frame, options),
    receive: (options) => channel.receive(options),
    finish: () => channel.finish(),
    abort: (reason) => channel.abort(reason),
    ...changes.channel?.(channel),
  }
}
