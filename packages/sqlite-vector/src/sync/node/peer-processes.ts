/**
 * The process of each peer that live sessions belong to. Sessions are known by the peer's
 * certificate, so two processes with one certificate (a copied node folder) would take each other's
 * place again and again.
 *
 * Invariant: the live sessions of one peer are all with one process; another one has its turn when
 * every connection of that process has ended. A process that was killed is found out by the
 * transport.
 */
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import type { Connection } from '../../transport/types.ts'

/** How long both processes must stay connected before they are reported, in milliseconds. */
const SHARED_MS = 1_500

/** Called with the peer and the addresses of its processes, the one that is served first. */
export type OnKeyShared = (peer: string, addresses: readonly string[]) => void

export class PeerProcesses {
  readonly #clock: Clock
  readonly #onShared: OnKeyShared
  /** Connections of the process that is served, by the peer's fingerprint. */
  readonly #served = new Map<string, Set<Connection>>()
  /** Pairs that are reported already, or about to be. */
  readonly #reported = new Set<string>()

  constructor(clock: Clock, onShared: OnKeyShared) {
    this.#clock = clock
    this.#onShared = onShared
  }

  /** True while live sessions of the peer are with another of its processes. */
  isServedElsewhere({ peer, process }: Connection): boolean {
    const [holder] = this.#served.get(peer.fingerprint) ?? []
    if (holder === undefined || typeof process !== 'string') return false
    return holder.process !== process
  }

  /**
   * Takes the peer's live sessions for the process behind `connection`; the error when it may not.
   */
  claim(connection: Connection, shardId: string): SqliteVectorError | null {
    const { peer, process } = connection
    if (typeof process !== 'string') return null
    if (this.isServedElsewhere(connection)) return this.#refuse(connection, shardId)
    const connections = this.#served.get(peer.fingerprint) ?? new Set()
    if (connections.has(connection)) return null
    this.#served.set(peer.fingerprint, connections.add(connection))
    void this.#releaseWhenClosed(connection, connections)
    return null
  }

  async #releaseWhenClosed(connection: Connection, connections: Set<Connection>): Promise<void> {
    await connection.closed
    connections.delete(connection)
    const { fingerprint } = connection.peer
    if (connections.size === 0 && this.#served.get(fingerprint) === connections) {
      this.#served.delete(fingerprint)
    }
  }

  #refuse(connection: Connection, shardId: string): SqliteVectorError {
    const { fingerprint } = connection.peer
    const [holder] = this.#served.get(fingerprint) ?? []
    const served = holder?.remoteAddress ?? 'another address'
    if (holder !== undefined) this.#reportIfBothLive(holder, connection)
    return new SqliteVectorError(
      'SYNC_ALREADY_LIVE',
      `shard ${JSON.stringify(shardId)} is live with another process that has the key of ${fingerprint}, at ${served}`,
    )
  }

  /** Right after a restart the transport still finds out that the process before is gone. */
  #reportIfBothLive(holder: Connection, other: Connection): void {
    const pair = `${holder.process} ${other.process}`
    if (this.#reported.has(pair)) return
    this.#reported.add(pair)
    this.#clock.schedule(SHARED_MS, () => {
      const { fingerprint } = other.peer
      if (this.#served.get(fingerprint)?.has(holder) === true) {
        this.#onShared(fingerprint, [holder.remoteAddress, other.remoteAddress])
      } else this.#reported.delete(pair)
    })
  }
}
