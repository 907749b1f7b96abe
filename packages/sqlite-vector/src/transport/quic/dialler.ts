/**
 * Dialling: from an address to a connection that works, an open one where there is one.
 *
 *   - An open connection that was silent for a while is probed first: a peer that was killed says
 *     nothing, and its connection would look alive until the idle timeout. When the probe stays
 *     unanswered a new handshake starts; the silent connection is not handed out again.
 *   - Callers that dial the same address at the same time share one handshake.
 *   - A name with several addresses is tried as RFC 8305 has it: the next one starts when the one
 *     before has not answered for 250 ms or has failed, and the first that answers wins.
 *   - A resumed connection that fails before the peer has accepted it is repeated without its
 *     ticket: the peer may have lowered what it promised in the session before.
 */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { SqliteVectorError } from '../../errors.ts'
import { abortedError, whileWaiting } from '../abortable.ts'
import { formatAddress, parseAddress } from '../address.ts'
import type { HostPort } from '../address.ts'
import type { QuicConnection } from './connection.ts'
import type { QuicEndpoint } from './endpoint.ts'
import type { ResolvedQuicOptions } from './options.ts'
import type { QuicPool } from './pool.ts'
import type { PeerAddress, WaitOptions } from '../types.ts'

/** Silence after which a connection is probed before it is handed out. */
const SILENCE_MS = 500
/** How long the answer may take, beyond three round trips. */
const PROBE_MS = 250
const ATTEMPT_DELAY_MS = 250
const ADDRESSES_MAX = 8

/**
 * When a dial is done: frames can be sent, perhaps as early data; no one else can replay them; the
 * peer has accepted us.
 */
export type DialledUntil = 'opened' | 'established' | 'accepted'

interface SharedDial {
  readonly connection: Promise<QuicConnection>
  readonly stop: AbortController
  waiting: number
}

interface Race {
  isOver: boolean
  readonly attempts: Set<QuicConnection>
  winner: QuicConnection | null
}

export interface DialCounts {
  readonly dialled: number
  readonly dialsFailed: number
  readonly resumed: number
  readonly replaced: number
}

export class QuicDialler {
  readonly #options: ResolvedQuicOptions
  readonly #endpoint: QuicEndpoint
  readonly #pool: QuicPool
  readonly #underWay = new Map<PeerAddress, SharedDial>()
  readonly #onDisplaced: (connection: QuicConnection) => void
  #dialled = 0
  #dialsFailed = 0
  #resumed = 0
  #replaced = 0

  /** `onDisplaced` is told of connections that we dialled and then gave up for another. */
  constructor(
    options: ResolvedQuicOptions,
    endpoint: QuicEndpoint,
    pool: QuicPool,
    onDisplaced: (connection: QuicConnection) => void,
  ) {
    this.#onDisplaced = onDisplaced
    this.#options = options
    this.#endpoint = endpoint
    this.#pool = pool
  }

  counts(): DialCounts {
    return {
      dialled: this.#dialled,
      dialsFailed: this.#dialsFailed,
      resumed: this.#resumed,
      replaced: this.#replaced,
    }
  }

  async dial(
    address: PeerAddress,
    { signal }: WaitOptions,
    until: DialledUntil,
  ): Promise<QuicConnection> {
    const target = formatAddress(parseAddress(address))
    const open = this.#pool.find(target)
    if (open !== undefined && (await this.#isAlive(open, signal))) return open
    const connection = await this.#share(target, signal)
    if (until === 'opened') return connection
    try {
      await whileWaiting(connection[until], signal)
    } catch (error) {
      if (!connection.failedByTicket) throw error
      this.#options.tickets.forget(target)
      return this.dial(address, signal === undefined ? {} : { signal }, until)
    }
    if (until === 'accepted') await this.#awaitRival(connection, signal)
    // Two sides may have dialled each other: both take the same one of the two.
    const preferred = this.#pool.preferred(connection)
    if (preferred === connection || !preferred.isOpen) return connection
    this.#onDisplaced(connection)
    return preferred
  }

  /**
   * A peer that dialled us before our own connection had reached it has sent its first datagram
   * before it accepted us. So its handshake is under way here, and soon it is known which of the
   * two stays.
   */
  async #awaitRival(connection: QuicConnection, signal: AbortSignal | undefined): Promise<void> {
    const rival = this.#endpoint.incomingFrom(connection.remoteAddress)
    if (rival === undefined) return
    try {
      await whileWaiting(Promise.race([rival.accepted, connection.closed]), signal)
    } catch (error) {
      if (signal?.aborted === true) throw error
      // It came to nothing: ours stays.
    }
  }

  /** Joins a dial under way, or starts one; the last caller to lose interest ends it. */
  async #share(target: PeerAddress, signal: AbortSignal | undefined): Promise<QuicConnection> {
    let shared = this.#underWay.get(target)
    if (shared === undefined) {
      const stop = new AbortController()
      const connection = this.#establish(target, stop.signal)
      shared = { connection, stop, waiting: 0 }
      this.#underWay.set(target, shared)
      const forget = (): void => {
        this.#underWay.delete(target)
      }
      connection.then(forget, forget)
    }
    shared.waiting += 1
    try {
      return await whileWaiting(shared.connection, signal)
    } finally {
      shared.waiting -= 1
      if (shared.waiting === 0) shared.stop.abort()
    }
  }

