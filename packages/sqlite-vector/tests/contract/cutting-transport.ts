/**
 * A transport whose channels break at a chosen frame: everything else is the transport underneath.
 */
import { SqliteVectorError } from '../../src/errors.ts'
import type { Channel, Transport } from '../../src/transport/types.ts'
import { wrappedTransport } from './wrapped-transport.ts'

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
  return wrappedTransport(transport, {
    channel: (channel) => ({
      async send(frame, options) {
        cut.count(channel)
        await channel.send(frame, options)
      },
      async receive(options) {
        const frame = await channel.receive(options)
        if (frame !== null) cut.count(channel)
        return frame
      },
    }),
  })
}
