/**
 * Keeps one shard in sync with one peer: live both ways, again and again, until it is stopped.
 *
 * One live session per direction and pair of nodes: where the peer keeps the shard in sync
 * with us too, its session serves. Not here: what sessions do, and connections.
 *
 * Invariants: at most one attempt at a time; after an error that cannot heal by itself it is shown
 * as failed, and tries again when trust changes, when it is started again, or after
 * FAILED_RETRY_MS; everything has ended when `stop` resolves.
 */
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { FAILED_RETRY_MS, RETRY_DELAY_MS, RETRY_DELAY_MS_MAX } from '../../limits.ts'
import { whileWaiting } from '../../transport/abortable.ts'
import type { Connection } from '../../transport/types.ts'
import { allows } from '../access/rules.ts'
import { stateOrNull } from '../session/driver.ts'
import type { Session } from '../session/types.ts'
import { Backoff } from '../../clock/backoff.ts'
import type { LiveHub } from '../live/live-hub.ts'
import type { NodeSessions } from './sessions.ts'
import { chance, type PeerGate, sleep } from './peer-gate.ts'
import type { RunResult } from './session-runner.ts'
import type { AutoSyncState, AutoSyncStatus } from '../types.ts'
import { type ReplicaStore } from '../../store/replica/types.ts'
import { type Running } from '../session/types.ts'

/** The parts of an auto-sync. */
export interface AutoSyncSetup {
  readonly shardId: string
  readonly gate: PeerGate
  readonly sessions: NodeSessions
  readonly hub: LiveHub
  readonly store: ReplicaStore
  readonly clock: Clock
  /** Ends with the node. */
  readonly signal: AbortSignal
  readonly onStatus: (state: AutoSyncState) => void
  readonly onError: (error: Error, willRetry: boolean) => void
}

/**
 * How long an attempt must have been live before the next failure counts as the first, in
 * milliseconds.
 */
const PROVEN_MS = 5_000

/** Wait before a direction that ended in good order is asked for again, in milliseconds. */
const AGAIN_MS = 200

/**
 * The same where the peer's session was about to begin; it doubles with every further collision…
 */
const COLLIDED_MS = 20

/** …up to this. */
const COLLIDED_MS_MAX = 1_000

/**
 * Collisions in a row after which they are reported: another process of this node, or of the peer,
 * is live.
 */
const COLLISIONS_REPORTED = 8

/** How often a direction for which permission is missing is asked for again, in milliseconds. */
const WITHHELD_CHECK_MS = 2_000

type Direction = 'sender' | 'puller'

/** See the head of this file. */
export class AutoSync {
  readonly #setup: AutoSyncSetup
  readonly #stopping = new AbortController()
  readonly #backoff = new Backoff({ firstMs: RETRY_DELAY_MS, lastMs: RETRY_DELAY_MS_MAX })
  readonly #running = new Map<Direction, Running>()
  /** Directions for which permission is missing, with who said so. */
  readonly #withheld = new Map<Direction, Error>()
  readonly #ended: Promise<void>
  #status: AutoSyncStatus = 'connecting'
  #peer: string | null = null
  #lastError: Error | null = null
  #liveSinceMs: number | null = null
  /** Called once the pull has made the shard, when a push waits for that. */
  #whenMade: (() => void) | null = null
  /** Ends the wait of a failed auto-sync; null while there is none. */
  #waking: (() => void) | null = null

  constructor(setup: AutoSyncSetup) {
    this.#setup = setup
    this.#ended = this.#keep()
  }

  get state(): AutoSyncState {
    const { shardId, gate } = this.#setup
    return {
      shardId,
      address: gate.address,
      status: this.#status,
      peer: this.#peer,
      failures: this.#backoff.failures + gate.failures,
      lastError: this.#lastError ?? this.#withheld.values().next().value ?? null,
    }
  }

  /** Ends it in good order: the peer is told. */
  async stop(): Promise<void> {
    // A puller leaves with DONE; what else is under way is cut off.
    this.#running.get('puller')?.tell({ type: 'stop' })
    this.#stopping.abort(new SqliteVectorError('SYNC_CLOSED', 'the auto-sync was stopped'))
    await this.#ended
  }

