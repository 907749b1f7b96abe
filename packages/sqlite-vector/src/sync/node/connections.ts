/**
 * The connections of one node: those it dialled, one per address and used again, and those that
 * peers opened. Every channel that a peer opens on any of them goes to one handler.
 *
 * Knows nothing of shards or sessions. Invariant: every loop started here has ended when `close`
 * resolves.
 */
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import type { Channel, Connection, PeerAddress, Transport } from '../../transport/types.ts'
import { decodeFrame, encodeFrame } from '../wire/control-frames.ts'
import { SharedTask } from './shared-task.ts'

/**
 * A connection unused for longer is asked for a sign of life before it is used again, in
 * milliseconds.
 */
const UNCHECKED_MS = 1_000

/** How long that sign may take, in milliseconds; then the peer is dialled again. */
const PONG_MS = 2_000

/** A connection that is open. */
export interface OpenConnection {
  readonly connection: Connection
  /** The address we dialled; null when the peer dialled us. */
  readonly dialledAddress: PeerAddress | null
}

/** Handlers of what peers do. */
export interface ConnectionHandlers {
  /** Called with every channel that a peer opens; must not reject. */
  readonly onChannel: (channel: Channel, connection: Connection) => Promise<void>
  /** Called with a fault of ours while a connection was served: it ends that and nothing else. */
  readonly onFault: (error: unknown) => void
  /** Called when a connection opened, and when it ended. */
  readonly onConnection: (connection: Connection, isOpen: boolean) => void
}

interface Pooled {
  readonly connection: Connection
  usedMs: number
}

/** Dials, accepts, and keeps what is open. */
export class Connections {
  readonly #transport: Transport
  readonly #clock: Clock
  readonly #handlers: ConnectionHandlers
  readonly #dialled = new Map<PeerAddress, SharedTask<Pooled>>()
  readonly #open = new Map<Connection, OpenConnection>()
  readonly #tasks = new Set<Promise<void>>()
  readonly #ended = { bytesSent: 0, bytesReceived: 0 }
  #accepting = false

  constructor(transport: Transport, clock: Clock, handlers: ConnectionHandlers) {
    this.#transport = transport
    this.#clock = clock
    this.#handlers = handlers
  }

