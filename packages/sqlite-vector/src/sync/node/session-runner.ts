/**
 * Runs one session over one channel: the frames of a {@link SessionDriver} over the network.
 * Decides nothing about the protocol (session/step.ts does) and touches no store (the driver does).
 *
 * A frame is sent while the next effect is carried out, and the frame after it waits: so the next
 * batch is read while one travels, a slow peer stops the reading of the feed, and memory holds two
 * batches at most. Invariant: one loop takes frames and one carries effects out; both end before
 * `run` does.
 */
import { turns } from '#platform'
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { PEER_UNSENT_BYTES_MAX } from '../../limits.ts'
import type { Channel } from '../../transport/types.ts'
import { type ChannelEffect, type DriverSetup, SessionDriver } from '../session/driver.ts'
import { faultOf } from '../session/endings.ts'
import type { Session, SessionEvent } from '../session/types.ts'
import { type Running } from '../session/types.ts'
import type { UnsentBytes } from './unsent-bytes.ts'

/** How long an ended session waits for its last words to be heard, in milliseconds. */
const LEAVE_MS = 2_000

/** The parts of a running session. */
export interface RunnerSetup extends DriverSetup {
  readonly channel: Channel
  readonly signal: AbortSignal
  readonly clock: Clock
  /** Called when more changes were committed, here (puller) or at the peer (sender). */
  readonly onProgress: (session: Session, changes: number) => void
  /** Given the running session before its first step, and called after each step. */
  readonly onStep?: (running: Running) => void
  /** Awaited before each frame: what it tells must be on disk. */
  readonly beforeSend?: () => Promise<void>
  /** Frames that wait for the peer, over all its sessions. */
  readonly unsent?: UnsentBytes
  /** Runs `fn`, which may commit what the peer sent. */
  readonly whileApplying?: <T>(fn: () => T) => T
}

/** How a session ended: in order when its `error` is null. */
export interface RunResult<S extends Session> {
  readonly session: S
  /** Bytes of frames, as handed to and taken from the channel. */
  readonly bytesSent: number
  readonly bytesReceived: number
}

/** Changes committed so far, by us when we pull and by the peer when we send. */
export function changesCommitted(session: Session): number {
  return session.role === 'puller' ? session.tally.received : session.tally.acked
}

/**
 * Runs `session` to its end. Never rejects: what went wrong is the session's `error`, and a fault
 * of ours is one with the code `SYNC_FAULT` and its cause. It ends this session and nothing else.
 */
export async function runSession<S extends Session>(
  session: S,
  setup: RunnerSetup,
  firstFrame: Uint8Array | null,
): Promise<RunResult<S>> {
  return new SessionRunner(session, setup).run(firstFrame)
}

class SessionRunner<S extends Session> implements Running {
  readonly #driver: SessionDriver<S>
  readonly #setup: RunnerSetup
  #carrying: Promise<void> = Promise.resolve()
  #isCarrying = false
  /** The frame under way; never rejects. */
  #sending: Promise<void> = Promise.resolve()
  #leaving: (() => void) | null = null
  #fault: { readonly error: unknown } | null = null
  #changes = 0
  #bytesSent = 0
  #bytesReceived = 0

  constructor(session: S, setup: RunnerSetup) {
    this.#driver = new SessionDriver(session, setup)
    this.#setup = setup
  }

  get session(): Session {
    return this.#driver.session
  }

  tell(event: SessionEvent): void {
    try {
      this.#driver.tell(event)
      this.#react()
    } catch (error) {
      // The caller that reports a commit must not fail for it.
      this.#noteFault(error)
    }
  }

  async run(firstFrame: Uint8Array | null): Promise<RunResult<S>> {
    const driver = this.#driver
    let fault: SqliteVectorError | null = null
    try {
      if (driver.session.role === 'puller') driver.start()
      if (firstFrame !== null) this.#take(firstFrame)
      this.#react()
      while (driver.session.phase !== 'closed') {
        if (!driver.ready) await this.#carrying
        else await this.#receive()
      }
      await this.#carrying
      await this.#sending
      if (this.#fault !== null) throw this.#fault.error
      await this.#hearOut()
    } catch (error) {
      fault = faultOf(error)
      this.#setup.channel.abort('the session failed')
    } finally {
      this.#leaving?.()
    }
    const session: S = driver.session
    return {
      session: fault === null ? session : { ...session, phase: 'closed', error: fault },
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
    }
  }

  async #receive(): Promise<void> {
    let frame: Uint8Array | null
    try {
      frame = await this.#setup.channel.receive({ signal: this.#setup.signal })
    } catch (error) {
      this.#fail(error)
      return
    }
    if (frame === null) this.#driver.tell({ type: 'finished' })
    else this.#take(frame)
    this.#react()
  }

