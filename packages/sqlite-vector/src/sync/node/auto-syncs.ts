/**
 * The auto-syncs of one node, by shard and address; those with one peer share a gate. Holds them,
 * starts and stops them, and nothing else.
 */
import { parseAddress } from '../../transport/address.ts'
import type { PeerAddress } from '../../transport/types.ts'
import { AutoSync, type AutoSyncSetup } from './auto-sync.ts'
import { type Connect, PeerGate } from './peer-gate.ts'
import type { AutoSyncState, SyncEvent } from '../types.ts'

/** The parts that all auto-syncs of a node share. */
export interface AutoSyncsSetup extends Omit<
  AutoSyncSetup,
  'shardId' | 'gate' | 'onStatus' | 'onError'
> {
  readonly connect: Connect
  readonly emit: (event: SyncEvent) => void
}

/** See the head of this file. */
export class AutoSyncs {
  readonly #setup: AutoSyncsSetup
  readonly #syncs = new Map<string, AutoSync>()
  readonly #gates = new Map<PeerAddress, PeerGate>()

  constructor(setup: AutoSyncsSetup) {
    this.#setup = setup
  }

  list(): readonly AutoSyncState[] {
    return [...this.#syncs.values()].map(({ state }) => state)
  }

  get(shardId: string, address: PeerAddress): AutoSyncState | null {
    return this.#syncs.get(keyOf(shardId, address))?.state ?? null
  }

  /** Starts one unless it runs already; one that failed starts again. */
  start(shardId: string, address: PeerAddress): void {
    parseAddress(address)
    const key = keyOf(shardId, address)
    const known = this.#syncs.get(key)
    if (known?.state.status === 'failed') known.wake()
    if (known !== undefined && known.state.status !== 'stopped') return
    const { emit } = this.#setup
    const sync = new AutoSync({
      ...this.#setup,
      shardId,
      gate: this.#gate(address),
      onStatus: ({ status: now }) => emit({ type: 'sync', shardId, address, status: now }),
      onError: (error, willRetry) => emit({ type: 'error', shardId, address, error, willRetry }),
    })
    this.#syncs.set(key, sync)
  }

  /** Trust or grants have changed: those that failed begin again. */
  wake(): void {
    for (const sync of this.#syncs.values()) sync.wake()
  }

  /** True when there was one. */
  async stop(shardId: string, address: PeerAddress): Promise<boolean> {
    const key = keyOf(shardId, address)
    const sync = this.#syncs.get(key)
    if (sync === undefined) return false
    this.#syncs.delete(key)
    await sync.stop()
    return true
  }

  async stopAll(): Promise<number> {
    const all = [...this.#syncs.values()]
    this.#syncs.clear()
    await Promise.all(all.map((sync) => sync.stop()))
    this.#gates.clear()
    return all.length
  }

  #gate(address: PeerAddress): PeerGate {
    const known = this.#gates.get(address)
    if (known !== undefined) return known
    const gate = new PeerGate(address, this.#setup.connect, this.#setup.clock)
    this.#gates.set(address, gate)
    return gate
  }
}

function keyOf(shardId: string, address: PeerAddress): string {
  return JSON.stringify([shardId, address])
}
