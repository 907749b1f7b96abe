/**
 * The pool: one connection for a pair of processes, dialled by either, and a bounded number in all.
 *
 * It holds the open connections and decides which connection to reuse, which of two to prefer, and
 * which to close. It dials nothing itself (quic/dialler.ts). Rules, the same on both sides so that
 * they agree:
 *   P1  Two processes are the same pair when fingerprints and the names of both processes are
 *       equal.
 *   P2  Of two connections of a pair dialled from both sides, the one dialled by the smaller
 *       fingerprint stays; of two dialled from one side, the older.
 *   P3  The other is retired: not handed out any more, and closed by its dialler once no channel is
 *       open on it. Nothing under way is cut off.
 *   P4  The newest process of a peer supersedes the one before: that is probed at once, and its
 *       connections end when it stays silent. A process that was killed would hold them until the
 *       idle timeout.
 *   P5  The dialler of a connection closes it when it was idle for long.
 */
import { SqliteVectorError } from '../../errors.ts'
import { CONNECTIONS_PER_PEER_MAX } from '../../limits.ts'
import type { QuicConnection } from './connection.ts'
import { CLOSE_CODE } from './errors.ts'
import type { ResolvedQuicOptions } from './options.ts'

const SWEEP_MS = 1_000
/**
 * How long a process may stay silent, beyond three round trips, when another of its node appears.
 */
const SUPERSEDE_MS = 500

export interface PoolCounts {
  /** Connections with open channels. */
  readonly active: number
  /** Open connections without. */
  readonly idle: number
  /** Closed because they were not used. */
  readonly closedIdle: number
  /** Retired because another connection to the same process was open. */
  readonly collapsed: number
  /** Ended because their process was silent when another one of the same peer connected. */
  readonly superseded: number
  /** Turned away because too many were open. */
  readonly overLimit: number
}

export class QuicPool {
  readonly #options: ResolvedQuicOptions
  readonly #open = new Set<QuicConnection>()
  /** Addresses whose own connection was retired in favour of this one. */
  readonly #aliases = new Map<string, QuicConnection>()
  #sweepPlanned = false
  #closedIdle = 0
  #collapsed = 0
  #overLimit = 0
  #superseded = 0

  constructor(options: ResolvedQuicOptions) {
    this.#options = options
  }

