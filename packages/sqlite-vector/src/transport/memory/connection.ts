/**
 * A connection between two transports in one process: the twin of quic/connection.ts.
 *
 * Channels are independent of each other, as QUIC streams are: a late frame holds up its own
 * channel only. The end of the connection overtakes nothing that was sent before it.
 */
import { SqliteVectorError } from '../../errors.ts'
import { AsyncQueue, abortable, throwIfAborted } from '../abortable.ts'
import { MemoryChannel } from './channel.ts'
import type { MemoryChannelHost, Path } from './channel.ts'
import type {
  Channel,
  Connection,
  ConnectionEnd,
  ConnectionStats,
  PeerIdentity,
  WaitOptions,
} from '../types.ts'

export interface MemoryConnectionInit {
  readonly peer: PeerIdentity
  readonly remoteAddress: string
  readonly channelsMax: number
  readonly frameBytesMax: number
  readonly rttMs: number
  readonly newPath: () => Path
}

export class MemoryConnection implements Connection, MemoryChannelHost {
  readonly peer: PeerIdentity
  readonly remoteAddress: string
  readonly frameBytesMax: number
  readonly closed: Promise<ConnectionEnd>
  readonly #init: MemoryConnectionInit
  readonly #path: Path
  readonly #channels = new AsyncQueue<Channel>()
  readonly #open = new Set<MemoryChannel>()
  /** Those that we opened: they count against the peer's limit. */
  readonly #ours = new Set<MemoryChannel>()
  readonly #waiters: (() => void)[] = []
  readonly #ending = Promise.withResolvers<ConnectionEnd>()
  #twin: MemoryConnection | null = null
  #end: ConnectionEnd | null = null
  #bytesSent = 0
  #bytesReceived = 0
  #framesSent = 0
  #framesReceived = 0

  constructor(init: MemoryConnectionInit) {
    this.#init = init
    this.#path = init.newPath()
    this.peer = init.peer
    this.remoteAddress = init.remoteAddress
    this.frameBytesMax = init.frameBytesMax
    this.closed = this.#ending.promise
  }

  static connect(a: MemoryConnection, b: MemoryConnection): void {
    a.#twin = b
    b.#twin = a
  }

  get isOpen(): boolean {
    return this.#end === null
  }

  async openChannel(options: WaitOptions = {}): Promise<Channel> {
    throwIfAborted(options.signal)
    for (;;) {
      const error = this.endError()
      if (error !== null) throw error
      if (this.#ours.size < this.#init.channelsMax) break
      await abortable<void>(options.signal, (resolve) => {
        this.#waiters.push(resolve)
        return () => this.#waiters.splice(this.#waiters.indexOf(resolve), 1)
      })
    }
    const twin = this.#twin
    const path = this.#init.newPath()
    const ours = new MemoryChannel(this, path)
    this.#ours.add(ours)
    this.#open.add(ours)
    if (twin !== null) {
      const theirs = new MemoryChannel(twin, twin.#init.newPath())
      MemoryChannel.connect(ours, theirs)
      // On the channel's own path: frames sent later must not overtake it.
      path.deliver(() => twin.#arrive(theirs))
    }
    return ours
  }

  async *channels(): AsyncIterable<Channel> {
    yield* this.#channels
  }

  stats(): ConnectionStats {
    return {
      channelBytesSent: this.#bytesSent,
      channelBytesReceived: this.#bytesReceived,
      wireBytesSent: this.#bytesSent,
      wireBytesReceived: this.#bytesReceived,
      datagramsSent: this.#framesSent,
      datagramsReceived: this.#framesReceived,
      datagramsLost: 0,
      rttMs: this.#init.rttMs,
      channelsOpen: this.#open.size,
    }
  }

  close(reason = 'closed by us'): Promise<void> {
    if (this.#end !== null) return Promise.resolve()
    const twin = this.#twin
    this.#path.deliver(() => twin?.endWith({ by: 'peer', code: 'TRANSPORT_CLOSED', reason }))
    this.endWith({ by: 'us', code: 'TRANSPORT_CLOSED', reason })
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Ends this side alone; the network and the twin use it. */
  endWith(end: ConnectionEnd): void {
    if (this.#end !== null) return
    this.#end = Object.freeze(end)
    const error = new SqliteVectorError(end.code, end.reason)
    for (const channel of this.#open) channel.connectionEnded(error)
    for (const wake of this.#waiters.splice(0)) wake()
    this.#channels.end()
    this.#ending.resolve(this.#end)
  }

  endError(): SqliteVectorError | null {
    return this.#end === null ? null : new SqliteVectorError(this.#end.code, this.#end.reason)
  }

  countSent(bytes: number): void {
    this.#bytesSent += bytes
    this.#framesSent += 1
  }

  countReceived(bytes: number): void {
    this.#bytesReceived += bytes
    this.#framesReceived += 1
  }

  onDone(channel: MemoryChannel): void {
    this.#open.delete(channel)
    if (this.#ours.delete(channel)) this.#waiters.shift()?.()
  }

  #arrive(channel: MemoryChannel): void {
    if (this.#end !== null) return
    this.#open.add(channel)
    this.#channels.push(channel)
  }
}
