/**
 * One node as a process: its file, its sync with peers, its HTTP API, from start to end.
 *
 * Not here: the configuration (config/), the API (http/), the metrics (metrics/), signals
 * (serve.ts).
 *
 * Invariants: `startNode` resolves with a node that is ready, or leaves nothing open; `close`
 * refuses new requests, waits up to the grace period for those under way, then closes sync and file
 * in this order.
 */
import { mkdirSync, statSync } from 'node:fs'
import type { Server as HttpsServer } from 'node:https'
import { createRequire } from 'node:module'
import { performance } from 'node:perf_hooks'
import { setInterval as every, setTimeout as delay } from 'node:timers/promises'
import { createVectorDB, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import {
  createShardCoordinator,
  type ShardCoordinator,
  type SyncEvent,
} from '@agentic-flow/sqlite-vector/sync'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import type { FastifyInstance } from 'fastify'
import { type Audit, AuditFile } from './audit.ts'
import { splitAddress } from './config/kinds.ts'
import { type ApiKeyConfig, ConfigError, type NodeConfig } from './config/types.ts'
import { AnswerBudget } from './http/answer-budget.ts'
import { createApp } from './http/app.ts'
import type { NodeContext, NodeState } from './http/context.ts'
import { Deadlines } from './http/deadlines.ts'
import { HTTP_ERRORS } from './http/errors.ts'
import { openApi } from './http/openapi.ts'
import { Sockets } from './http/sockets.ts'
import type { Route } from './http/route.ts'
import { allRoutes } from './http/routes.ts'
import { readTls, type Tls } from './http/tls.ts'
import { type Log, silentLog } from './log.ts'
import { logStoreEvent, logSyncEvent } from './log-events.ts'
import { Metrics } from './metrics/metrics.ts'
import { NodeLock } from './node-lock.ts'
import { observed } from './observed.ts'
import { Repeats } from './repeats.ts'

/** The result of ending a node. */
export interface Ended {
  /** False when requests were cut off because the grace period was over. */
  readonly graceful: boolean
}

/** A node that serves. */
export interface RunningNode {
  readonly nodeId: string
  /** The configuration it was started with. */
  readonly config: NodeConfig
  /** Fingerprint of the certificate that peers pin. */
  readonly fingerprint: string
  /** Base URL of the API with the port that was bound: `http://127.0.0.1:8080`. */
  readonly url: string
  /** Address that peers connect to, with the port that was bound; null when the node only dials. */
  readonly syncAddress: string | null
  readonly db: SQLiteVectorDB
  readonly coordinator: ShardCoordinator
  /**
   * Applies a changed configuration as far as a running node can: API keys and the HTTPS
   * certificate; the audit file is opened again. Returns the settings that need a restart.
   * @throws ConfigError for a certificate that cannot be used; the one in force stays
   */
  reload(config: NodeConfig): readonly string[]
  /** Ends the node. Idempotent. */
  close(): Promise<Ended>
  [Symbol.asyncDispose](): Promise<void>
}

export interface NodeSurroundings {
  /** @defaultValue nothing is logged */
  readonly log?: Log
}

/**
 * Starts a node and resolves when it is ready.
 * @throws SqliteVectorError `STORE_…` for the file, `TRANSPORT_ADDRESS_IN_USE` and others for the
 *   sync listener
 */
export async function startNode(
  config: NodeConfig,
  { log = silentLog }: NodeSurroundings = {},
): Promise<RunningNode> {
  const node = new Node(config, log)
  try {
    await node.start()
    return node
  } catch (error) {
    await node.close()
    throw error
  }
}

/** The version of this package. */
export function serverVersion(): string {
  const manifest = createRequire(import.meta.url)('../package.json') as { version: string }
  return manifest.version
}

class Node implements RunningNode {
  readonly config: NodeConfig
  readonly #log: Log
  readonly #metrics = new Metrics(serverVersion(), [...Object.keys(HTTP_ERRORS), 'STORE_FULL'])
  readonly #stopping = new AbortController()
  /** Shards seen so far; a new one starts syncing. */
  readonly #known = new Set<string>()
  readonly #repeats: Repeats
  readonly #deadlines: Deadlines
  readonly #answers = new AnswerBudget()
  readonly #warming = new Set<string>()
  #apiKeys: readonly ApiKeyConfig[]
  #audit: AuditFile | null = null
  #lock: NodeLock | null = null
  #tls: { readonly files: Tls; readonly changedMs: number } | null = null
  #state: NodeState = 'starting'
  #db: SQLiteVectorDB | null = null
  #coordinator: ShardCoordinator | null = null
  #http: { readonly app: FastifyInstance; readonly sockets: Sockets } | null = null
  #url = ''
  #syncAddress: string | null = null
  readonly #background: Promise<void>[] = []
  #ended: Promise<Ended> | null = null

  constructor(config: NodeConfig, log: Log) {
    this.config = config
    this.#log = log
    this.#repeats = new Repeats(log)
    this.#deadlines = new Deadlines(config.http.requestTimeoutMs)
    this.#apiKeys = config.http.apiKeys
  }

  get nodeId(): string {
    return this.config.nodeId
  }

  get fingerprint(): string {
    return this.coordinator.sync.fingerprint
  }

  get url(): string {
    return this.#url
  }

  get syncAddress(): string | null {
    return this.#syncAddress
  }

  get db(): SQLiteVectorDB {
    return present(this.#db)
  }

  get coordinator(): ShardCoordinator {
    return present(this.#coordinator)
  }

  async start(): Promise<void> {
    const { config } = this
    const { database: path, durability, busyTimeoutMs, searchMemoryBytes } = config
    if (config.audit.file !== null) this.#audit = new AuditFile(config.audit.file, this.#log)
    this.#tls = this.#readTls(config)
    if (config.snapshots.folder !== null) mkdirSync(config.snapshots.folder, { recursive: true })
    this.#db = await createVectorDB({
      path,
      durability,
      busyTimeoutMs,
      searchMemoryBytes,
      onEvent: (event) => {
        this.#metrics.store.onEvent(event)
        logStoreEvent(this.#log, event)
        if (event.type === 'identity-renewed') setImmediate(() => this.#signWrites())
      },
    })
    if (path !== ':memory:') this.#lock = await NodeLock.take(path)
    for (const shard of config.shards) ensureShard(this.#db, shard)
    for (const indexed of config.metadataIndexes) this.#db.createMetadataIndex(indexed)
    this.#coordinator = this.#coordinate(this.#db)
    this.#signWrites()
    this.#metrics.attach({
      db: this.#db,
      coordinator: this.#coordinator,
      httpCertificate: () => this.#tls?.files.files.cert ?? null,
    })
    for (const { nodeId, address, shards } of config.peers) {
      this.#coordinator.registerPeer({ nodeId, address, ...(shards === null ? {} : { shards }) })
    }
    if (config.sync.listen !== null) {
      this.#syncAddress = await this.#coordinator.sync.listen(config.sync.listen)
    }
    const app = await this.#serve(this.#db, this.#coordinator)
    this.#http = { app, sockets: new Sockets(app.server) }
    const { host, port } = splitAddress('http.listen', config.http.listen)
    this.#url = await app.listen({ host, port }).catch(listenFailed)
    this.#state = 'ready'
    this.#keepInSync()
    const { signal } = this.#stopping
    this.#background.push(this.#retry(), this.#deadlines.sweep(signal), this.#warm(this.#db))
    const { url, syncAddress, fingerprint } = this
    this.#log('info', 'node-ready', { nodeId: this.nodeId, url, syncAddress, fingerprint })
  }

  close(): Promise<Ended> {
    this.#ended ??= this.#close()
    return this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  reload(config: NodeConfig): readonly string[] {
    this.#tls = this.#readTls(config)
    this.#applyTls()
    this.#apiKeys = config.http.apiKeys
    this.#audit?.reopen()
    const later = settingsThatDiffer(this.config, config)
    this.#log('info', 'node-reloaded', { keys: config.http.apiKeys.length, needRestart: later })
    return later
  }

  async #close(): Promise<Ended> {
    await this.#drain()
    this.#state = 'stopping'
    this.#log('info', 'node-stopping')
    this.#stopping.abort(new Error('the node is ending'))
    await Promise.all(this.#background)
    const { graceMs } = this.config.shutdown
    const graceful =
      this.#http === null || (await endWithin(this.#http.app, this.#http.sockets, graceMs))
    await this.#coordinator?.close()
    this.#db?.close()
    this.#lock?.release()
    this.#audit?.close()
    this.#repeats.flush(Infinity)
    this.#log(graceful ? 'info' : 'warn', 'node-stopped', { graceful })
    return { graceful }
  }

  readonly #record: Audit = (entry) => {
    this.#metrics.http.audited(entry.operation)
    this.#audit?.record(entry)
  }

  /** Serves for a while after /readyz has begun to say that the node ends. */
  async #drain(): Promise<void> {
    const { drainMs } = this.config.shutdown
    if (this.#state !== 'ready' || drainMs === 0) return
    this.#state = 'draining'
    this.#log('info', 'node-draining', { drainMs })
    await delay(drainMs)
  }

  /** Builds the indexes of large shards one after the other; /readyz waits for them. */
  async #warm(db: SQLiteVectorDB): Promise<void> {
    for (const { shardId, recordCount } of db.replica.shardStates()) {
      if (recordCount > WARM_RECORDS_MIN) this.#warming.add(shardId)
    }
    for (const shardId of this.#warming) {
      if (this.#stopping.signal.aborted) return
      try {
        // oxlint-disable-next-line no-await-in-loop -- one index at a time, for memory's sake
        await db.warmIndex(shardId)
      } catch (error) {
        this.#log('warn', 'index-not-built', { shardId, error })
      }
      this.#warming.delete(shardId)
    }
  }

  #readTls({ http }: NodeConfig): { readonly files: Tls; readonly changedMs: number } | null {
    const { certificate, key } = http.tls
    if (certificate === null || key === null) return null
    const files = readTls(certificate, key)
    return { files, changedMs: changedAtMs(certificate, key) }
  }

  #applyTls(): void {
    const server = this.#http?.app.server
    if (this.#tls !== null && server !== undefined && 'setSecureContext' in server) {
      ;(server as unknown as HttpsServer).setSecureContext(this.#tls.files.files)
    }
  }

  /** Takes up a renewed certificate; one that cannot be used is logged, and the old one stays. */
  #renewTls(): void {
    const { certificate, key } = this.config.http.tls
    if (this.#tls === null || certificate === null || key === null) return
    try {
      if (changedAtMs(certificate, key) === this.#tls.changedMs) return
      this.#tls = this.#readTls(this.config)
      this.#applyTls()
      this.#log('info', 'certificate-reloaded', { certificate })
    } catch (error) {
      this.#repeats.log('tls', 'error', 'certificate-not-reloaded', { error })
    }
  }

  #coordinate(db: SQLiteVectorDB): ShardCoordinator {
    const { sync } = this.config
    const { batchSize, compression, relayDelayMs, topology } = sync
    const { advertise, collectIntervalMs, replicaRetentionMs } = sync
    return createShardCoordinator(
      observed(db, (durationMs) => this.#metrics.store.applied(durationMs)),
      this.nodeId,
      {
        batchSize,
        compression,
        relayDelayMs,
        topology,
        collectIntervalMs,
        replicaRetentionMs,
        syncIntervalMs: sync.intervalMs,
        ...(advertise === null ? {} : { advertise }),
        onEvent: (event) => this.#synced(event),
      },
      sync.concurrencyMax,
    )
  }

  #synced(event: SyncEvent): void {
    this.#metrics.sync.onEvent(event)
    logSyncEvent(this.#log, this.#repeats, event)
    if (event.type !== 'change' || this.#known.has(event.shardId)) return
    // A shard created by a peer or by another process is synced like the others.
    this.#known.add(event.shardId)
    if (this.#state === 'ready') setImmediate(() => this.#keepInSync())
  }

  /**
   * Sync gives up on a peer that refuses this node. An operator may pin this node's certificate
   * later, while both nodes run, so failed syncs are started again at intervals.
   */
  async #retry(): Promise<void> {
    const { signal } = this.#stopping
    try {
      for await (const _ of every(this.config.sync.retryMs, null, { signal })) {
        this.#keepInSync()
        this.#repeats.flush()
        this.#renewTls()
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  /**
   * Records this node's name for its own writes, so that conflicts show it as they show peers'
   * names.
   */
  #signWrites(): void {
    if (this.#state === 'stopping' || this.#db === null) return
    this.#db.replica.nameOwnActor(this.nodeId)
  }

  /** Starts syncing every pair of shard and peer that is not synced yet. */
  #keepInSync(): void {
    if (this.#state !== 'ready') return
    try {
      this.coordinator.startAutoSyncAll()
    } catch (error) {
      // A busy file is tried again at the next interval.
      if (!(error instanceof SqliteVectorError)) throw error
      this.#log('warn', 'sync-not-begun', { error })
    }
  }

  #serve(db: SQLiteVectorDB, coordinator: ShardCoordinator): Promise<FastifyInstance> {
    const state = (): NodeState => this.#state
    const context: NodeContext = {
      config: this.config,
      db,
      coordinator,
      metrics: this.#metrics,
      log: this.#log,
      audit: this.#record,
      answers: this.#answers,
      deadlines: this.#deadlines,
      warming: this.#warming,
      apiKeys: () => this.#apiKeys,
      get state() {
        return state()
      },
      stopping: this.#stopping.signal,
      keepInSync: () => this.#keepInSync(),
    }
    const routes: readonly Route[] = allRoutes(context, () => openApi(routes, serverVersion()))
    return createApp(context, routes, this.#tls?.files ?? null)
  }
}

function ensureShard(db: SQLiteVectorDB, shard: NodeConfig['shards'][number]): void {
  const { shardId, dimension, metric, modelId, conflictStrategy } = shard
  db.createShard(shardId, { dimension, metric, ...(modelId === null ? {} : { modelId }) })
  if (conflictStrategy !== null) db.setConflictStrategy(shardId, conflictStrategy)
}

/**
 * Shards with more records than this are warmed before the node is ready; smaller ones are scanned.
 */
const WARM_RECORDS_MIN = 10_000

/** Time of the newer change of two files, in milliseconds. */
function changedAtMs(...paths: readonly string[]): number {
  return Math.max(...paths.map((path) => statSync(path).mtimeMs))
}

/** Interval at which idle connections are closed while a node ends, in milliseconds. */
const IDLE_CHECK_MS = 20

/**
 * Waits up to `graceMs` for requests under way, then cuts them off. Returns true when none was cut
 * off.
 */
async function endWithin(
  app: FastifyInstance,
  sockets: Sockets,
  graceMs: number,
): Promise<boolean> {
  const closing = app.close().then(() => true)
  const startMs = performance.now()
  let graceful = false
  while (!graceful && performance.now() - startMs < graceMs) {
    graceful = await Promise.race([closing, delay(IDLE_CHECK_MS, false)])
    // A connection whose last request was answered would stay open for the next one.
    sockets.closeUnused()
  }
  if (!graceful) app.server.closeAllConnections()
  await closing
  return graceful
}

/**
 * An address that is in use gives the same code as for sync; any other failure names the setting.
 */
function listenFailed(cause: unknown): never {
  if (!(cause instanceof Error)) throw cause
  if ('code' in cause && cause.code === 'EADDRINUSE') {
    const message = `another process listens at http.listen: ${cause.message}`
    throw new SqliteVectorError('TRANSPORT_ADDRESS_IN_USE', message, { cause })
  }
  throw new ConfigError(`http.listen: ${cause.message}`, { cause })
}

/** The settings that a reload does not apply. */
function withoutReloaded(config: NodeConfig): Readonly<Record<string, unknown>> {
  return { ...config, log: null, http: { ...config.http, apiKeys: null } }
}

/** Top-level settings that a reload does not apply and that differ. */
function settingsThatDiffer(before: NodeConfig, after: NodeConfig): readonly string[] {
  const [old, now] = [withoutReloaded(before), withoutReloaded(after)]
  return Object.keys(old).filter((key) => JSON.stringify(old[key]) !== JSON.stringify(now[key]))
}

function present<T>(value: T | null): T {
  if (value === null) throw new TypeError('the node has not started')
  return value
}