  async #keep(): Promise<void> {
    const { clock, gate } = this.#setup
    const signal = AbortSignal.any([this.#setup.signal, this.#stopping.signal])
    while (!signal.aborted) {
      try {
        this.#become('connecting')
        await this.#attempt(await gate.pass(signal), signal)
      } catch (error) {
        if (signal.aborted) break
        if (!(error instanceof SqliteVectorError)) {
          this.#fail(error)
          return
        }
        this.#lastError = error
        const willRetry = canHeal(error)
        this.#setup.onError(error, willRetry)
        this.#become(willRetry ? 'waiting' : 'failed')
        if (willRetry) await this.#pause(signal)
        else await this.#awaitChange(signal)
      } finally {
        if (this.#liveSinceMs !== null && clock.monotonicMs() - this.#liveSinceMs > PROVEN_MS) {
          this.#backoff.succeeded()
        }
        this.#liveSinceMs = null
        this.#running.clear()
        this.#withheld.clear()
      }
    }
    this.#become('stopped')
  }

  /**
   * Something that trust, a clock or a setting may heal has changed: a failed auto-sync begins
   * again.
   */
  wake(): void {
    this.#waking?.()
  }

  /** Waits for {@link wake}, or for FAILED_RETRY_MS: a change may have been made elsewhere. */
  async #awaitChange(signal: AbortSignal): Promise<void> {
    const { clock } = this.#setup
    const changed = Promise.withResolvers<void>()
    const cancel = clock.schedule(FAILED_RETRY_MS, changed.resolve)
    this.#waking = changed.resolve
    try {
      await whileWaiting(changed.promise, signal)
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      this.#waking = null
      cancel()
    }
  }

  /** A failed dial has its own wait, which is the gate's; anything else waits here. */
  async #pause(signal: AbortSignal): Promise<void> {
    const { clock, gate } = this.#setup
    const delayMs = gate.waitMs > 0 ? 0 : this.#backoff.failed(chance())
    try {
      await sleep(clock, delayMs, signal)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  /** Live in both directions until one of them ends. @throws why it ended */
  async #attempt(connection: Connection, signal: AbortSignal): Promise<void> {
    const { store, shardId } = this.#setup
    this.#peer = connection.peer.fingerprint
    const failing = new AbortController()
    const both = AbortSignal.any([signal, failing.signal])
    const directions: Promise<void>[] = [this.#hold('puller', connection, both)]
    if (stateOrNull(store, shardId) === null) {
      // There is nothing to push before the pull has made the shard.
      const made = Promise.withResolvers<void>()
      this.#whenMade = made.resolve
      directions.push(
        whileWaiting(made.promise, both).then(() => this.#hold('sender', connection, both)),
      )
    } else {
      directions.push(this.#hold('sender', connection, both))
    }
    try {
      await Promise.race(directions)
    } finally {
      failing.abort(new SqliteVectorError('SYNC_CLOSED', 'the other direction ended'))
      await Promise.allSettled(directions)
    }
  }

  /** One direction, served by a session of ours or of the peer; ends only by throwing. */
  async #hold(direction: Direction, connection: Connection, signal: AbortSignal): Promise<void> {
    const { hub, shardId, clock } = this.#setup
    const peer = connection.peer.fingerprint
    let collisions = 0
    for (;;) {
      if (!this.#isGranted(direction, connection)) {
        await this.#withhold(direction, forbiddenHere(shardId), signal)
        continue
      }
      const isElsewhere = this.#setup.sessions.isServedElsewhere(connection)
      const served = isElsewhere ? null : hub.find(shardId, peer, direction)
      if (served !== null) {
        collisions = 0
        await this.#watchServed(served, direction, signal)
        continue
      }
      const error = await this.#run(direction, connection, signal)
      if (signal.aborted) throw closed()
      if (error === null) {
        // The peer has no such shard yet: it gets it by our push, and then there is something to
        // pull.
        await sleep(clock, AGAIN_MS, signal)
      } else if (direction === 'sender' && isForbidden(error)) {
        // We may read there and not write: the other direction goes on without this one.
        await this.#withhold(direction, error, signal)
      } else if (!(error instanceof SqliteVectorError) || error.code !== 'SYNC_ALREADY_LIVE') {
        throw error
      } else {
        collisions += 1
        if (collisions === COLLISIONS_REPORTED) {
          this.#lastError = error
          this.#setup.onError(error, true)
        }
        const delayMs = COLLIDED_MS * 2 ** Math.min(collisions - 1, 10)
        await sleep(clock, Math.min(COLLIDED_MS_MAX, delayMs), signal)
      }
    }
  }

  async #run(
    direction: Direction,
    connection: Connection,
    signal: AbortSignal,
  ): Promise<Error | null> {
    const { sessions, shardId } = this.#setup
    const onStep = (running: Running): void => this.#note(direction, running)
    try {
      const { session }: RunResult<Session> =
        direction === 'puller'
          ? await sessions.pullLive(connection, shardId, signal, onStep)
          : await sessions.pushLive(connection, shardId, signal, onStep)
      return session.error
    } catch (error) {
      if (error instanceof SqliteVectorError) return error
      throw error
    }
  }

  /** True when our own grants allow the peer that direction. */
  #isGranted(direction: Direction, connection: Connection): boolean {
    const { sessions, shardId } = this.#setup
    const access = sessions.accessOf(connection, shardId)
    return allows(access, direction === 'puller' ? 'write' : 'read')
  }