  counts(): PoolCounts {
    let active = 0
    for (const connection of this.#open) if (connection.idleSinceMs === null) active += 1
    return {
      active,
      idle: this.#open.size - active,
      closedIdle: this.#closedIdle,
      collapsed: this.#collapsed,
      overLimit: this.#overLimit,
      superseded: this.#superseded,
    }
  }

  /** Reason why one more connection of this peer is too many; null when it is not. */
  refusal(fingerprint: string): string | null {
    let ofPeer = 0
    for (const connection of this.#open) {
      if (connection.peer.fingerprint === fingerprint) ofPeer += 1
    }
    const { maxConnections } = this.#options
    const reason =
      ofPeer >= CONNECTIONS_PER_PEER_MAX
        ? `this peer holds ${ofPeer} connections already`
        : this.#open.size >= maxConnections
          ? `${maxConnections} connections are open already`
          : null
    if (reason !== null) this.#overLimit += 1
    return reason
  }

  /**
   * Makes room for a connection that we want to dial.
   * @throws SqliteVectorError `TRANSPORT_LIMIT_EXCEEDED`
   */
  makeRoom(): void {
    const { maxConnections } = this.#options
    if (this.#open.size < maxConnections) return
    let idlest: QuicConnection | null = null
    for (const connection of this.#open) {
      if (connection.dialled === null || connection.idleSinceMs === null) continue
      const sinceMs = idlest?.idleSinceMs ?? Number.POSITIVE_INFINITY
      if (connection.idleSinceMs < sinceMs) idlest = connection
    }
    if (idlest === null) {
      this.#overLimit += 1
      throw new SqliteVectorError(
        'TRANSPORT_LIMIT_EXCEEDED',
        `${maxConnections} connections are open, and every one that we dialled is in use`,
      )
    }
    this.#closeIdle(idlest, CLOSE_CODE.idle, 'making room for another connection')
  }

  add(connection: QuicConnection): void {
    this.#open.add(connection)
    this.#planSweep()
  }

  remove(connection: QuicConnection): void {
    this.#open.delete(connection)
    for (const [address, target] of this.#aliases) {
      if (target === connection) this.#aliases.delete(address)
    }
  }

  /** The connection to reuse for an address; undefined when there is none. */
  find(dialled: string): QuicConnection | undefined {
    for (const connection of this.#open) {
      if (connection.retiredFor !== null) continue
      if (connection.dialled === dialled || connection.remoteAddress === dialled) return connection
    }
    return this.#aliases.get(dialled)
  }

  /** Of all connections to the process at the other end of this one, the preferred one (P2). */
  preferred(connection: QuicConnection): QuicConnection {
    let best = connection
    for (const other of this.#open) {
      if (!isSamePair(other, connection)) continue
      if (this.#rank(other) < this.#rank(best)) best = other
      else if (this.#rank(other) === this.#rank(best) && this.#isOlder(other, best)) best = other
    }
    return best
  }

  /** The process at the other end has named itself: there may be two connections to it now. */
  settle(connection: QuicConnection): void {
    for (const other of this.#open)
      if (isEarlierProcess(other, connection)) void this.#probe(other, connection)
    const best = this.preferred(connection)
    for (const other of this.#open) {
      if (other === best || other.retiredFor !== null || !isSamePair(other, best)) continue
      if (other.dialled !== null) this.#aliases.set(other.dialled, best)
      other.retiredFor = 'another connection to you is open'
      this.#collapsed += 1
    }
    this.#planSweep()
  }

  /** Ends a connection whose peer was killed, now that another process of it is here (P4). */
  async #probe(connection: QuicConnection, successor: QuicConnection): Promise<void> {
    // Two processes cannot have one port: there the one before is gone.
    if (connection.remoteAddress !== successor.remoteAddress) {
      const deadlineMs = SUPERSEDE_MS + 3 * (connection.stats().rttMs ?? 0)
      const isHeard = await connection.pump.isAnswering(deadlineMs, undefined)
      if (isHeard || !connection.isOpen) return
    }
    this.#superseded += 1
    const reason = `${connection.remoteAddress} fell silent, and another process of that node is connected`
    connection.closeWith(CLOSE_CODE.duplicate, 'another process of you is connected', {
      by: 'timeout',
      code: 'TRANSPORT_CLOSED',
      reason,
    })
  }

  /** Rank by dialler: 0 the smaller fingerprint, 1 the larger. */
  #rank(connection: QuicConnection): number {
    const weAreSmaller = this.#options.identity.fingerprint < connection.peer.fingerprint
    return (connection.dialled !== null) === weAreSmaller ? 0 : 1
  }

  #isOlder(a: QuicConnection, b: QuicConnection): boolean {
    for (const connection of this.#open) {
      if (connection === a) return true
      if (connection === b) return false
    }
    return false
  }

  #planSweep(): void {
    if (this.#sweepPlanned || this.#open.size === 0) return
    this.#sweepPlanned = true
    this.#options.clock.schedule(SWEEP_MS, () => {
      this.#sweepPlanned = false
      this.#sweep()
      this.#planSweep()
    })
  }

  #sweep(): void {
    const { clock, idleCloseMs } = this.#options
    const nowMs = clock.monotonicMs()
    for (const connection of this.#open) {
      const { idleSinceMs } = connection
      if (connection.dialled === null || idleSinceMs === null) continue
      const idleMs = nowMs - idleSinceMs
      if (connection.retiredFor !== null && idleMs >= SWEEP_MS) {
        this.#closeIdle(connection, CLOSE_CODE.duplicate, connection.retiredFor)
      } else if (idleCloseMs > 0 && idleMs >= idleCloseMs) {
        this.#closeIdle(connection, CLOSE_CODE.idle, 'the connection was not used')
      }
    }
  }

  #closeIdle(connection: QuicConnection, code: number, reason: string): void {
    this.#closedIdle += 1
    connection.closeWith(code, reason)
  }
}

function isSamePair(a: QuicConnection, b: QuicConnection): boolean {
  return (
    a.peerInstance !== null &&
    a.peerInstance === b.peerInstance &&
    a.peer.fingerprint === b.peer.fingerprint
  )
}

function isEarlierProcess(earlier: QuicConnection, connection: QuicConnection): boolean {
  return (
    earlier.peerInstance !== null &&
    earlier.peerInstance !== connection.peerInstance &&
    earlier.peer.fingerprint === connection.peer.fingerprint
  )
}