  async #establish(target: PeerAddress, signal: AbortSignal): Promise<QuicConnection> {
    this.#pool.makeRoom()
    const { host, port } = parseAddress(target)
    const hosts = await resolveHost(host)
    if (signal.aborted) throw abortedError(signal)
    try {
      const connection = await this.#race(
        target,
        hosts.map((literal) => ({ host: literal, port })),
        signal,
      )
      this.#dialled += 1
      if (connection.native.isResumed()) this.#resumed += 1
      return connection
    } catch (error) {
      this.#dialsFailed += 1
      throw error
    }
  }

  /** The first of several addresses that answers. */
  async #race(
    target: PeerAddress,
    addresses: readonly HostPort[],
    signal: AbortSignal,
  ): Promise<QuicConnection> {
    const { clock } = this.#options
    const race: Race = { isOver: false, attempts: new Set(), winner: null }
    const outcome = Promise.withResolvers<QuicConnection>()
    const waiting = [...addresses]
    let running = 0
    const timers: (() => void)[] = []
    const startNext = async (): Promise<void> => {
      timers.pop()?.()
      const to = waiting.shift()
      if (to === undefined || race.isOver) return
      if (waiting.length > 0) {
        timers.push(clock.schedule(ATTEMPT_DELAY_MS, () => void startNext()))
      }
      running += 1
      try {
        const connection = await this.#attempt(target, to, race)
        race.winner ??= connection
        outcome.resolve(race.winner)
      } catch (error) {
        if (waiting.length > 0) void startNext()
        else if (running === 1) outcome.reject(error)
      } finally {
        running -= 1
      }
    }
    void startNext()
    try {
      return await whileWaiting(outcome.promise, signal)
    } finally {
      race.isOver = true
      timers.pop()?.()
      for (const attempt of race.attempts) {
        if (attempt !== race.winner || signal.aborted) await attempt.close('not needed any more')
      }
    }
  }

  async #attempt(target: PeerAddress, to: HostPort, race: Race): Promise<QuicConnection> {
    const { tickets, trust } = this.#options
    const ticket = tickets.get(target)
    const session = ticket !== null && trust.mayTrust(ticket.fingerprint) ? ticket.session : null
    const connection = await this.#endpoint.dial({ to, dialled: target, session })
    race.attempts.add(connection)
    if (race.isOver) await connection.close('not needed any more')
    try {
      await connection.opened
      return connection
    } catch (error) {
      if (race.isOver || !connection.failedByTicket) throw error
      tickets.forget(target)
      return this.#attempt(target, to, race)
    }
  }

  /** True when an open connection can be handed out; probes a peer that was silent. */
  async #isAlive(connection: QuicConnection, signal: AbortSignal | undefined): Promise<boolean> {
    const { clock } = this.#options
    if (clock.monotonicMs() - connection.pump.receivedMs < SILENCE_MS) return true
    const deadlineMs = PROBE_MS + 3 * (connection.stats().rttMs ?? 0)
    const isHeard = await connection.pump.isAnswering(deadlineMs, signal)
    if (isHeard && connection.isOpen) return true
    this.#replaced += 1
    connection.retiredFor = 'you gave no sign of life'
    return false
  }
}

/** IP literals of a host, IPv6 and IPv4 in turn (RFC 8305 §4). */
async function resolveHost(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host]
  try {
    const found = await lookup(host, { all: true, order: 'verbatim' })
    const first = found[0]?.family
    const [these, those] = [
      found.filter(({ family }) => family === first),
      found.filter(({ family }) => family !== first),
    ]
    const mixed = these.flatMap((one, index) => [one, those[index]])
    return [...mixed, ...those.slice(these.length)]
      .filter((one) => one !== undefined)
      .map(({ address }) => address)
      .slice(0, ADDRESSES_MAX)
  } catch (cause) {
    throw new SqliteVectorError('TRANSPORT_DIAL_FAILED', `cannot resolve the host ${host}`, {
      cause,
    })
  }
}
