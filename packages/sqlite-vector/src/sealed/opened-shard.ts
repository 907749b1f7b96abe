/**
 * The opened side of a sealed shard: the decrypted records of its carrier, in a database of its
 * own. A reader of the carrier's feed whose cursor is committed with what it read.
 *
 * Three shards in that database: the records in clear under their own ids, the list of what cannot
 * be opened, and the cursor. Invariants: after {@link OpenedShard.catchUp} the records are a
 * function of the carrier's rows and of the keys; one catching up runs at a time.
 */
import { bytesToHex } from '../bytes.ts'
import type { Filter } from '../search/filter.ts'
import type { HybridOptions, HybridResult } from '../store/query/types.ts'
import type { ListOptions, ListPage, VectorRecord } from '../store/types.ts'
import type { SQLiteVectorDB } from '../store/vector-db.ts'
import { viewOf } from '../model/strategies.ts'
import type { Change, ConflictStrategyName, RecordValue, Sibling } from '../model/types.ts'
import { EMPTY_VECTOR, encodeVector } from '../model/version-vector.ts'
import type { Sealer } from './sealer.ts'
import {
  type Metadata,
  type ShardInfo,
  type ShardState,
  type VectorInput,
} from '../model/records.ts'
import { type SearchOptions, type SearchResult } from '../store/query/types.ts'

/** A record of the carrier that cannot be opened. */
export interface Unopened {
  /** The record's id in the carrier. */
  readonly token: string
  readonly reason: string
}

const RECORDS = 'records'
const UNOPENED = 'unopened'
const STATE = 'state'

/** The internal lists hold no user records; their vectors carry no information. */
const LIST = { dimension: 1, metric: 'l2' } as const
const NO_VECTOR = [0]

const READ_RECORDS = 512
const READ_BYTES = 4_194_304

/** The place in the feed at which reading continues. */
interface Place {
  readonly logId: string
  readonly cursor: number
  /**
   * The carrier's floor of deletes, encoded: when it rose, deletes may have gone that were never
   * read.
   */
  readonly floor: string
}

/** Metadata kept for a record that cannot be opened. */
type UnopenedMetadata = { readonly reason: string }

/** The decision about one record of the carrier. */
interface Verdict {
  readonly token: string
  readonly id: string | null
  readonly value: RecordValue | null
  readonly fault: string | null
}

/** The opened side of one sealed shard. */
export class OpenedShard {
  readonly #carrier: SQLiteVectorDB
  readonly #opened: SQLiteVectorDB
  readonly #shard: ShardInfo
  readonly #strategy: ConflictStrategyName
  #last: Promise<void> = Promise.resolve()

  constructor(
    carrier: SQLiteVectorDB,
    opened: SQLiteVectorDB,
    shard: ShardInfo,
    strategy: ConflictStrategyName,
  ) {
    this.#carrier = carrier
    this.#opened = opened
    this.#shard = shard
    this.#strategy = strategy
    const { dimension, metric } = shard
    opened.createShard(RECORDS, { dimension, metric })
    opened.createShard(UNOPENED, LIST)
    opened.createShard(STATE, LIST)
  }

  get(id: string): VectorRecord | null {
    return this.#opened.get(RECORDS, id)
  }

  list(options: ListOptions): ListPage {
    return this.#opened.list(RECORDS, options)
  }

  count(filter?: Filter): number {
    return filter === undefined ? this.#opened.count(RECORDS) : this.#opened.count(RECORDS, filter)
  }

  search(vector: VectorInput, options: SearchOptions): readonly SearchResult[] {
    return this.#opened.search(RECORDS, vector, options)
  }

  hybrid(options: HybridOptions): readonly HybridResult[] {
    return this.#opened.hybrid(RECORDS, options)
  }

