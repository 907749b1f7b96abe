/**
 * `createVectorSync()`: keeps the shards of one database in sync with those of peers, over QUIC.
 * This file opens connections, runs sessions on them and adds up their results.
 *
 * Not here: what may follow what (session/step.ts), what bytes mean (wire/control-frames.ts,
 * delta.ts), what a commit is (the store), how frames travel (transport/). `sync()` runs two
 * sessions over one connection, one in each direction; in the second the peer pulls, on a channel
 * that we opened and on which we invited it.
 */
import { vectorsEqual } from '../model/version-vector.ts'
import { systemClock } from '../clock/system-clock.ts'
import type { Clock } from '../clock/types.ts'
import { SqliteVectorError } from '../errors.ts'
import {
  ADDRESS_BYTES_MAX,
  EVENT_BUFFER_DEFAULT,
  EVENT_BUFFER_MAX,
  NODE_ID_BYTES_MAX,
  SHARD_ID_BYTES_MAX,
  SYNC_CHANNELS_MAX,
  TRUST_ENTRIES_MAX,
} from '../limits.ts'
import { booleanGiven, integerIn, nameGiven, objectGiven, rejectUnknownKeys } from '../options.ts'
import type { ClusterService } from '../transport/cluster/service.ts'
import { QuicTransport } from '../transport/quic/transport.ts'
import type { TrustList } from '../transport/identity/trust.ts'
import type { Channel, Connection, PeerAddress, Transport } from '../transport/types.ts'
import { stateOrNull } from './session/driver.ts'
import { shardTag } from './wire/peer-record.ts'
import { faultOf, violationError } from './session/endings.ts'
import { againIfPeerChanged, Connections, ping, wireBytes } from './node/connections.ts'
import { AutoSyncs } from './node/auto-syncs.ts'
import { type DroppedEvent, EventHub } from './node/event-stream.ts'
import { LiveHub } from './live/live-hub.ts'
import { type LocalNode, openClusterService, openNode, openPermissions } from './node/local-node.ts'
import { type Member, MemberBook } from './members/member-book.ts'
import { Membership } from './members/membership.ts'
import { type BothWays, type LiveWork, NodeSessions } from './node/sessions.ts'
import type { Permissions } from './access/permissions.ts'
import { syncTally } from './node/sync-tally.ts'
import { SharedTask } from './node/shared-task.ts'
import { TombstoneCollector } from './node/tombstone-collector.ts'
import { waitForPeers } from './node/wait-for-peers.ts'
import { type ResolvedSyncConfig, resolveSyncConfig } from './node/options.ts'
import type {
  EventOptions,
  SyncableDatabase,
  SyncEvent,
  SyncOptions,
  VerifyOptions,
  SyncResult,
  SyncSession,
  VectorSyncConfig,
  VerifyResult,
  WaitForPeersOptions,
} from './types.ts'
import { type ShardState } from '../model/records.ts'

/** Longest wait for a sign of life, in milliseconds. */
const PING_MS = 5_000

/**
 * Sync for `db` under the name `nodeId`. Opens no socket before it is needed. The node's key pair
 * is made at the first call, in the folder `<path of the database>-node/`, and kept there with the
 * list of trusted peers.
 * @throws TypeError, RangeError for options; `TRANSPORT_IDENTITY_INVALID`
 */
export function createVectorSync(
  db: SyncableDatabase,
  nodeId: string,
  config: VectorSyncConfig = {},
): VectorSync {
  objectGiven('createVectorSync: db', db)
  objectGiven('createVectorSync: db.replica', db.replica)
  nameGiven('nodeId', nodeId, NODE_ID_BYTES_MAX)
  const resolved = resolveSyncConfig(config)
  if (resolved.conflictStrategy !== null && db.setConflictStrategy === undefined) {
    throw new TypeError('conflictStrategy: this database has no setConflictStrategy()')
  }
  return new VectorSync(db, nodeId, resolved, systemClock)
}

