/**
 * Nodes for tests of live sync: any number, over memory or QUIC, each with a file of its own. No tests here.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

import { vectorsEqual } from '../../src/model/version-vector.ts'
import { createVectorDB, type SQLiteVectorDB } from '../../src/store/vector-db.ts'
import {
  createVectorSync,
  type SyncEvent,
  type VectorSync,
  type VectorSyncConfig,
} from '../../src/sync/index.ts'
import { MemoryNetwork } from '../../src/transport/memory/network.ts'
import type { Transport } from '../../src/transport/types.ts'

export const SHARD = 'notes'

export interface LiveNode {
  readonly name: string
  readonly db: SQLiteVectorDB
  readonly sync: VectorSync
  readonly address: string
  readonly events: SyncEvent[]
}

export type NetworkKind = 'memory' | 'quic'

/** Nodes that all trust each other and listen; disposing closes them and removes their files. */
export class LiveNodes implements AsyncDisposable {
  readonly nodes: LiveNode[] = []
  readonly #folder = mkdtempSync(join(tmpdir(), 'live-'))
  readonly #network = new MemoryNetwork()
  readonly #kind: NetworkKind

  constructor(kind: NetworkKind) {
    this.#kind = kind
  }

  static async of(
    kind: NetworkKind,
    count: number,
    config: VectorSyncConfig = {},
  ): Promise<LiveNodes> {
    const nodes = new LiveNodes(kind)
    for (let index = 0; index < count; index += 1) await nodes.add(config)
    return nodes
  }

  async add(config: VectorSyncConfig = {}, name = `n${this.nodes.length}`): Promise<LiveNode> {
    const db = await createVectorDB({ path: join(this.#folder, `${name}.db`) })
    const events: SyncEvent[] = []
    const transport =
      this.#kind === 'memory'
        ? { transport: this.#network.transport(fingerprintOf(this.nodes.length)) }
        : {}
    const sync = createVectorSync(db, name, {
      ...transport,
      ...config,
      onEvent: (event) => events.push(event),
    })
    if (this.#kind === 'quic') {
      for (const other of this.nodes) {
        other.sync.trust.add(sync.certificatePem, name)
        sync.trust.add(other.sync.certificatePem, other.name)
      }
    }
    const address = await sync.listen('127.0.0.1:0')
    const node = { name, db, sync, address, events }
    this.nodes.push(node)
    return node
  }

  get(index: number): LiveNode {
    const node = this.nodes[index]
    if (node === undefined) throw new RangeError(`there is no node ${index}`)
    return node
  }

  /** A bare end of the memory network that proves to be node `index`, to say what a node would not. */
  impostorOf(index: number): Transport {
    return this.#network.transport(fingerprintOf(index))
  }

  path(name: string): string {
    return join(this.#folder, `${name}.db`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { sync } of this.nodes) await sync.close()
    for (const { db } of this.nodes) db.close()
    rmSync(this.#folder, { recursive: true })
  }
}

function fingerprintOf(index: number): string {
  return index.toString(16).padStart(64, '0')
}

/** Waits until `condition` holds. @throws Error after `deadlineMs` */
export async function until(
  condition: () => boolean,
  what: string,
  deadlineMs = 5_000,
): Promise<number> {
  const startedMs = performance.now()
  while (!condition()) {
    if (performance.now() - startedMs > deadlineMs) {
      throw new Error(`not within ${deadlineMs} ms: ${what}`)
    }
    await wait(2)
  }
  return performance.now() - startedMs
}

/** Whether all hold the same: equal vectors, equal rows. */
export function agree(nodes: readonly LiveNode[], shardId = SHARD): boolean {
  const states = nodes.map(({ db }) =>
    db.shards().some((shard) => shard.shardId === shardId) ? db.replica.shardState(shardId) : null,
  )
  const [first] = states
  if (first === undefined || first === null) return false
  return states.every(
    (state) =>
      state !== null &&
      state.settled &&
      state.digest === first.digest &&
      vectorsEqual(state.versionVector, first.versionVector),
  )
}

/** Waits until the auto-sync of the shard with `to` is live on `from`. */
export async function whenLive(from: LiveNode, to: LiveNode, shardId = SHARD): Promise<void> {
  const isLive = (): boolean =>
    from.sync
      .getSession()
      .autoSyncs.some(
        (one) => one.shardId === shardId && one.address === to.address && one.status === 'live',
      )
  await until(isLive, `${from.name} is live with ${to.name}`)
}
