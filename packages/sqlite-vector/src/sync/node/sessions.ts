/**
 * The sessions of one node: pulls and pushes of our own, and the channels that peers
 * open. Chooses the role that a channel's first frame asks for, and tells of every end.
 *
 * Not here: connections (connections.ts), and how a session runs (session-runner.ts).
 */
import type { Clock } from '../../clock/types.ts'
import { SqliteVectorError } from '../../errors.ts'
import { CLOCK_DRIFT_MS_MAX, PEER_SILENT_MS, SESSIONS_PER_SHARD_MAX } from '../../limits.ts'
import { isLoopback, parseAddress } from '../../transport/address.ts'
import type { Channel, Connection } from '../../transport/types.ts'
import type { Compression } from '../wire/compression.ts'
import { isMembersFrame } from '../wire/members-frame.ts'
import {
  type ControlFrame,
  decodeFrame,
  encodeFrame,
  errorToFrame,
} from '../wire/control-frames.ts'
import { faultOf, violationError } from '../session/endings.ts'
import { createPuller, type PullRequest } from '../session/puller.ts'
import { createSender } from '../session/sender.ts'
import type { SessionStore } from '../session/driver.ts'
import type { PullSession, PullTally, SendSession, Session } from '../session/types.ts'
import type { Access } from '../access/rules.ts'
import { CompareBudget } from '../access/compare-budget.ts'
import { type AccessRule, guardedStore, requireAccess } from '../access/guarded-store.ts'
import type { LiveHub } from '../live/live-hub.ts'
import type { PeerSession, PeerSessionStatus, SyncDirection, SyncEvent } from '../types.ts'
import { PeerProcesses } from './peer-processes.ts'
import { changesCommitted, type RunResult, runSession } from './session-runner.ts'
import { UnsentBytes } from './unsent-bytes.ts'
import { type PeerCursor, type ReplicaStore } from '../../store/replica/types.ts'
import { type Running } from '../session/types.ts'

/** The parts that all sessions of a node share. */
export interface NodeSetup {
  readonly store: ReplicaStore
  readonly nodeId: string
  /** The access of peers to shards. */
  readonly access: AccessRule
  readonly batchSize: number
  readonly compression: Compression
  readonly clock: Clock
  readonly hub: LiveHub
  /** Ends everything when the node closes. */
  readonly signal: AbortSignal
  readonly emit: (event: SyncEvent) => void
  /** Called with every shard that a session worked on, after it. */
  readonly onShard: (shardId: string) => void
  /** Serves a channel that begins with peer records. */
  readonly onMembers: (channel: Channel, connection: Connection, first: Uint8Array) => Promise<void>
}

/** The results of both directions; null without permission. */
export interface BothWays {
  readonly pulled: RunResult<PullSession> | null
  readonly pushed: RunResult<SendSession> | null
}

/** The channel of a session. */
interface Line {
  readonly connection: Connection
  readonly channel: Channel
}

/** Runs sessions and counts those under way. */
export class NodeSessions {
  readonly #setup: NodeSetup
  readonly #budget: CompareBudget
  readonly #processes: PeerProcesses
  readonly #skews = new Map<string, number>()
  /** Peers and shards that are being asked for what they hold under our names. */
  readonly #asking = new Set<string>()
  readonly #peers = new Map<string, PeerUse>()
  readonly #refused = new Set<string>()
  readonly #liveWork = { applied: 0, sent: 0, conflicts: 0, quarantined: 0 }
  #active = 0

