/**
 * A UDP relay that behaves like a network: between diallers and one listener on loopback it delays,
 * loses, duplicates, reorders, swallows and readdresses datagrams, as told, with a seeded generator.
 *
 * Diallers dial the relay's address. For each of them it has a socket towards the listener; replacing
 * that socket is what a NAT does when it forgets a mapping.
 */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'

export interface RelayBehaviour {
  /** One way, in milliseconds. */
  delayMs?: number
  /** Share of datagrams that vanish, 0 to 1. */
  lossRate?: number
  /** Share that arrives twice. */
  duplicateRate?: number
  /** Share that is held back for another delay, so that later ones overtake it. */
  reorderRate?: number
  /** Datagrams larger than this vanish. */
  mtuBytes?: number
  /** Nothing passes, either way. */
  isDown?: boolean
  /** Nothing passes back to diallers. */
  isDeaf?: boolean
}

interface Flow {
  readonly port: number
  readonly address: string
  outside: Socket
}

export class UdpRelay implements AsyncDisposable {
  readonly behaviour: RelayBehaviour
  /** Datagrams from diallers in the order of arrival, when asked to keep them. */
  readonly captured: Buffer[] = []
  isCapturing = false
  forwarded = 0
  dropped = 0
  readonly #inside: Socket
  readonly #target: { readonly host: string; readonly port: number }
  readonly #flows = new Map<number, Flow>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #random: number

  private constructor(inside: Socket, target: string, behaviour: RelayBehaviour, seed: number) {
    this.#inside = inside
    const [host = '', port = ''] = target.split(':')
    this.#target = { host, port: Number(port) }
    this.behaviour = behaviour
    this.#random = seed
    inside.on('message', (datagram, from) => {
      if (this.isCapturing) this.captured.push(Buffer.from(datagram))
      const flow = this.#flowOf(from.port, from.address)
      this.#pass(datagram, (bytes) => {
        flow.outside.send(bytes, this.#target.port, this.#target.host)
      })
    })
  }

  static async open(target: string, behaviour: RelayBehaviour = {}, seed = 1): Promise<UdpRelay> {
    const inside = createSocket({ type: 'udp4', recvBufferSize: 4_194_304 })
    inside.bind(0, '127.0.0.1')
    await once(inside, 'listening')
    return new UdpRelay(inside, target, behaviour, seed)
  }

  get address(): string {
    return `127.0.0.1:${this.#inside.address().port}`
  }

  /** Every dialler appears from another port from now on. */
  rebind(): void {
    for (const flow of this.#flows.values()) {
      flow.outside.close()
      flow.outside = this.#openOutside(flow)
    }
  }

  /** Sends a captured datagram to the listener again, from a socket of its own. */
  async replay(datagrams: readonly Buffer[]): Promise<void> {
    const stranger = createSocket('udp4')
    for (const datagram of datagrams) {
      stranger.send(datagram, this.#target.port, this.#target.host)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await new Promise<void>((resolve) => stranger.close(() => resolve()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    const sockets = [this.#inside, ...[...this.#flows.values()].map(({ outside }) => outside)]
    await Promise.all(
      sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
    )
  }

  #flowOf(port: number, address: string): Flow {
    const known = this.#flows.get(port)
    if (known !== undefined) return known
    const flow = { port, address } as Flow
    flow.outside = this.#openOutside(flow)
    this.#flows.set(port, flow)
    return flow
  }

  #openOutside(flow: Flow): Socket {
    const outside = createSocket({ type: 'udp4', recvBufferSize: 4_194_304 })
    outside.on('message', (datagram) => {
      if (this.behaviour.isDeaf === true) return
      this.#pass(datagram, (bytes) => this.#inside.send(bytes, flow.port, flow.address))
    })
    return outside
  }

  #pass(datagram: Buffer, forward: (bytes: Buffer) => void): void {
    const { isDown, mtuBytes, lossRate = 0, duplicateRate = 0 } = this.behaviour
    const tooLarge = mtuBytes !== undefined && datagram.length > mtuBytes
    if (isDown === true || tooLarge || this.#chance(lossRate)) {
      this.dropped += 1
      return
    }
    this.#later(datagram, forward)
    if (this.#chance(duplicateRate)) this.#later(datagram, forward)
  }

  #later(datagram: Buffer, forward: (bytes: Buffer) => void): void {
    const { delayMs = 0, reorderRate = 0 } = this.behaviour
    const held = this.#chance(reorderRate) ? Math.max(2, delayMs) : 0
    this.forwarded += 1
    if (delayMs + held === 0) {
      forward(datagram)
      return
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      forward(datagram)
    }, delayMs + held)
    this.#timers.add(timer)
  }

  #chance(rate: number): boolean {
    if (rate === 0) return false
    this.#random = (this.#random * 48_271) % 2_147_483_647
    return this.#random / 2_147_483_647 < rate
  }
}