  /** The connections that are open now. */
  list(): readonly OpenConnection[] {
    return [...this.#open.values()]
  }

  /** Bytes on the wire of all connections, also those that ended. */
  wire(): { readonly bytesSent: number; readonly bytesReceived: number } {
    let { bytesSent, bytesReceived } = this.#ended
    for (const connection of this.#open.keys()) {
      const stats = connection.stats()
      bytesSent += stats.wireBytesSent
      bytesReceived += stats.wireBytesReceived
    }
    return { bytesSent, bytesReceived }
  }

  /** Listens, and takes the connections that peers open. Resolves with the address bound. */
  async listen(address: PeerAddress): Promise<PeerAddress> {
    const bound = await this.#transport.listen(address)
    if (!this.#accepting) {
      this.#accepting = true
      this.#track(this.#acceptAll())
    }
    return bound
  }

  /**
   * A connection to `address`: the one that is open, or a new one. With `early` a new one is there
   * before the peer has said that it takes us; of two that were dialled from both sides each then
   * keeps its own, so what lives long does without.
   */
  async get(address: PeerAddress, signal: AbortSignal, early = false): Promise<Connection> {
    const waiting = this.#dialled.get(address)
    if (waiting !== undefined) {
      const pooled = await waiting.wait(signal)
      if (await this.#isAlive(pooled, signal)) return pooled.connection
      if (this.#dialled.get(address) === waiting) this.#dialled.delete(address)
      await pooled.connection.close('the peer gave no sign of life')
      return this.get(address, signal, early)
    }
    // Callers share a dial: one that gives up ends its own wait, the last one the dial.
    const dialling = new SharedTask((shared) => this.#dial(address, shared, early))
    this.#dialled.set(address, dialling)
    try {
      return (await dialling.wait(signal)).connection
    } catch (error) {
      if (this.#dialled.get(address) === dialling) this.#dialled.delete(address)
      throw error
    }
  }

  /** Resolves when the transport is closed and every loop and handler has ended. */
  async close(): Promise<void> {
    await this.#transport.close()
    while (this.#tasks.size > 0) await Promise.all(this.#tasks)
  }

  async #dial(address: PeerAddress, signal: AbortSignal, early: boolean): Promise<Pooled> {
    const connection = await this.#transport.dial(address, { signal, early })
    const pooled = { connection, usedMs: this.#clock.monotonicMs() }
    this.#track(this.#serve(connection, address))
    return pooled
  }

  /** A peer that was killed says nothing: QUIC would notice only after the idle timeout. */
  async #isAlive(pooled: Pooled, signal: AbortSignal): Promise<boolean> {
    const nowMs = this.#clock.monotonicMs()
    const isRecent = nowMs - pooled.usedMs < UNCHECKED_MS
    if (isRecent || (await ping(pooled.connection, this.#clock, PONG_MS, signal)) !== null) {
      pooled.usedMs = this.#clock.monotonicMs()
      return true
    }
    return false
  }

  async #acceptAll(): Promise<void> {
    for await (const connection of this.#transport.accept()) {
      this.#track(this.#serve(connection, null))
    }
  }

  async #serve(connection: Connection, dialledAddress: PeerAddress | null): Promise<void> {
    if (connection.peer.invite !== undefined) {
      // It may ask to join, which goes another way; it takes no part in sync.
      for await (const channel of connection.channels()) channel.abort('join first')
      return
    }
    const known = this.#open.get(connection)
    if (known !== undefined) {
      // A peer's connection that a dial of ours came down to: it is served already.
      this.#open.set(connection, {
        connection,
        dialledAddress: dialledAddress ?? known.dialledAddress,
      })
      await connection.closed
      if (dialledAddress !== null) await this.#forget(dialledAddress, connection)
      return
    }
    this.#open.set(connection, { connection, dialledAddress })
    this.#handlers.onConnection(connection, true)
    try {
      for await (const channel of connection.channels()) {
        this.#track(this.#handlers.onChannel(channel, connection))
      }
    } finally {
      this.#open.delete(connection)
      const { wireBytesSent, wireBytesReceived } = connection.stats()
      this.#ended.bytesSent += wireBytesSent
      this.#ended.bytesReceived += wireBytesReceived
      this.#handlers.onConnection(connection, false)
      if (dialledAddress !== null) await this.#forget(dialledAddress, connection)
    }
  }

  async #forget(address: PeerAddress, connection: Connection): Promise<void> {
    const pooled = await this.#dialled
      .get(address)
      ?.wait(undefined)
      .catch(() => null)
    if (pooled?.connection === connection) this.#dialled.delete(address)
  }

  #track(task: Promise<void>): void {
    const ended = task
      .catch((error: unknown) => {
        // A connection that ends is not a failure of the node; anything else is a bug and must be
        // seen.
        if (!(error instanceof SqliteVectorError)) this.#handlers.onFault(error)
      })
      .finally(() => this.#tasks.delete(ended))
    this.#tasks.add(ended)
  }
}

/**
 * Round-trip time of a PING in milliseconds, or null when the peer gave no answer within
 * `deadlineMs`.
 */
export async function ping(
  connection: Connection,
  clock: Clock,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<number | null> {
  const deadline = new AbortController()
  const cancel = clock.schedule(deadlineMs, () => deadline.abort())
  const wait = { signal: AbortSignal.any([signal, deadline.signal]) }
  const startedMs = clock.monotonicMs()
  let channel: Channel | null = null
  try {
    channel = await connection.openChannel(wait)
    await channel.send(encodeFrame({ type: 'ping', nonce: 1 }), wait)
    await channel.finish()
    const answer = await channel.receive(wait)
    const isPong = answer !== null && decodeFrame(answer).type === 'pong'
    return isPong ? clock.monotonicMs() - startedMs : null
  } catch (error) {
    if (!(error instanceof SqliteVectorError)) throw error
    channel?.abort('no answer')
    if (signal.aborted) throw error
    return null
  } finally {
    cancel()
  }
}

/** Bytes on the wire of a connection, both ways. */
export function wireBytes(connection: Connection): number {
  const { wireBytesSent, wireBytesReceived } = connection.stats()
  return wireBytesSent + wireBytesReceived
}

/**
 * Runs `work` with early data; once more without it when another node answered than the session
 * ticket named: then the work is done with that node, under its own name.
 */
export async function againIfPeerChanged<T>(work: (early: boolean) => Promise<T>): Promise<T> {
  try {
    return await work(true)
  } catch (error) {
    if (!(error instanceof SqliteVectorError) || error.code !== 'TRANSPORT_PEER_CHANGED')
      throw error
    return work(false)
  }
}