  constructor(setup: NodeSetup) {
    this.#setup = setup
    this.#budget = new CompareBudget(setup.clock)
    this.#processes = new PeerProcesses(setup.clock, (peer, addresses) => {
      setup.emit({ type: 'key-shared', peer, addresses })
    })
  }

  /** The known state of peers' copies and of their clocks. */
  peers(): readonly PeerSession[] {
    const cursors = this.#setup.store.peerCursors()
    return cursors.map((cursor) => ({
      ...cursor,
      status: this.#statusOf(cursor),
      skewMs: this.#skews.get(cursor.peer) ?? null,
    }))
  }

  /**
   * Records that live sessions have moved since the start: no caller is given a result of these.
   */
  get liveWork(): LiveWork {
    return { ...this.#liveWork }
  }

  /** The peer's status for the shard, from the sessions themselves. */
  #statusOf({ peer, shardId, lastContactMs }: PeerCursor): PeerSessionStatus {
    const { hub, clock } = this.#setup
    const live = [hub.find(shardId, peer, 'puller'), hub.find(shardId, peer, 'sender')]
    if (live.some((running) => running?.session.complete === true)) return 'live'
    const places = this.#peers.get(peer)?.places
    const isUnderWay = (role: Session['role']): boolean =>
      (places?.get(placeOf(role, shardId)) ?? 0) > 0
    if (isUnderWay('puller') || isUnderWay('sender')) return 'catching-up'
    if (this.#refused.has(placeOf('puller', `${peer}:${shardId}`))) return 'refused'
    return clock.nowMs() - lastContactMs >= PEER_SILENT_MS ? 'silent' : 'closed'
  }

  /** Remembers a refusal until a session of the two ends in order. */
  #noteEnd({ peer, error }: Session, shardId: string): void {
    const key = placeOf('puller', `${peer}:${shardId}`)
    const code = error instanceof SqliteVectorError ? error.code : null
    if (code === 'SYNC_FORBIDDEN') this.#refused.add(key)
    else if (code === null) this.#refused.delete(key)
    if (this.#refused.size > REFUSALS_MAX) this.#refused.clear()
  }

  /** Counts the work of a live session step by step. */
  #countLive(now: Session, before: LiveWork): LiveWork {
    const isLive = now.role === 'puller' ? now.live : now.subscription?.live === true
    const after = workOf(now)
    if (!isLive) return after
    this.#liveWork.applied += after.applied - before.applied
    this.#liveWork.sent += after.sent - before.sent
    this.#liveWork.conflicts += after.conflicts - before.conflicts
    this.#liveWork.quarantined += after.quarantined - before.quarantined
    return after
  }

  get active(): number {
    return this.#active
  }

  /** True while the peer's live sessions are with another process that has its key. */
  isServedElsewhere(connection: Connection): boolean {
    return this.#processes.isServedElsewhere(connection)
  }

  /** The peer's access to the shard here. */
  accessOf({ peer }: Connection, shardId: string): Access {
    return this.#setup.access.accessOf(peer, shardId)
  }

  /**
   * First what the peer has, then what we have. At once would be a round trip shorter, but the peer
   * may claim its latest writes only after it has sent them, so we would send it some of them back.
   * @throws what ended either; `SYNC_FORBIDDEN` when neither direction is allowed
   */
  async bothWays(connection: Connection, shardId: string, signal: AbortSignal): Promise<BothWays> {
    const access = this.accessOf(connection, shardId)
    const pulled = access === 'read' ? null : await this.pull(connection, shardId, signal)
    try {
      return { pulled, pushed: await this.push(connection, shardId, signal) }
    } catch (error) {
      const isForbidden = error instanceof SqliteVectorError && error.code === 'SYNC_FORBIDDEN'
      // The peer hides from us what we may not even read: then there was nothing to pull either.
      if (!isForbidden || pulled === null || pulled.session.caughtUp === null) throw error
      return { pulled, pushed: null }
    }
  }

  /** Takes from the peer what we lack of the shard. @throws what ended the session */
  async pull(
    connection: Connection,
    shardId: string,
    signal: AbortSignal,
    check: Pick<PullRequest, 'verify' | 'payloads'> = {},
  ): Promise<RunResult<PullSession>> {
    requireAccess(this.#setup.access, connection.peer, shardId, 'write')
    // HELLO and SUBSCRIBE ask for something and change nothing: a replay of them is harmless.
    const channel = await connection.openChannel({ signal, early: true })
    const peer = connection.peer.fingerprint
    const session = createPuller({ peer, shardId, live: false, ...check })
    return orThrow(await this.#run(session, { connection, channel }, signal, null))
  }

  /** Has the peer take what it lacks of the shard. @throws what ended the session */
  async push(
    connection: Connection,
    shardId: string,
    signal: AbortSignal,
  ): Promise<RunResult<SendSession>> {
    // The invitation alone would name the shard.
    requireAccess(this.#setup.access, connection.peer, shardId, 'read')
    const channel = await connection.openChannel({ signal })
    const invitation = encodeFrame({ type: 'invite', shardId, live: false })
    await channel.send(invitation, { signal })
    const session = createSender({ peer: connection.peer.fingerprint, shardId })
    const result = orThrow(await this.#run(session, { connection, channel }, signal, null))
    if (!result.session.complete) {
      throw new SqliteVectorError(
        'SYNC_REMOTE_FAILED',
        `the peer left before it had all of shard ${JSON.stringify(shardId)}`,
      )
    }
    return { ...result, bytesSent: result.bytesSent + invitation.byteLength }
  }

  /** Pulls until the signal or the peer ends it; resolves with the session as it ended. */
  async pullLive(
    connection: Connection,
    shardId: string,
    signal: AbortSignal,
    onStep: (running: Running) => void,
  ): Promise<RunResult<PullSession>> {
    requireAccess(this.#setup.access, connection.peer, shardId, 'write')
    this.#claim(connection, shardId)
    const channel = await connection.openChannel({ signal })
    const peer = connection.peer.fingerprint
    if (this.#setup.hub.find(shardId, peer, 'puller') !== null) {
      // The peer invited us while the channel was being opened.
      channel.abort('the shard is pulled live already')
      throw alreadyLive(shardId)
    }
    const session = createPuller({ peer, shardId, live: true })
    return this.#run(session, { connection, channel }, signal, null, onStep)
  }

  /**
   * Has the peer pull until the signal or the peer ends it; resolves with the session as it ended.
   */
  async pushLive(
    connection: Connection,
    shardId: string,
    signal: AbortSignal,
    onStep: (running: Running) => void,
  ): Promise<RunResult<SendSession>> {
    requireAccess(this.#setup.access, connection.peer, shardId, 'read')
    this.#claim(connection, shardId)
    const channel = await connection.openChannel({ signal })
    await channel.send(encodeFrame({ type: 'invite', shardId, live: true }), { signal })
    const session = createSender({ peer: connection.peer.fingerprint, shardId })
    return this.#run(session, { connection, channel }, signal, null, onStep)
  }

  /** Serves a channel that the peer opened, in the role that its first frame asks for. */
  async serve(channel: Channel, connection: Connection): Promise<void> {
    const { signal } = this.#setup
    const peer = connection.peer.fingerprint
    try {
      const bytes = await channel.receive({ signal })
      if (bytes === null) {
        await channel.finish()
        return
      }
      if (isMembersFrame(bytes)) {
        await this.#setup.onMembers(channel, connection, bytes)
        return
      }
      const frame = decodeFrame(bytes)
      if (frame.type === 'hello') {
        await this.#run(
          createSender({ peer, shardId: null }),
          { connection, channel },
          signal,
          bytes,
        )
      } else if (frame.type === 'invite') {
        const { shardId, live } = frame
        this.#checkInvitation(connection, shardId)
        if (live) this.#claim(connection, shardId)
        if (live && this.#setup.hub.find(shardId, peer, 'puller') !== null) {
          throw alreadyLive(shardId)
        }
        const session = createPuller({ peer, shardId, live })
        await this.#run(session, { connection, channel }, signal, null)
      } else {
        await answerOnce(channel, frame)
      }
    } catch (error) {
      // The peer's doing, the connection's end, or a fault of ours: it costs this channel and
      // nothing else.
      const fault = faultOf(error)
      if (fault !== error) {
        const { emit } = this.#setup
        emit({ type: 'error', shardId: null, address: null, error: fault, willRetry: false })
      }
      await giveUp(channel, fault, this.#setup.clock)
    }
  }

  /** @throws SqliteVectorError `SYNC_ALREADY_LIVE` */
  #claim(connection: Connection, shardId: string): void {
    const error = this.#processes.claim(connection, shardId)
    if (error !== null) throw error
  }

  /** A live subscription that another process of the peer holds already ends; true when it did. */
  #refuseShared(running: Running, connection: Connection): boolean {
    const { session } = running
    if (session.role !== 'sender' || session.subscription?.live !== true) return false
    if (session.phase === 'closed') return false
    const error = this.#processes.claim(connection, session.subscription.shardId)
    if (error !== null) running.tell({ type: 'failed', error })
    return error !== null
  }

  /** The answer depends on grants alone, so it does not reveal which shards exist. */
  #checkInvitation({ peer }: Connection, shardId: string): void {
    try {
      requireAccess(this.#setup.access, peer, shardId, 'write')
    } catch (error) {
      if (!(error instanceof SqliteVectorError)) throw error
      const { fingerprint } = peer
      const ended = { shardId, peer: fingerprint, changes: 0, error }
      this.#setup.emit({ type: 'session-ended', direction: 'pull', ...ended })
      throw error
    }
  }

  /** A bug that ended a session must be seen, also where the peer began it. */
  #tellOfFault(ended: Session): void {
    const { error } = ended
    if (!(error instanceof SqliteVectorError) || error.code !== 'SYNC_FAULT') return
    const shardId = shardIdOf(ended)
    this.#setup.emit({ type: 'error', shardId, address: null, error, willRetry: false })
  }

  /** Emits the events of one batch. */
  #tellOfApplied({ shardId, peer, tally }: PullSession, before: PullTally): void {
    const { emit } = this.#setup
    const received = tally.received - before.received
    if (received > 0) {
      this.#skews.set(peer, tally.skewMsMax)
      emit({ type: 'applied', shardId, peer, received, applied: tally.applied - before.applied })
    }
    const conflicts = tally.conflicts - before.conflicts
    if (conflicts > 0) emit({ type: 'conflict', shardId, peer, conflicts })
    const quarantined = tally.quarantined - before.quarantined
    if (quarantined > 0) emit({ type: 'quarantine', shardId, peer, quarantined })
    if (tally.skewMsMax > before.skewMsMax && tally.skewMsMax > CLOCK_DRIFT_MS_MAX) {
      emit({ type: 'skew', shardId, peer, skewMs: tally.skewMsMax })
    }
  }

  /** The store as sessions over the connection see it. */
  #storeFor(connection: Connection): SessionStore {
    const { peer } = connection
    const guarded = guardedStore(this.#setup.store, this.#setup.access, peer)
    const bounded = this.#budget.bounded(guarded, peer.fingerprint)
    return {
      ...bounded,
      meet: (shardId, from, claims) => {
        const verdict = bounded.meet(shardId, from, claims)
        if (verdict !== 'credible') this.#askForProof(connection, shardId)
        return verdict
      },
    }
  }

  /**
   * Has the peer show what it holds under our names, beside whatever else runs with it. One
   * question at a time.
   */
  #askForProof(connection: Connection, shardId: string): void {
    const peer = connection.peer.fingerprint
    const key = JSON.stringify([peer, shardId])
    if (this.#asking.has(key)) return
    this.#asking.add(key)
    this.#setup.emit({ type: 'doubt', shardId, peer })
    const ended = this.pull(connection, shardId, this.#setup.signal).catch((error: unknown) => {
      const fault = faultOf(error)
      // The session has told of its end; a fault of ours must be seen, too.
      if (fault === error) return
      this.#setup.emit({ type: 'error', shardId, address: null, error: fault, willRetry: false })
    })
    void ended.finally(() => this.#asking.delete(key))
  }

  async #run<S extends Session>(
    session: S,
    { connection, channel }: Line,
    signal: AbortSignal,
    firstFrame: Uint8Array | null,
    onStep?: (running: Running) => void,
  ): Promise<RunResult<S>> {
    const { emit, onShard, hub } = this.#setup
    const peer = this.#peerOf(connection)
    this.#active += 1
    peer.sessions += 1
    let place: string | null = null
    let work = NO_WORK
    try {
      const onProgress = (now: Session, changes: number): void => {
        const shardId = shardIdOf(now)
        if (shardId === null) return
        emit({ type: 'progress', direction: directionOf(now), shardId, peer: now.peer, changes })
      }
      let tally = NOTHING_PULLED
      const stepped = (running: Running): void => {
        const now = running.session
        if (place === null) place = this.#takePlace(peer, running)
        work = this.#countLive(now, work)
        if (now.role === 'puller' && now.tally !== tally) {
          this.#tellOfApplied(now, tally)
          tally = now.tally
        }
        if (this.#refuseShared(running, connection)) return
        hub.stepped(running, onStep !== undefined)
        onStep?.(running)
      }
      const { whileApplying } = hub
      const store = this.#storeFor(connection)
      const compression = compressionOn(connection, this.#setup.compression)
      const setup = {
        ...this.#setup,
        store,
        compression,
        channel,
        signal,
        onProgress,
        onStep: stepped,
        beforeSend: () => this.#setup.store.whenDurable(),
        unsent: peer.unsent,
        whileApplying,
      }
      const result = await runSession(session, setup, firstFrame)
      const ended: Session = result.session
      this.#tellOfFault(ended)
      const shardId = shardIdOf(ended)
      if (shardId !== null) {
        onShard(shardId)
        this.#noteEnd(ended, shardId)
      }
      if (ended.role === 'puller') emitFindings(ended, emit)
      emit({
        type: 'session-ended',
        direction: directionOf(ended),
        shardId,
        peer: ended.peer,
        changes: changesCommitted(ended),
        error: ended.error,
      })
      return result
    } finally {
      this.#active -= 1
      this.#leavePlace(connection, peer, place)
    }
  }

  #peerOf({ peer: { fingerprint } }: Connection): PeerUse {
    const known = this.#peers.get(fingerprint)
    if (known !== undefined) return known
    const use = { sessions: 0, unsent: new UnsentBytes(), places: new Map<string, number>() }
    this.#peers.set(fingerprint, use)
    return use
  }

  /** Counts the session once its shard is known; one too many is refused. */
  #takePlace({ places }: PeerUse, running: Running): string | null {
    const { session } = running
    const shardId = shardIdOf(session)
    if (shardId === null || session.phase === 'closed') return null
    const place = placeOf(session.role, shardId)
    const count = (places.get(place) ?? 0) + 1
    places.set(place, count)
    if (count > SESSIONS_PER_SHARD_MAX) {
      const message = `the peer has ${SESSIONS_PER_SHARD_MAX} sessions on shard ${JSON.stringify(shardId)} already`
      running.tell({ type: 'failed', error: new SqliteVectorError('SYNC_SESSION_LIMIT', message) })
    }
    return place
  }

  #leavePlace({ peer: { fingerprint } }: Connection, use: PeerUse, place: string | null): void {
    use.sessions -= 1
    if (place !== null) use.places.set(place, (use.places.get(place) ?? 1) - 1)
    if (use.sessions === 0) this.#peers.delete(fingerprint)
  }
}

