/**
 * Node processes that trust one another, each with a file in one folder; disposing ends them all.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

import type { VectorSyncConfig } from '@agentic-flow/sqlite-vector/sync'

import type { LiveRequests } from './messages.ts'
import { LiveNodeHandle } from './node-handle.ts'

export type NodeState = LiveRequests['state']['answer']

/** One process of a fleet. */
export interface Member {
  readonly name: string
  readonly path: string
  readonly namespace: string | null
  handle: LiveNodeHandle
  address: string
}

/** How a fleet's nodes are set up. */
export interface FleetOptions {
  readonly config?: VectorSyncConfig
  readonly idleTimeoutMs?: number
  /** For node `index`: its network namespace, and the host part of where it listens. */
  readonly place?: (index: number) => { readonly namespace: string; readonly host: string } | null
}

export class Fleet implements AsyncDisposable {
  readonly members: Member[] = []
  readonly #folder = mkdtempSync(join(tmpdir(), 'fleet-'))
  readonly #options: FleetOptions
  readonly #certificates = new Map<string, string>()

  private constructor(options: FleetOptions) {
    this.#options = options
  }

  static async start(count: number, options: FleetOptions = {}): Promise<Fleet> {
    const fleet = new Fleet(options)
    for (let index = 0; index < count; index += 1) {
      const place = options.place?.(index) ?? null
      const name = `node-${index}`
      fleet.members.push({
        name,
        path: join(fleet.#folder, `${name}.db`),
        namespace: place?.namespace ?? null,
        handle: new LiveNodeHandle(place?.namespace ?? null),
        address: `${place?.host ?? '127.0.0.1'}:0`,
      })
    }
    await Promise.all(fleet.members.map((member) => fleet.#open(member)))
    await Promise.all(fleet.members.map((member) => fleet.#introduce(member)))
    return fleet
  }

  get(index: number): Member {
    const member = this.members[index]
    if (member === undefined) throw new RangeError(`there is no node ${index}`)
    return member
  }

  /** Starts a killed node again, on its file and at its address. */
  async revive(member: Member): Promise<void> {
    member.handle = new LiveNodeHandle(member.namespace)
    await this.#open(member)
  }

  async states(shardId: string): Promise<NodeState[]> {
    return Promise.all(this.members.map(({ handle }) => handle.call('state', { shardId })))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map(({ handle }) => handle.kill()))
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #open(member: Member): Promise<void> {
    const { config = {}, idleTimeoutMs } = this.#options
    const { certificatePem } = await member.handle.call('open', {
      path: member.path,
      nodeId: member.name,
      config,
      ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    })
    this.#certificates.set(member.name, certificatePem)
    const { address } = await member.handle.call('listen', { address: member.address })
    member.address = address
  }

  async #introduce({ name, handle }: Member): Promise<void> {
    for (const [nodeId, certificatePem] of this.#certificates) {
      if (nodeId !== name) await handle.call('trust', { nodeId, certificatePem })
    }
  }
}

/** Whether all hold the same rows, as vectors and digests say. */
export function agree(states: readonly NodeState[]): boolean {
  const [first] = states
  if (first === undefined || first === null) return false
  const told = (state: NodeState): string =>
    JSON.stringify(state?.vector.toSorted(([a], [b]) => (a < b ? -1 : 1)))
  return states.every(
    (state) =>
      state !== null &&
      state.settled &&
      state.digest === first.digest &&
      state.records === first.records &&
      told(state) === told(first),
  )
}

/** Waits until `condition` holds; milliseconds that it took. @throws Error after `deadlineMs` */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  deadlineMs = 30_000,
  stepMs = 10,
): Promise<number> {
  const startedMs = performance.now()
  while (!(await condition())) {
    if (performance.now() - startedMs > deadlineMs) {
      throw new Error(`not within ${deadlineMs} ms: ${what}`)
    }
    await wait(stepMs)
  }
  return performance.now() - startedMs
}

/** The value below which `part` (0 to 1) of the values lie. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]
  if (value === undefined) throw new RangeError('quantile: no values')
  return value
}
