/**
 * `createShardCoordinator()`: many shards in sync with many peers. Knows the peers, decides which
 * shard is synced next with which peer, counts the results, and keeps them in the database.
 *
 * Not here: the order of tasks (coordination/task-queue.ts), one sync (quic-sync.ts), what is kept
 * of peers (coordination/peer-book.ts). The network is touched only when a sync, a check or a
 * listener asks for it: opening a coordinator on a file that was used before restores everything
 * and contacts no peer.
 *
 * Invariants: never more than `maxConcurrentSyncs` syncs at once, and as many as that while there
 * are tasks that may run; a shard is synced with a peer by one sync at a time; statistics count
 * what happened; everything has ended when `close` resolves.
 */
import { parseAddress } from '../transport/address.ts'
import { systemClock } from '../clock/system-clock.ts'
import type { Clock } from '../clock/types.ts'
import { SqliteVectorError } from '../errors.ts'
import {
  ADDRESS_BYTES_MAX,
  CONCURRENT_SYNCS_MAX,
  NODE_ID_BYTES_MAX,
  PEERS_MAX,
  RETRY_DELAY_MS,
  RETRY_DELAY_MS_MAX,
  SHARD_ID_BYTES_MAX,
  TASK_ATTEMPTS_MAX,
} from '../limits.ts'
import {
  integerIn,
  nameGiven,
  numberIn,
  objectGiven,
  oneOf,
  rejectUnknownKeys,
} from '../options.ts'
import { createVectorSync, type VectorSync } from './quic-sync.ts'
import { Backoff } from '../clock/backoff.ts'
import type { Member } from './members/member-book.ts'
import { PeerBook, type PeerInput, type PeerState } from './coordination/peer-book.ts'
import { chance } from './node/peer-gate.ts'
import {
  type CoordinatorStats,
  Statistics,
  type SyncTotals,
  withWork,
} from './coordination/statistics.ts'
import { type SyncTask, TaskQueue } from './coordination/task-queue.ts'
import type { SyncableDatabase, SyncResult, SyncSession, VectorSyncConfig } from './types.ts'
import { peersToDial, type Topology } from './coordination/topology.ts'
import { type PeerCursor } from '../store/replica/types.ts'
import { type ShardState } from '../model/records.ts'

/** Options of `createShardCoordinator()`: those of `createVectorSync()`, and the topology. */
export interface CoordinatorConfig extends VectorSyncConfig {
  /**
   * The peers that this node dials; changes reach every peer whatever the links.
   * @defaultValue `{ type: 'mesh' }`
   */
  readonly topology?: Topology
}

/** The outcome of one task. */
export type TaskResult =
  | { readonly task: SyncTask; readonly ok: true; readonly result: SyncResult }
  | {
      readonly task: SyncTask
      readonly ok: false
      readonly error: Error
      readonly attempts: number
    }

/** One peer, asked for a sign of life just now. */
export interface PeerHealth {
  readonly nodeId: string
  readonly address: string
  readonly reachable: boolean
  /** Round-trip time of a PING in milliseconds; null when there was no answer. */
  readonly rttMs: number | null
  readonly error: Error | null
}

/** The whole of a check. */
export interface Health {
  /** True when there is a peer to ask and every one of them answered. */
  readonly healthy: boolean
  readonly peers: readonly PeerHealth[]
}

/** A shard here, and what is durably known of the peers' copies. */
export interface CoordinatedShard {
  readonly state: ShardState
  readonly peers: readonly PeerCursor[]
}

/** Everything that a coordinator has in its file or in memory. */
export interface CoordinatorSession extends SyncSession {
  readonly registered: readonly PeerState[]
  readonly stats: CoordinatorStats
  /** Records with unresolved siblings, over all shards. */
  readonly openConflicts: number
  /** Changes in quarantine, over all shards. */
  readonly quarantined: number
}

/**
 * A coordinator for the shards of `db` under the name `nodeId`, running at most
 * `maxConcurrentSyncs` syncs at once.
 * @throws TypeError, RangeError for options; `TRANSPORT_IDENTITY_INVALID`
 */