/** Records that live sessions moved. */
export interface LiveWork {
  readonly applied: number
  readonly sent: number
  readonly conflicts: number
  readonly quarantined: number
}

const NO_WORK: LiveWork = { applied: 0, sent: 0, conflicts: 0, quarantined: 0 }

/** Pairs of peer and shard whose newest session was refused, as remembered for their status. */
const REFUSALS_MAX = 4_096

function workOf(session: Session): LiveWork {
  if (session.role === 'sender') return { ...NO_WORK, sent: session.tally.acked }
  const { applied, conflicts, quarantined } = session.tally
  return { applied, sent: 0, conflicts, quarantined }
}

function placeOf(role: Session['role'], shardId: string): string {
  return JSON.stringify([role, shardId])
}

/** The shared use of resources by one peer's sessions. */
interface PeerUse {
  sessions: number
  readonly unsent: UnsentBytes
  /** Sessions under way by role and shard. */
  readonly places: Map<string, number>
}

/** The tally of a pull that did not take place, or has not begun. */
export const NOTHING_PULLED: PullTally = {
  batches: 0,
  received: 0,
  applied: 0,
  redundant: 0,
  conflicts: 0,
  quarantined: 0,
  skewMsMax: 0,
  divergences: 0,
  dropped: 0,
  repaired: 0,
}

