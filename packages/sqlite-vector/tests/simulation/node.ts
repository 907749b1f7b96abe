/**
 * A node of the simulation: the real store on a real file, which can be killed, backed up, set back to
 * an older copy and cloned.
 *
 * A kill puts the file and its write-ahead log back as they lay on the disk, each into the same inode: everything
 * in memory is gone, no close took place. What SQLite acknowledged is in those two.
 */
import {
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import type { ConflictFunction, StoreEvent } from '../../src/store/types.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../src/store/vector-db.ts'
import { LiveHub } from '../../src/sync/live/live-hub.ts'
import { cloneView, type NodeView, shardViewOf } from './history.ts'
import type { Random } from './random.ts'
import { longestMetadata, type SimStrategy } from './reference-view.ts'
import { VirtualClock, type VirtualTime } from './virtual-clock.ts'
import { type ReplicaStore } from '../../src/store/replica/types.ts'

/** Puts a faulty store in the place of a sound one; see faults.ts. */
export type StoreWrapper = (store: ReplicaStore, node: SimNode) => ReplicaStore

/** A copy of a node's file, with what the node knew when it was made. */
export interface Backup {
  readonly path: string
  readonly view: NodeView
  /** Whether the folder beside the file was copied along. */
  readonly folder: boolean
  /** How often the node had been opened by then. */
  readonly opens: number
}

/**
 * How a copy is brought back: as a file of its own, written over the one that is there, or below the file system, so
 * that nothing tells it from the original.
 */
export type RestoreWay = 'elsewhere' | 'over' | 'unnoticed'

export interface NodeSetup {
  readonly name: string
  readonly fingerprint: string
  readonly directory: string
  readonly random: Random
  readonly time: VirtualTime
  readonly wrap: StoreWrapper
  /** In the place of every strategy; null for none. */
  readonly shows: ConflictFunction | null
}

/** How often a live subscription is checked though nothing happens. */
export const CHECK_INTERVAL_MS = 1_000

const SLICE_ROWS = 2

export class SimNode {
  readonly name: string
  readonly fingerprint: string
  readonly clock: VirtualClock
  /** What the oracle knows the node to hold; replaced when the file is. */
  view: NodeView = new Map()
  /** Store events since they were last looked at. */
  readonly events: StoreEvent[] = []
  /** Shards whose feed moved, as the store announced it, since they were last looked at. */
  readonly moved = new Set<string>()
  readonly backups: Backup[] = []
  /** Whether the node ever went on with an older file: it may hold less than it once reported. */
  wasSetBack = false
  /** What failed in the hub, with nobody waiting for it. */
  readonly failures: unknown[] = []
  readonly #setup: NodeSetup
  #db: SQLiteVectorDB | null = null
  #store: ReplicaStore | null = null
  #hub: LiveHub | null = null
  #path = ''
  #copies = 0
  #boots = 0
  #opens = 0

  constructor(setup: NodeSetup) {
    this.#setup = setup
    this.name = setup.name
    this.fingerprint = setup.fingerprint
    this.clock = new VirtualClock(setup.time)
  }

  get db(): SQLiteVectorDB {
    if (this.#db === null) throw new Error(`${this.name} is down`)
    return this.#db
  }

  /** The store as sessions see it: the real one, unless a fault was planted. */
  get store(): ReplicaStore {
    if (this.#store === null) throw new Error(`${this.name} is down`)
    return this.#store
  }

  /** Wakes live sessions when something was committed; the one that ships. */
  get hub(): LiveHub {
    if (this.#hub === null) throw new Error(`${this.name} is down`)
    return this.#hub
  }

  get isUp(): boolean {
    return this.#db !== null
  }

  get path(): string {
    return this.#path
  }

  /** Opens a new file, or the copy that was put in its place. */
  async open(path: string = this.#nextPath()): Promise<void> {
    this.#path = path
    this.#opens += 1
    // Where a node lives, its key and certificate lie beside the file.
    mkdirSync(`${path}-node`, { recursive: true })
    this.#db = await this.openTwin()
    this.#db.replica.onCommit(({ shardId }) => {
      this.moved.add(shardId)
    })
    this.#store = this.#setup.wrap(this.#db.replica, this)
    this.#hub = new LiveHub({
      store: this.#store,
      clock: this.clock,
      relayDelayMs: 100,
      checkIntervalMs: CHECK_INTERVAL_MS,
      onError: (error) => {
        this.failures.push(error)
      },
    })
    // Functions are not kept in files.
    for (const { shardId, strategy } of this.view.values()) {
      if (strategy === 'function' || this.#setup.shows !== null) this.show(shardId, strategy)
    }
  }

  /** A second handle on the node's file, as another process has. */
  async openTwin(): Promise<SQLiteVectorDB> {
    const { random } = this.#setup
    return createVectorDB(
      {
        path: this.#path,
        durability: 'normal',
        busyTimeoutMs: 0,
        onEvent: (event) => {
          this.events.push(event)
        },
      },
      {
        clock: this.clock,
        randomBytes: (count) => random.bytes(count),
        machine: { bootId: `boot-${this.#boots}`, pid: 1, processAlive: () => false },
        // Nearly every comparison is in pieces, between which everything else may happen.
        sliceRows: SLICE_ROWS,
      },
    )
  }

  /** Chooses how the shard's conflicts are shown. */
  show(shardId: string, strategy: SimStrategy): void {
    const shown = strategy === 'function' ? longestMetadata : strategy
    this.db.setConflictStrategy(shardId, this.#setup.shows ?? shown)
    shardViewOf(this.view, shardId).strategy = strategy
  }

  /** kill -9, and open again. With `reboot` the machine went down, too. */
  async crash(reboot: boolean): Promise<void> {
    const path = this.#path
    const file = readFileSync(path)
    const log = existsSync(`${path}-wal`) ? readFileSync(`${path}-wal`) : null
    this.close()
    removeLog(path)
    overwrite(path, file)
    if (log !== null) writeFileSync(`${path}-wal`, log)
    if (reboot) this.#boots += 1
    await this.open(path)
  }

  /** A clean close, and open again. */
  async restart(): Promise<void> {
    this.close()
    await this.open(this.#path)
  }

  /** A copy of the file as it lies there, with or without the folder beside it. */
  backUp(folder: boolean): Backup {
    const path = this.#nextPath()
    copyDatabase(this.#path, path)
    if (folder) copyFolder(this.#path, path)
    return { path, view: cloneView(this.view), folder, opens: this.#opens }
  }

  /** A copy that the product makes of itself while it is in use. */
  async snapshot(): Promise<Backup> {
    const path = this.#nextPath()
    await this.db.snapshot(path)
    return { path, view: cloneView(this.view), folder: false, opens: 0 }
  }

  /** True when a copy can be written over the file and be noticed: it is of before the file was last opened. */
  canWriteOver(backup: Backup): boolean {
    return this.#db !== null && backup.opens < this.#opens
  }

  /** Goes on with an older copy, of this node or (a clone) of another. */
  async restore(backup: Backup, way: RestoreWay): Promise<void> {
    if (this.#db !== null) this.wasSetBack = true
    this.view = cloneView(backup.view)
    if (way === 'over') {
      await this.#restoreOver(backup)
      return
    }
    const path = this.#nextPath()
    copyDatabase(backup.path, path)
    if (backup.folder) copyFolder(backup.path, path)
    else if (this.#db !== null) copyFolder(this.#path, path)
    if (this.#db !== null) this.#abandon()
    if (way === 'unnoticed') forge(path)
    await this.open(path)
  }

  /** Writes the copy over what is there, after a clean close. */
  async #restoreOver(backup: Backup): Promise<void> {
    this.close()
    const path = this.#path
    removeLog(path)
    overwrite(path, readFileSync(backup.path))
    if (existsSync(`${backup.path}-wal`)) copyFileSync(`${backup.path}-wal`, `${path}-wal`)
    const token = join(`${backup.path}-node`, 'open-token')
    if (backup.folder && existsSync(token)) {
      overwrite(join(`${path}-node`, 'open-token'), readFileSync(token))
    }
    await this.open(path)
  }

  close(): void {
    this.#hub?.close()
    this.#hub = null
    this.#db?.close()
    this.#db = null
    this.#store = null
  }

  #abandon(): void {
    const path = this.#path
    this.close()
    removeDatabase(path)
  }

  #nextPath(): string {
    this.#copies += 1
    return join(this.#setup.directory, `${this.name}-${this.#copies}.db`)
  }
}

/** Copies the file and its log; the shared-memory index is rebuilt from them. */
function copyDatabase(from: string, to: string): void {
  copyFileSync(from, to)
  if (existsSync(`${from}-wal`)) copyFileSync(`${from}-wal`, `${to}-wal`)
}

function copyFolder(from: string, to: string): void {
  cpSync(`${from}-node`, `${to}-node`, { recursive: true })
}

/** Other bytes in the same inode. */
function overwrite(path: string, bytes: Uint8Array): void {
  const file = openSync(path, 'r+')
  try {
    ftruncateSync(file)
    writeSync(file, bytes)
  } finally {
    closeSync(file)
  }
}

/** Takes away what tells a copy from the original, as whoever sets a whole disk back does. */
function forge(path: string): void {
  using db = new DatabaseSync(path)
  db.exec('UPDATE database_metadata SET file_mark = NULL')
  const token = join(`${path}-node`, 'open-token')
  if (!existsSync(token)) return
  writeFileSync(token, readFileSync(token, 'utf8').split(' ')[0] ?? '')
}

function removeLog(path: string): void {
  for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true })
}

function removeDatabase(path: string): void {
  for (const suffix of ['', '-wal', '-shm', '-node'])
    rmSync(`${path}${suffix}`, { force: true, recursive: true })
}