/** One node: its side of every sync. Made by {@link createVectorSync}. */
export class VectorSync {
  readonly nodeId: string
  /** Which peer may do what with which shard; changes hold from the next batch on. */
  readonly permissions: Permissions
  readonly #db: SyncableDatabase
  readonly #config: ResolvedSyncConfig
  readonly #clock: Clock
  readonly #node: LocalNode | null
  readonly #sessions: NodeSessions
  readonly #hub: LiveHub
  readonly #autoSyncs: AutoSyncs
  readonly #members: MemberBook
  readonly #collector: TombstoneCollector
  #membership: Membership | null = null
  readonly #memberListeners = new Set<(member: Member) => void>()
  readonly #events = new EventHub<SyncEvent>()
  readonly #stopListening: () => void
  readonly #stopDeferring: () => Promise<void>
  readonly #ending = new AbortController()
  readonly #syncs = new Map<string, SharedTask<SyncResult>>()
  readonly #shardsSeen = new Set<string>()
  readonly #strategySet = new Set<string>()
  #connections: Promise<Connections> | null = null
  #opened: Connections | null = null
  #quic: QuicTransport | null = null
  #service: ClusterService | null = null
  #listening: PeerAddress | null = null
  #closed: Promise<void> | null = null

  constructor(db: SyncableDatabase, nodeId: string, config: ResolvedSyncConfig, clock: Clock) {
    this.nodeId = nodeId
    this.#db = db
    this.#config = config
    this.#clock = clock
    this.#node = config.transport === null ? openNode(db.replica.path, nodeId) : null
    this.permissions = config.permissions ?? openPermissions(this.#node, db.replica.path)
    // The folder is there now: from here on the file can tell whether it was replaced.
    if (this.#node !== null) db.replica.keepToken()
    const { replica: store } = db
    const emit = (event: SyncEvent): void => this.#emit(event)
    const { signal } = this.#ending
    this.#hub = new LiveHub({
      store,
      clock,
      relayDelayMs: config.relayDelayMs,
      checkIntervalMs: config.syncIntervalMs,
      onError: (error) => this.#hubFailed(error),
    })
    this.#sessions = new NodeSessions({
      store,
      access: this.permissions,
      nodeId,
      batchSize: config.batchSize,
      compression: config.compression,
      clock,
      hub: this.#hub,
      signal,
      emit,
      onShard: (shardId) => this.#applyStrategy(shardId),
      onMembers: (channel, connection, first) => this.#meet(channel, connection, first),
    })
    const onError = (error: unknown): void => this.#hubFailed(error)
    this.#members = new MemberBook(store, clock, onError, config.replicaRetentionMs)
    this.#autoSyncs = new AutoSyncs({
      sessions: this.#sessions,
      hub: this.#hub,
      store,
      clock,
      signal,
      emit,
      connect: (address, wait) => this.#connect(address, wait),
    })
    this.#collector = new TombstoneCollector(store, clock, config, emit)
    this.#stopDeferring = store.deferFlush()
    this.#stopListening = store.onCommit((notice) => {
      emit({ type: 'change', ...notice })
      if (this.#shardsSeen.has(notice.shardId)) return
      this.#shardsSeen.add(notice.shardId)
      this.#membership?.announceSoon()
    })
  }

  /** SHA-256 of our certificate, 64 hexadecimal digits: what peers pin. */
  get fingerprint(): string {
    return this.#node?.identity.fingerprint ?? this.#givenTransport().identity.fingerprint
  }

  /** Records that live sessions moved since the start; `sync()` counts its own in its result. */
  get liveWork(): LiveWork {
    return this.#sessions.liveWork
  }

  /** Time for which a silent peer holds tombstones back, in milliseconds. */
  get replicaRetentionMs(): number {
    return this.#config.replicaRetentionMs
  }

  /** Our certificate, for a peer's trust list. @throws TypeError when the transport was given */
  get certificatePem(): string {
    return this.#ownNode('certificatePem').identity.certificatePem
  }

  /**
   * The peers that may talk to us; changes hold at once.
   * @throws TypeError when the transport was given
   */
  get trust(): TrustList {
    return this.#ownNode('trust').trust
  }

  /**
   * Takes connections of peers at `address`, by default the one of the options. Resolves with the
   * address really bound (port 0 is filled in).
   * @throws SqliteVectorError `TRANSPORT_ADDRESS_IN_USE`, `SYNC_CLOSED`
   */
  async listen(address: PeerAddress = this.#config.listen): Promise<PeerAddress> {
    nameGiven('address', address, ADDRESS_BYTES_MAX)
    const connections = await this.#open()
    this.#listening = await connections.listen(address)
    this.#membership?.announceSoon()
    return this.#listening
  }

  /**
   * Brings the shard here and at `address` to the same state: resolves when each side has committed
   * all that the other had when it caught up. A shard that only one side has is created on the
   * other. Calls for the same shard and address at the same time share one run. An aborted or
   * failed run keeps what it committed. If one side may only read the shard, only the other
   * direction is synced, and the result says so.
   * @throws SqliteVectorError of TRANSPORT_, SYNC_ and STORE_ codes; `SYNC_SHARD_UNKNOWN` when
   * neither side has the shard
   */
  async sync(
    shardId: string,
    address: PeerAddress,
    options: SyncOptions = {},
  ): Promise<SyncResult> {
    nameGiven('shardId', shardId, SHARD_ID_BYTES_MAX)
    nameGiven('address', address, ADDRESS_BYTES_MAX)
    rejectUnknownKeys('sync', options, ['signal'])
    this.#throwIfClosed()
    const key = JSON.stringify([shardId, address])
    let task = this.#syncs.get(key)
    if (task === undefined) {
      task = new SharedTask((signal) => this.#sync(shardId, address, signal))
      this.#syncs.set(key, task)
    }
    try {
      return await task.wait(options.signal)
    } finally {
      if (task.ended && this.#syncs.get(key) === task) this.#syncs.delete(key)
    }
  }

  /**
   * Keeps the shard in sync with the peer at `address` from now on: each side's commits are at the
   * other as soon as they are made, also those of other processes on the file. Returns at once; how
   * it goes is told by events (`sync`, `error`) and {@link getSession}. A lost peer is tried again,
   * with backoff; an error that cannot heal is shown and not tried again. Idempotent while it runs.
   */
  startAutoSync(shardId: string, address: PeerAddress): void {
    nameGiven('shardId', shardId, SHARD_ID_BYTES_MAX)
    nameGiven('address', address, ADDRESS_BYTES_MAX)
    this.#throwIfClosed()
    this.#applyStrategy(shardId)
    this.#autoSyncs.start(shardId, address)
  }

  /** Ends what {@link startAutoSync} began; resolves when it has ended, true when there was one. */
  stopAutoSync(shardId: string, address: PeerAddress): Promise<boolean> {
    return this.#autoSyncs.stop(shardId, address)
  }

  /** Ends every auto-sync; resolves with how many there were. */
  stopAllAutoSyncs(): Promise<number> {
    return this.#autoSyncs.stopAll()
  }

  /**
   * Events from now on, until the loop is left, `signal` ends it or the sync is closed. A reader
   * that is slower than events come misses the oldest, and is told how many by a `dropped` event.
   */
  events(options: EventOptions = {}): AsyncIterableIterator<SyncEvent | DroppedEvent> {
    rejectUnknownKeys('events', options, ['bufferMax', 'signal'])
    const { bufferMax = EVENT_BUFFER_DEFAULT, signal } = options
    integerIn('bufferMax', bufferMax, 1, EVENT_BUFFER_MAX)
    this.#throwIfClosed()
    return this.#events.read(bufferMax, signal)
  }

  /**
   * Syncs, counts our rows again, and compares them with the peer's, whatever the digests say.
   * Records missing on our side are fetched; the peer fetches what it lacks when it verifies.
   * @throws what {@link sync} throws; `SYNC_DIVERGED` when rows still differ and nothing explains
   * it
   */
  async verify(
    shardId: string,
    address: PeerAddress,
    options: VerifyOptions = {},
  ): Promise<VerifyResult> {
    rejectUnknownKeys('verify', options, ['signal', 'payloads'])
    const { signal: given, payloads = false } = options
    booleanGiven('payloads', payloads)
    const { correct } = await this.#db.replica.recountInTurns(shardId, given)
    await this.sync(shardId, address, given === undefined ? {} : { signal: given })
    const signal = this.#waitSignal(given)
    const connection = await this.#connect(address, signal)
    const { session } = await this.#sessions.pull(connection, shardId, signal, {
      verify: true,
      payloads,
    })
    const state = this.#db.replica.shardState(shardId)
    const { divergences, repaired, dropped } = session.tally
    const equal =
      session.caughtUp?.digest === state.digest &&
      vectorsEqual(session.caughtUp.versionVector, state.versionVector)
    const { compared } = session
    return {
      shardId,
      address,
      peer: connection.peer.fingerprint,
      correct,
      compared: compared.equal > 0,
      equal,
      divergences,
      repaired,
      dropped,
      onlyHere: compared.extra,
      damaged: compared.payloads ? { count: compared.damagedCount, ids: compared.damaged } : null,
      state,
    }
  }

  /**
   * Waits until `acks` peers durably hold everything that the shard holds now. Starts no sync; live
   * peers are asked at once. Resolves with their fingerprints. @throws SqliteVectorError
   * `TRANSPORT_ABORTED` when the signal ends the wait, `SYNC_CLOSED`
   */
  async waitForPeers(shardId: string, options: WaitForPeersOptions): Promise<readonly string[]> {
    nameGiven('shardId', shardId, SHARD_ID_BYTES_MAX)
    objectGiven('waitForPeers: options', options)
    rejectUnknownKeys('waitForPeers', options, ['acks', 'signal'])
    integerIn('acks', options.acks, 1, TRUST_ENTRIES_MAX)
    this.#throwIfClosed()
    const ask = (): void => this.#hub.confirm(shardId)
    const wanted = { shardId, acks: options.acks, ask }
    return waitForPeers(this.#db.replica, wanted, this.#waitSignal(options.signal))
  }

  /**
   * Confirms for a day that `peer` (a fingerprint) may have this node drop records of the shard
   * that it says were deleted and that it no longer can show, however many: beyond a tenth of the
   * shard a sync ends with `SYNC_DELETIONS_REFUSED` until then.
   */
  acceptDeletions(shardId: string, peer: string): void {
    nameGiven('shardId', shardId, SHARD_ID_BYTES_MAX)
    nameGiven('peer', peer, NODE_ID_BYTES_MAX)
    this.#throwIfClosed()
    this.#db.replica.confirmDrops(shardId, peer)
  }

  /**
   * Asks the peer for a sign of life; its round-trip time in milliseconds.
   * @throws what hinders it
   */
  async ping(address: PeerAddress, options: SyncOptions = {}): Promise<number> {
    nameGiven('address', address, ADDRESS_BYTES_MAX)
    rejectUnknownKeys('ping', options, ['signal'])
    const signal = this.#waitSignal(options.signal)
    const connection = await this.#connect(address, signal)
    const rttMs = await ping(connection, this.#clock, PING_MS, signal)
    if (rttMs !== null) return rttMs
    throw new SqliteVectorError('TRANSPORT_CLOSED', `${address} gave no answer in ${PING_MS} ms`)
  }

  /** Our identity, the open connections, and the durable state of peers. */
  getSession(): SyncSession {
    const { replica } = this.#db
    const open = this.#opened?.list() ?? []
    return {
      nodeId: this.nodeId,
      fingerprint: this.fingerprint,
      ...replica.identity(),
      listening: this.#listening,
      connections: open.map(({ connection, dialledAddress }) => ({
        peer: connection.peer.fingerprint,
        remoteAddress: connection.remoteAddress,
        dialled: dialledAddress !== null,
        stats: connection.stats(),
      })),
      transport: this.#quic?.getStats() ?? null,
      wire: this.#opened?.wire() ?? { bytesSent: 0, bytesReceived: 0 },
      sessionsActive: this.#sessions.active,
      autoSyncs: this.#autoSyncs.list(),
      members: this.#members.list(),
      peers: this.#sessions.peers(),
    }
  }

  /** The shard as it is here now. @throws SqliteVectorError `STORE_SHARD_UNKNOWN` */
  getShardState(shardId: string): ShardState {
    nameGiven('shardId', shardId, SHARD_ID_BYTES_MAX)
    return this.#db.replica.shardState(shardId)
  }

  /**
   * Nodes that introduced themselves or were introduced by others; an introduction creates no
   * trust.
   */
  getMembers(): readonly Member[] {
    return this.#members.list()
  }

  /** Calls `listener` when something about a node is news; the result ends that. */
  onMember(listener: (member: Member) => void): () => void {
    this.#memberListeners.add(listener)
    return () => this.#memberListeners.delete(listener)
  }

  /**
   * The shards here that the node names in its record; null when it has more than a record names,
   * or is not known.
   */
  sharedWith(peer: string): readonly string[] | null {
    const tags = this.#members.record(peer)?.statement.shards ?? null
    if (tags === null) return null
    const theirs = new Set(tags)
    return this.#db.replica
      .shards()
      .map(({ shardId }) => shardId)
      .filter((shardId) => theirs.has(shardTag(shardId)))
  }

  /**
   * Ends every session and connection; what was committed stays. Peers are told that we may come
   * back. Idempotent. The database stays open.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close('offline')
    return this.#closed
  }

  /**
   * {@link close}, and peers are told that this node does not come back, so they stop dialling it.
   */
  leave(): Promise<void> {
    this.#closed ??= this.#close('left')
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(status: 'offline' | 'left'): Promise<void> {
    await this.#membership?.farewell(status)
    this.#ending.abort(closedError())
    this.#membership?.close()
    this.#stopListening()
    this.#collector.close()
    this.#hub.close()
    await this.#autoSyncs.stopAll()
    const connections = await this.#connections?.catch(() => null)
    await connections?.close()
    await this.#service?.close()
    this.#members.flush()
    await this.#stopDeferring()
    this.#listening = null
    this.#events.end()
  }

  async #sync(shardId: string, address: PeerAddress, waiters: AbortSignal): Promise<SyncResult> {
    const startedMs = this.#clock.monotonicMs()
    this.#applyStrategy(shardId)
    const signal = this.#waitSignal(waiters)
    try {
      const { connection, wireBefore, pulled, pushed } = await againIfPeerChanged(async (early) => {
        const dialled = await this.#connect(address, signal, early)
        const before = wireBytes(dialled)
        const both = await this.#twiceIfRenewed(dialled, shardId, signal)
        return { ...both, connection: dialled, wireBefore: before }
      })
      return {
        ...syncTally(pulled, pushed),
        pulled: pulled !== null,
        pushed: pushed !== null,
        shardId,
        address,
        peer: connection.peer.fingerprint,
        peerNodeId: pulled?.session.peerNodeId ?? pushed?.session.peerNodeId ?? null,
        wireBytes: wireBytes(connection) - wireBefore,
        durationMs: this.#clock.monotonicMs() - startedMs,
        state: this.#db.replica.shardState(shardId),
      }
    } catch (error) {
      throw this.#ending.signal.aborted ? closedError() : error
    }
  }

  /**
   * A file that turns out to be a copy gets a new identity on the way, here or there, and the sync
   * goes on under it.
   */
  async #twiceIfRenewed(
    connection: Connection,
    shardId: string,
    signal: AbortSignal,
  ): Promise<BothWays> {
    try {
      return await this.#sessions.bothWays(connection, shardId, signal)
    } catch (error) {
      if (!isIdentityError(error)) throw error
    }
    try {
      // A peer that doubts us sends nothing before we have shown our rows.
      await this.#sessions.push(connection, shardId, signal)
    } catch (error) {
      if (!isIdentityError(error) && !isForbidden(error)) throw error
    }
    return this.#sessions.bothWays(connection, shardId, signal)
  }

  /** @throws SqliteVectorError what hinders it; `SYNC_SELF` */
  async #connect(address: PeerAddress, signal: AbortSignal, early = false): Promise<Connection> {
    const connection = await (await this.#open()).get(address, signal, early)
    if (connection.peer.fingerprint !== this.fingerprint) return connection
    throw new SqliteVectorError('SYNC_SELF', `${address} is this node, or a copy with its key`)
  }

  #open(): Promise<Connections> {
    this.#throwIfClosed()
    this.#connections ??= this.#openConnections()
    return this.#connections
  }

  async #openConnections(): Promise<Connections> {
    const transport = this.#config.transport ?? (await this.#createTransport())
    this.#membership = this.#introduce(transport)
    transport.credentials?.onTrustChange(() => this.#autoSyncs.wake())
    const opened = new Connections(transport, this.#clock, {
      onChannel: (channel, connection) => this.#sessions.serve(channel, connection),
      onFault: (error) => this.#hubFailed(error),
      onConnection: (connection, isOpen) => this.#peerSeen(connection, isOpen),
    })
    this.#opened = opened
    return opened
  }

  async #createTransport(): Promise<Transport> {
    const { tickets, ...node } = this.#ownNode('transport')
    this.#quic = await QuicTransport.create({
      ...node,
      tickets,
      maxConcurrentStreams: SYNC_CHANNELS_MAX,
      onRefused: ({ address, fingerprint, reason }) => {
        this.#emit({ type: 'peer-refused', address, fingerprint, reason })
      },
    })
    this.#service = openClusterService(this.#db.replica.path, {
      ...node,
      transport: this.#quic,
      clock: this.#clock,
      signal: this.#ending.signal,
      onError: (error) => {
        this.#emit({ type: 'error', shardId: null, address: null, error, willRetry: true })
      },
    })
    return this.#quic
  }

  /** Null where nodes have no keys to sign with. */
  #introduce({ credentials }: Transport): Membership | null {
    if (credentials === undefined) return null
    return new Membership({
      store: this.#db.replica,
      clock: this.#clock,
      nodeId: this.nodeId,
      fingerprint: this.fingerprint,
      credentials,
      book: this.#members,
      address: () => this.#config.advertise ?? this.#listening,
      hidesShards: () => this.permissions.list().length > 0,
      signal: this.#ending.signal,
      onMember: (member) => {
        this.#emit({ type: 'member', member })
        for (const listener of this.#memberListeners) listener(member)
      },
      onError: (error, address) => {
        this.#emit({ type: 'error', shardId: null, address, error, willRetry: false })
      },
    })
  }

  async #meet(channel: Channel, connection: Connection, first: Uint8Array): Promise<void> {
    if (this.#membership === null) throw violationError('peer records where nodes have no keys')
    await this.#membership.serve(channel, connection, first)
  }

  #emit(event: SyncEvent): void {
    this.#events.emit(event)
    this.#config.onEvent(event)
  }

  #peerSeen(connection: Connection, isOpen: boolean): void {
    this.#membership?.connected(connection, isOpen)
    const { peer, remoteAddress } = connection
    const status = isOpen ? 'connected' : 'disconnected'
    const { wireBytesSent, wireBytesReceived } = connection.stats()
    const wire = { bytesSent: wireBytesSent, bytesReceived: wireBytesReceived }
    this.#emit({ type: 'peer', peer: peer.fingerprint, remoteAddress, status, wire })
  }

  /** A failure of the store while it was looked at for others; sessions meet it themselves. */
  #hubFailed(error: unknown): void {
    const fault = faultOf(error)
    const willRetry = fault.retryable
    this.#emit({ type: 'error', shardId: null, address: null, error: fault, willRetry })
  }

  #applyStrategy(shardId: string): void {
    const { conflictStrategy } = this.#config
    if (conflictStrategy === null || this.#strategySet.has(shardId)) return
    if (stateOrNull(this.#db.replica, shardId) === null) return
    this.#db.setConflictStrategy?.(shardId, conflictStrategy)
    this.#strategySet.add(shardId)
  }

  #waitSignal(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined
      ? this.#ending.signal
      : AbortSignal.any([signal, this.#ending.signal])
  }

  #throwIfClosed(): void {
    if (this.#closed !== null) throw closedError()
  }

  #ownNode(what: string): LocalNode {
    if (this.#node !== null) return this.#node
    throw new TypeError(`${what} belongs to the transport that was given in the options`)
  }

  #givenTransport(): Transport {
    if (this.#config.transport !== null) return this.#config.transport
    throw new TypeError('a sync has a node of its own or a transport that was given')
  }
}

function isIdentityError(error: unknown): boolean {
  if (!(error instanceof SqliteVectorError)) return false
  return error.code === 'SYNC_IDENTITY_RENEWED' || error.code === 'SYNC_IDENTITY_DOUBTED'
}

function isForbidden(error: unknown): boolean {
  return error instanceof SqliteVectorError && error.code === 'SYNC_FORBIDDEN'
}

function closedError(): SqliteVectorError {
  return new SqliteVectorError('SYNC_CLOSED', 'this sync was closed')
}