  #take(frame: Uint8Array): void {
    this.#bytesReceived += frame.byteLength
    this.#driver.take(frame)
  }

  #fail(error: unknown): void {
    if (!(error instanceof SqliteVectorError)) throw error
    this.#driver.tell({ type: 'failed', error })
    this.#react()
  }

  /**
   * After every event: reports progress, sees to effects, and bounds the time of an ended session.
   */
  #react(): void {
    const { session } = this.#driver
    this.#setup.onStep?.(this)
    const changes = changesCommitted(session)
    if (changes > this.#changes) {
      this.#changes = changes
      this.#setup.onProgress(session, changes)
    }
    if (session.phase === 'closed' && this.#leaving === null) {
      const { clock, channel } = this.#setup
      this.#leaving = clock.schedule(LEAVE_MS, () => channel.abort('the peer does not listen'))
    }
    if (!this.#isCarrying && this.#driver.busy) {
      this.#isCarrying = true
      this.#carrying = this.#carryOut().catch((error: unknown) => this.#noteFault(error))
    }
  }

  /** A fault of ours: the session ends with it, and the channel must not keep `run` waiting. */
  #noteFault(error: unknown): void {
    this.#fault ??= { error }
    this.#setup.channel.abort('the session failed')
  }

  async #carryOut(): Promise<void> {
    const driver = this.#driver
    while (driver.busy) {
      await this.#awaitRoom()
      const effect = this.#advance()
      this.#react()
      if (effect?.type === 'send') {
        const frames = [effect.bytes, ...this.#framesThatFollow()]
        await this.#sending
        this.#sending = this.#handle(this.#send(frames))
      } else if (effect?.type === 'finish') {
        await this.#sending
        await this.#handle(this.#setup.channel.finish())
      }
      // A transaction blocks the thread; the network gets its turn before the next one.
      if (!driver.sending) await turns.next()
    }
    this.#isCarrying = false
  }

  /** A sender reads no more while the peer leaves too much of what it asked for where it is. */
  async #awaitRoom(): Promise<void> {
    const { unsent, signal } = this.#setup
    if (unsent === undefined || unsent.bytes < PEER_UNSENT_BYTES_MAX) return
    if (this.#driver.session.role === 'sender') await this.#handle(unsent.room(signal))
  }

  /** Frames that follow one another leave together, and so in one datagram where they fit. */
  #framesThatFollow(): Uint8Array[] {
    const frames: Uint8Array[] = []
    while (this.#driver.sending) {
      const effect = this.#advance()
      if (effect?.type === 'send') frames.push(effect.bytes)
      this.#react()
    }
    return frames
  }

  /** Waits for the channel; what goes wrong there ends the session. */
  async #handle(task: Promise<void>): Promise<void> {
    try {
      await task
    } catch (error) {
      try {
        this.#fail(error)
      } catch (bug) {
        this.#noteFault(bug)
      }
    }
  }

  #advance(): ChannelEffect | null {
    const { whileApplying } = this.#setup
    if (whileApplying === undefined || this.#driver.session.role === 'sender') {
      return this.#driver.advance()
    }
    return whileApplying(() => this.#driver.advance())
  }

  async #send(frames: readonly Uint8Array[]): Promise<void> {
    const { beforeSend, channel, signal, unsent } = this.#setup
    const total = frames.reduce((sum, { byteLength }) => sum + byteLength, 0)
    unsent?.add(total)
    try {
      await beforeSend?.()
      // A channel keeps the order of the calls.
      await Promise.all(frames.map((bytes) => channel.send(bytes, { signal })))
    } finally {
      unsent?.taken(total)
    }
    this.#bytesSent += total
  }

  /** Takes what still comes, so that our last words arrive before the channel is given up. */
  async #hearOut(): Promise<void> {
    const { channel, signal } = this.#setup
    const { error } = this.#driver.session
    if (error instanceof SqliteVectorError && error.code.startsWith('TRANSPORT_')) {
      channel.abort(error.message)
      return
    }
    try {
      while ((await channel.receive({ signal })) !== null);
    } catch (failure) {
      // The session's outcome is known; what is left is to free the channel.
      if (!(failure instanceof SqliteVectorError)) throw failure
      channel.abort(failure.message)
    }
  }
}