  unopened(options: ListOptions): readonly Unopened[] {
    return this.#opened.list(UNOPENED, options).records.map(({ id, metadata }) => ({
      token: id,
      reason: (metadata as UnopenedMetadata).reason,
    }))
  }

  isUnopened(token: string): boolean {
    return this.#opened.get(UNOPENED, token) !== null
  }

  /** Reads the carrier's feed up to its head. */
  catchUp(sealer: Sealer): Promise<void> {
    return this.#inTurn(() => this.#drain(sealer))
  }

  /** Tries the unopened records again; returns how many are left. */
  retry(sealer: Sealer): Promise<number> {
    return this.#inTurn(() => this.#retry(sealer))
  }

  async close(): Promise<void> {
    await this.#inTurn(() => Promise.resolve())
    this.#opened.close()
  }

  async #retry(sealer: Sealer): Promise<number> {
    let cursor: string | null = null
    do {
      const page: ListPage = this.#opened.list(UNOPENED, { cursor, limit: READ_RECORDS })
      const tokens = page.records.map(({ id }) => id)
      await this.#take(sealer, this.#read(tokens), null)
      cursor = page.nextCursor
    } while (cursor !== null)
    return this.#opened.count(UNOPENED)
  }

  /** Runs tasks one after the other. The failure of one rejects for its own caller only. */
  #inTurn<T>(fn: () => Promise<T>): Promise<T> {
    const result = this.#last.then(fn)
    this.#last = result.then(nothing, nothing)
    return result
  }

  async #drain(sealer: Sealer): Promise<void> {
    const { shardId } = this.#shard
    let place = this.#place()
    let state = this.#carrier.replica.shardState(shardId)
    if (place === null || place.logId !== state.logId) {
      await this.#clear()
      place = { logId: state.logId, cursor: 0, floor: floorOf(state) }
    } else if (place.floor !== floorOf(state)) {
      await this.#dropForgotten(sealer)
      place = { ...place, floor: floorOf(state) }
      await this.#opened.group(() => this.#keepPlace(place as Place))
    }
    for (let { cursor } = place; cursor < state.head;) {
      const read = this.#carrier.replica.readDelta(shardId, {
        after: cursor,
        countMax: READ_RECORDS,
        bytesMax: READ_BYTES,
        known: EMPTY_VECTOR,
      })
      cursor = read.through
      ;({ state } = read)
      await this.#take(sealer, read.changes, { ...place, cursor })
      if (read.atHead) break
    }
  }

  /** Writes the changes, and the place they lead to, in one transaction. */
  async #take(sealer: Sealer, changes: readonly Change[], place: Place | null): Promise<void> {
    const verdicts = changes.map((change) => this.#judge(sealer, change))
    await this.#opened.group(() => {
      for (const verdict of verdicts) this.#carryOut(verdict)
      if (place !== null) this.#keepPlace(place)
    })
  }

  #judge(sealer: Sealer, { id: token, siblings }: Change): Verdict {
    const id = sealer.tokenToId(token)
    if (id === null) {
      return { token, id, value: null, fault: 'its id was made by no member of these keys' }
    }
    const opened: Sibling[] = []
    for (const sibling of siblings) {
      if (sibling.value === null) {
        opened.push(sibling)
        continue
      }
      const result = sealer.open(token, sibling.dot, sibling.value.metadata)
      if ('fault' in result) return { token, id, value: null, fault: result.fault }
      const { embedding } = result.content
      if (embedding.length !== this.#shard.dimension) {
        const fault = `its vector has ${embedding.length} components, the shard has ${this.#shard.dimension}`
        return { token, id, value: null, fault }
      }
      opened.push({ ...sibling, value: { ...result.content, embeddingDot: sibling.dot } })
    }
    const [only] = opened
    const value =
      opened.length === 1 && only !== undefined
        ? only.value
        : viewOf(this.#strategy, opened, this.#shard.metric === 'cosine')
    return { token, id, value, fault: null }
  }

  /** A record that cannot be opened stays as it was last shown. */
  #carryOut({ token, id, value, fault }: Verdict): void {
    const opened = this.#opened
    if (fault !== null) {
      opened.upsert(UNOPENED, { id: token, embedding: NO_VECTOR, metadata: { reason: fault } })
      return
    }
    opened.delete(UNOPENED, token)
    if (id === null) return
    if (value === null || value.embedding === null) {
      opened.delete(RECORDS, id)
      return
    }
    const { embedding, metadata, text } = value
    opened.upsert(RECORDS, {
      id,
      embedding,
      metadata: JSON.parse(metadata) as Metadata,
      ...(text === null ? {} : { text }),
    })
  }

  /** Deletes were forgotten: drops records of which the carrier has no trace. */
  async #dropForgotten(sealer: Sealer): Promise<void> {
    let cursor: string | null = null
    do {
      const page: ListPage = this.#opened.list(RECORDS, { cursor, limit: READ_RECORDS })
      const ids = new Map(page.records.map(({ id }) => [sealer.idToToken(id), id]))
      const held = new Set(this.#read([...ids.keys()]).map(({ id }) => id))
      await this.#opened.group(() => {
        for (const [token, id] of ids) if (!held.has(token)) this.#opened.delete(RECORDS, id)
      })
      cursor = page.nextCursor
    } while (cursor !== null)
  }

  /** The carrier's records of these tokens, all of those that there are. */
  #read(tokens: readonly string[]): readonly Change[] {
    const changes: Change[] = []
    const { shardId } = this.#shard
    for (let rest = tokens; rest.length > 0;) {
      const read = this.#carrier.replica.readRecords(shardId, rest, READ_BYTES).changes
      const last = read.at(-1)
      if (last === undefined) break
      changes.push(...read)
      rest = rest.slice(rest.indexOf(last.id) + 1)
    }
    return changes
  }

  async #clear(): Promise<void> {
    const { dimension, metric } = this.#shard
    await this.#opened.group(() => {
      for (const shardId of [RECORDS, UNOPENED]) this.#opened.dropShard(shardId)
      this.#opened.createShard(RECORDS, { dimension, metric })
      this.#opened.createShard(UNOPENED, LIST)
    })
  }

  #place(): Place | null {
    const metadata = this.#opened.get(STATE, 'place')?.metadata
    if (metadata === undefined) return null
    const { logId, cursor, floor } = metadata as unknown as Place
    return { logId, cursor, floor }
  }

  #keepPlace({ logId, cursor, floor }: Place): void {
    const metadata = { logId, cursor, floor }
    this.#opened.upsert(STATE, { id: 'place', embedding: NO_VECTOR, metadata })
  }
}

function floorOf({ gcFloor }: ShardState): string {
  return bytesToHex(encodeVector(gcFloor))
}

function nothing(): void {
  // The end of a turn, however it went.
}