  /** Leaves a direction out until it is time to ask again: a grant may have been given. */
  async #withhold(direction: Direction, error: Error, signal: AbortSignal): Promise<void> {
    this.#withheld.set(direction, error)
    this.#running.delete(direction)
    const other = direction === 'puller' ? 'sender' : 'puller'
    // Nothing is left of this sync: its owner has to know.
    if (this.#withheld.has(other)) throw error
    const running = this.#running.get(other)
    if (running !== undefined) this.#note(other, running)
    await sleep(this.#setup.clock, WITHHELD_CHECK_MS, signal)
    this.#withheld.delete(direction)
  }

  /** Waits while a session that the peer began does what ours would. */
  async #watchServed(served: Running, direction: Direction, signal: AbortSignal): Promise<void> {
    const ended = Promise.withResolvers<void>()
    const look = (): void => {
      if (served.session.phase === 'closed') ended.resolve()
      else this.#note(direction, served)
    }
    const unfollow = this.#setup.hub.follow(served, look)
    try {
      look()
      await whileWaiting(ended.promise, signal)
    } finally {
      unfollow()
    }
  }

  #note(direction: Direction, running: Running): void {
    this.#running.set(direction, running)
    if (this.#whenMade !== null && stateOrNull(this.#setup.store, this.#setup.shardId) !== null) {
      this.#whenMade()
      this.#whenMade = null
    }
    if (this.#status === 'live') return
    const isLive = (one: Direction): boolean =>
      this.#withheld.has(one) || this.#running.get(one)?.session.complete === true
    if (!isLive('puller') || !isLive('sender')) return
    this.#liveSinceMs = this.#setup.clock.monotonicMs()
    this.#lastError = null
    this.#become('live')
  }

  #fail(error: unknown): void {
    const cause = error instanceof Error ? error : new Error(String(error))
    this.#lastError = cause
    this.#setup.onError(cause, false)
    this.#become('failed')
  }

  #become(status: AutoSyncStatus): void {
    if (status === this.#status) return
    this.#status = status
    this.#setup.onStatus(this.state)
  }
}

/** True when a later attempt may succeed without a change here. */
function canHeal(error: SqliteVectorError): boolean {
  if (error.retryable) return true
  // Grants change while nodes run: a single sync is refused, an auto-sync tries again.
  return error.code === 'SYNC_FORBIDDEN'
}

function isForbidden(error: Error): boolean {
  return error instanceof SqliteVectorError && error.code === 'SYNC_FORBIDDEN'
}

function forbiddenHere(shardId: string): SqliteVectorError {
  const message = `the peer is not granted that on shard ${JSON.stringify(shardId)} here`
  return new SqliteVectorError('SYNC_FORBIDDEN', message)
}

function closed(): SqliteVectorError {
  return new SqliteVectorError('SYNC_CLOSED', 'this sync was closed')
}