export function createShardCoordinator(
  db: SyncableDatabase,
  nodeId: string,
  config: CoordinatorConfig = {},
  maxConcurrentSyncs = 10,
): ShardCoordinator {
  objectGiven('createShardCoordinator: config', config)
  integerIn('maxConcurrentSyncs', maxConcurrentSyncs, 1, CONCURRENT_SYNCS_MAX)
  const { topology = { type: 'mesh' }, ...syncConfig } = config
  objectGiven('topology', topology)
  oneOf('topology.type', topology.type, ['mesh', 'ring', 'star', 'hierarchical', 'manual'])
  const sync = createVectorSync(db, nodeId, syncConfig)
  return new ShardCoordinator(db, sync, topology, maxConcurrentSyncs, systemClock)
}

interface Round {
  readonly results: TaskResult[]
  readonly done: PromiseWithResolvers<readonly TaskResult[]>
}

interface PeerTrials {
  readonly backoff: Backoff
  lastError: Error
}

/** See the head of this file. Made by {@link createShardCoordinator}. */
export class ShardCoordinator {
  /** The sync that it uses: trust, listening, events. */
  readonly sync: VectorSync
  readonly #db: SyncableDatabase
  readonly #topology: Topology
  readonly #clock: Clock
  readonly #queue: TaskQueue
  readonly #stats = new Statistics()
  readonly #book: PeerBook
  readonly #trials = new Map<string, PeerTrials>()
  readonly #attempts = new Map<string, number>()
  readonly #auto = new Map<string, { readonly shardId: string; readonly address: string }>()
  #round: Round | null = null
  readonly #stopMeeting: () => void
  #isLinking = false
  #cancelWake: (() => void) | null = null
  #closed: Promise<void> | null = null