/** Emits the findings of a pull. */
function emitFindings(
  { peer, shardId, tally }: PullSession,
  emit: (event: SyncEvent) => void,
): void {
  const { skewMsMax, divergences, dropped, repaired } = tally
  if (skewMsMax > CLOCK_DRIFT_MS_MAX) emit({ type: 'skew', shardId, peer, skewMs: skewMsMax })
  if (divergences > 0 || dropped > 0) {
    emit({ type: 'repair', shardId, peer, diverged: divergences > 0, dropped, repaired })
  }
}

/** Within one machine bytes cost less than compressing them. */
function compressionOn({ remoteAddress }: Connection, wanted: Compression): Compression {
  if (wanted !== 'adaptive') return wanted
  return isLoopback(parseAddress(remoteAddress).host) ? 'none' : wanted
}

function alreadyLive(shardId: string): SqliteVectorError {
  return new SqliteVectorError(
    'SYNC_ALREADY_LIVE',
    `shard ${JSON.stringify(shardId)} is pulled live already`,
  )
}

async function answerOnce(channel: Channel, frame: ControlFrame): Promise<void> {
  if (frame.type !== 'ping') throw violationError(`a channel that begins with ${frame.type}`)
  await channel.send(encodeFrame({ type: 'pong', nonce: frame.nonce }))
  await channel.finish()
}

/** How long the peer has to end a channel that was refused, in milliseconds. */
const REFUSED_MS = 2_000

/**
 * Tells the peer the reason, if it can still be heard, and reads the channel to its end, which
 * frees it.
 */
async function giveUp(channel: Channel, error: SqliteVectorError, clock: Clock): Promise<void> {
  const cancel = clock.schedule(REFUSED_MS, () => channel.abort(error.message))
  try {
    await channel.send(encodeFrame(errorToFrame(error)))
    await channel.finish()
    while ((await channel.receive()) !== null);
  } catch (failure) {
    if (!(failure instanceof SqliteVectorError)) throw failure
    channel.abort(error.message)
  } finally {
    cancel()
  }
}

function orThrow<S extends Session>(result: RunResult<S>): RunResult<S> {
  const { error } = result.session
  if (error !== null) throw error
  return result
}

function directionOf(session: Session): SyncDirection {
  return session.role === 'puller' ? 'pull' : 'push'
}

function shardIdOf(session: Session): string | null {
  if (session.role === 'puller') return session.shardId
  return session.subscription?.shardId ?? session.shardId
}