  constructor(
    db: SyncableDatabase,
    sync: VectorSync,
    topology: Topology,
    maxConcurrentSyncs: number,
    clock: Clock,
  ) {
    this.#db = db
    this.sync = sync
    this.#topology = topology
    this.#clock = clock
    this.#queue = new TaskQueue(maxConcurrentSyncs)
    const { replicaRetentionMs } = sync
    const totals = (): SyncTotals => withWork(this.#stats.totals, sync.liveWork)
    this.#book = new PeerBook(db.replica, clock, totals, replicaRetentionMs)
    this.#stats.add(this.#book.totalsBefore)
    this.#stopMeeting = sync.onMember((member) => this.#met(member))
    for (const member of sync.getMembers()) this.#met(member)
  }

  get nodeId(): string {
    return this.sync.nodeId
  }

  /**
   * Adds a peer, or changes where it is and what is synced with it. Idempotent; contacts no peer.
   */
  registerPeer(peer: PeerInput): void {
    objectGiven('peer', peer)
    rejectUnknownKeys('registerPeer', peer, ['nodeId', 'address', 'shards', 'status'])
    nameGiven('peer.nodeId', peer.nodeId, NODE_ID_BYTES_MAX)
    nameGiven('peer.address', peer.address, ADDRESS_BYTES_MAX)
    parseAddress(peer.address)
    for (const shardId of peer.shards ?? []) nameGiven('peer.shards', shardId, SHARD_ID_BYTES_MAX)
    if (peer.status !== undefined) oneOf('peer.status', peer.status, ['online', 'offline'])
    if (peer.nodeId === this.nodeId) throw new RangeError('peer.nodeId must not be our own')
    if (this.#book.get(peer.nodeId) === null && this.#book.list().length >= PEERS_MAX) {
      throw new RangeError(`a coordinator knows at most ${PEERS_MAX} peers`)
    }
    this.#book.put(peer)
  }

  /**
   * Forgets a peer and its pending tasks; syncs under way end by themselves. True when it was
   * known.
   */
  unregisterPeer(nodeId: string): boolean {
    const known = this.#book.get(nodeId)
    if (known === null) return false
    this.#fail(this.#queue.clear(nodeId), new RangeError(`peer ${nodeId} was unregistered`))
    this.#unlink(({ address }) => address === known.address)
    this.#pump()
    return this.#book.remove(nodeId)
  }

  getPeers(): readonly PeerState[] {
    return this.#book.list()
  }

  /**
   * Notes that the shard is to be synced with the peer; {@link executeTasks} does it. Larger
   * priorities first. A task that is pending already keeps its place, or moves up. @throws
   * RangeError for a peer that is not registered
   */
  scheduleSyncTask(shardId: string, peer: string, priority = 0): void {
    nameGiven('shardId', shardId, SHARD_ID_BYTES_MAX)
    numberIn('priority', priority, -1e9, 1e9)
    if (this.#book.get(peer) === null) throw new RangeError(`no peer ${peer} is registered`)
    this.#queue.schedule({ shardId, peer, priority })
  }

  /**
   * Runs every pending task, and those scheduled meanwhile; resolves when none is left, with what
   * came of each. A peer that cannot be reached is tried again with backoff, a few times, while all
   * others go on.
   */
  executeTasks(): Promise<readonly TaskResult[]> {
    if (this.#closed !== null) {
      return Promise.reject(new SqliteVectorError('SYNC_CLOSED', 'this coordinator was closed'))
    }
    this.#round ??= { results: [], done: Promise.withResolvers() }
    const { promise } = this.#round.done
    this.#pump()
    return promise
  }

  /** Syncs every shard with every peer that has it. */
  syncAll(): Promise<readonly TaskResult[]> {
    return this.#syncWhere(() => true)
  }

  /** Syncs one shard with every peer that has it. */
  syncShard(shardId: string): Promise<readonly TaskResult[]> {
    nameGiven('shardId', shardId, SHARD_ID_BYTES_MAX)
    return this.#syncWhere((task) => task.shardId === shardId)
  }

  /** Syncs every shard with one peer. @throws RangeError when it is not registered */
  syncWithPeer(nodeId: string): Promise<readonly TaskResult[]> {
    if (this.#book.get(nodeId) === null) throw new RangeError(`no peer ${nodeId} is registered`)
    return this.#syncWhere((task) => task.peer === nodeId)
  }

  /** Every shard that is here, by name. */
  getAllShardStates(): ReadonlyMap<string, CoordinatedShard> {
    const { replica } = this.#db
    const cursors = Map.groupBy(replica.peerCursors(), ({ shardId }) => shardId)
    return new Map(
      replica.shardStates().map((state) => {
        const { shardId } = state
        return [shardId, { state, peers: cursors.get(shardId) ?? [] }]
      }),
    )
  }

  /**
   * Keeps every shard in sync with every peer that the topology has us dial, also with trusted ones
   * that are introduced later; returns how many shards with how many peers those are now.
   */
  startAutoSyncAll(): number {
    this.#isLinking = true
    return this.#link()
  }

  #link(): number {
    const dialled = new Set(
      peersToDial(
        this.#topology,
        this.#book.list().map(({ nodeId }) => nodeId),
        this.nodeId,
      ),
    )
    const wanted = new Set<string>()
    for (const { shardId, peer } of this.#tasks()) {
      const known = this.#book.get(peer)
      if (known === null || !dialled.has(peer)) continue
      const { address } = known
      const key = `${address}\0${shardId}`
      wanted.add(key)
      this.#auto.set(key, { shardId, address })
      this.sync.startAutoSync(shardId, address)
    }
    // With more nodes the picture is another one: a ring closes elsewhere, a tree has other
    // parents.
    this.#unlink(({ address, shardId }) => !wanted.has(`${address}\0${shardId}`))
    return wanted.size
  }

  #unlink(isOver: (link: { readonly shardId: string; readonly address: string }) => boolean): void {
    for (const [key, link] of this.#auto) {
      if (!isOver(link)) continue
      this.#auto.delete(key)
      void this.sync.stopAutoSync(link.shardId, link.address)
    }
  }

  /**
   * Something of a node is news: one that we trust becomes a peer, one that left is none any more.
   */
  #met({ peer, nodeId, address, status, trusted }: Member): void {
    if (this.#closed !== null || peer === this.sync.fingerprint) return
    const known = this.#book.get(nodeId)
    if (status === 'left' || !trusted) {
      if (known?.source === 'introduced' && known.peer === peer) this.unregisterPeer(nodeId)
      return
    }
    if (address === null || nodeId === this.nodeId) return
    if (known === null && this.#book.list().length >= PEERS_MAX) return
    // A peer that was registered or introduced under this name keeps it.
    if (known !== null && (known.source === 'registered' || known.peer !== peer)) return
    this.#book.introduce({ nodeId, address, peer })
    if (this.#isLinking) this.#link()
  }

  /** Ends what {@link startAutoSyncAll} began; resolves with how many there were. */
  async stopAutoSyncAll(): Promise<number> {
    this.#isLinking = false
    const all = [...this.#auto.values()]
    this.#auto.clear()
    const stopped = await Promise.all(
      all.map(({ shardId, address }) => this.sync.stopAutoSync(shardId, address)),
    )
    return stopped.filter(Boolean).length
  }

  /** Sums since the file was first coordinated, and durations since this coordinator was made. */
  getStats(): CoordinatorStats {
    return this.#stats.report(this.sync.liveWork)
  }

  getPendingTasksCount(): number {
    return this.#queue.pendingCount
  }

  getActiveSyncsCount(): number {
    return this.#queue.activeCount
  }

  /** Drops tasks that have not begun and returns their number; their callers see them fail. */
  clearPendingTasks(): number {
    const dropped = this.#queue.clear()
    this.#fail(dropped, new SqliteVectorError('SYNC_CLOSED', 'the task was cleared'))
    this.#pump()
    return dropped.length
  }

  /** Contacts every peer that is not set aside, all at once, and notes who answered. */
  async healthCheck(): Promise<Health> {
    const peers = this.#book.list().filter(isKept)
    const checked = await Promise.all(peers.map((peer) => this.#check(peer)))
    const healthy = checked.length > 0 && checked.every(({ reachable }) => reachable)
    return { healthy, peers: checked }
  }

  /** The stored state: peers, cursors, vectors, conflicts, counts. Costs no network. */
  getSession(): CoordinatorSession {
    const { replica } = this.#db
    const states = replica.shardStates()
    return {
      ...this.sync.getSession(),
      registered: this.#book.list(),
      stats: this.getStats(),
      openConflicts: states.reduce((sum, { conflictCount }) => sum + conflictCount, 0),
      quarantined: states.reduce((sum, { quarantineCount }) => sum + quarantineCount, 0),
    }
  }

  /**
   * Ends everything; what was committed and counted is kept. Idempotent. The database stays open.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close(() => this.sync.close())
    return this.#closed
  }

  /** {@link close}, and peers are told that this node does not come back. */
  leave(): Promise<void> {
    this.#closed ??= this.#close(() => this.sync.leave())
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(end: () => Promise<void>): Promise<void> {
    this.#stopMeeting()
    this.#cancelWake?.()
    this.#fail(
      this.#queue.clear(),
      new SqliteVectorError('SYNC_CLOSED', 'this coordinator was closed'),
    )
    const round = this.#round?.done.promise
    await end()
    if (this.#queue.activeCount > 0) await round
    this.#finishRound()
    this.#book.flush()
  }

  /** Every shard with every peer that has it. */
  *#tasks(): Generator<SyncTask> {
    const here = this.#db.replica.shards().map(({ shardId }) => shardId)
    for (const { nodeId, shards, source, peer } of this.#book.list().filter(isKept)) {
      // An introduced node says itself which shards it has.
      const theirs = source === 'introduced' && peer !== null ? this.sync.sharedWith(peer) : shards
      for (const shardId of theirs ?? here) yield { shardId, peer: nodeId, priority: 0 }
    }
  }

  #syncWhere(isWanted: (task: SyncTask) => boolean): Promise<readonly TaskResult[]> {
    for (const task of this.#tasks()) if (isWanted(task)) this.#queue.schedule(task)
    return this.executeTasks()
  }

  /** Starts what may start, and ends the round when nothing is left. */
  #pump(): void {
    if (this.#round === null) return
    for (;;) {
      const task = this.#queue.next(this.#clock.monotonicMs())
      if (task === null) break
      void this.#run(task)
    }
    if (this.#queue.activeCount > 0) return
    if (this.#queue.pendingCount === 0) {
      this.#finishRound()
      return
    }
    const nowMs = this.#clock.monotonicMs()
    this.#cancelWake?.()
    const delayMs = Math.max(1, (this.#queue.wakesAtMs(nowMs) ?? nowMs) - nowMs)
    this.#cancelWake = this.#clock.schedule(delayMs, () => this.#pump())
  }

  #finishRound(): void {
    const round = this.#round
    this.#round = null
    if (round === null) return
    this.#attempts.clear()
    this.#trials.clear()
    this.#book.touch()
    round.done.resolve(round.results)
  }

  /** Runs one task to its end; never rejects for what the world did. */
  async #run(task: SyncTask): Promise<void> {
    const { shardId, peer } = task
    const address = this.#book.get(peer)?.address
    try {
      if (address === undefined) throw new RangeError(`peer ${peer} was unregistered`)
      const result = await this.sync.sync(shardId, address)
      this.#succeeded(task, result)
    } catch (error) {
      this.#failed(task, error instanceof Error ? error : new Error(String(error)))
    }
    this.#pump()
  }

  #succeeded(task: SyncTask, result: SyncResult): void {
    const { applied, sent, conflicts, quarantined, bytes } = result
    this.#queue.ended(task, true)
    this.#trials.delete(task.peer)
    this.#stats.add({ syncs: 1, applied, sent, conflicts, quarantined, bytes })
    this.#stats.took(result.durationMs)
    this.#book.seen(task.peer, { peer: result.peer })
    this.#round?.results.push({ task, ok: true, result })
  }

  #failed(task: SyncTask, error: Error): void {
    const isPeerLost = error instanceof SqliteVectorError && error.code.startsWith('TRANSPORT_')
    this.#queue.ended(task, !isPeerLost)
    if (isPeerLost) this.#book.missed(task.peer)
    const isFinal =
      this.#closed !== null || !(error instanceof SqliteVectorError) || !error.retryable
    if (isFinal) {
      this.#fail([task], error)
      return
    }
    const key = `${task.peer}\0${task.shardId}`
    const attempts = (this.#attempts.get(key) ?? 0) + 1
    this.#attempts.set(key, attempts)
    const trials = this.#trialsOf(task.peer, error)
    const delayMs = trials.backoff.failed(chance())
    const isExhausted =
      attempts >= TASK_ATTEMPTS_MAX || trials.backoff.failures >= TASK_ATTEMPTS_MAX
    if (isExhausted) {
      this.#fail([task], error)
      // The budget is the peer's, not the task's: its other tasks would meet the same.
      if (isPeerLost) this.#fail(this.#queue.clear(task.peer), error)
      return
    }
    this.#stats.add({ retries: 1 })
    this.#queue.rest(task.peer, this.#clock.monotonicMs() + delayMs)
    this.#queue.schedule(task)
  }

  #trialsOf(peer: string, lastError: Error): PeerTrials {
    const known = this.#trials.get(peer)
    if (known !== undefined) {
      known.lastError = lastError
      return known
    }
    const options = { firstMs: RETRY_DELAY_MS, lastMs: RETRY_DELAY_MS_MAX }
    const trials = { backoff: new Backoff(options), lastError }
    this.#trials.set(peer, trials)
    return trials
  }

  #fail(tasks: readonly SyncTask[], error: Error): void {
    this.#stats.add({ failures: tasks.length })
    for (const task of tasks) {
      const attempts = this.#attempts.get(`${task.peer}\0${task.shardId}`) ?? 0
      this.#round?.results.push({ task, ok: false, error, attempts })
    }
  }

  async #check({ nodeId, address }: PeerState): Promise<PeerHealth> {
    try {
      const rttMs = await this.sync.ping(address)
      this.#book.seen(nodeId, { rttMs })
      return { nodeId, address, reachable: true, rttMs, error: null }
    } catch (error) {
      if (!(error instanceof SqliteVectorError)) throw error
      this.#book.missed(nodeId)
      return { nodeId, address, reachable: false, rttMs: null, error }
    }
  }
}

/**
 * A registered peer is dialled however long it was away; an introduced one is not, once set aside.
 */
function isKept({ source, status }: Pick<PeerState, 'source' | 'status'>): boolean {
  return source === 'registered' || status !== 'set-aside'
}
