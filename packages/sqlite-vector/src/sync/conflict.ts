/**
 * Conflicts as people meet them: which are open, what each choice would show, deciding, and taking
 * a decision back.
 *
 * Not here: how conflicts come about and what is shown meanwhile (conflict.ts, strategies.ts), and
 * where they are kept (the store): this asks the database at every call, so nothing is shown as
 * resolved while it is open.
 *
 * A decision is a write that supersedes all siblings, and it replicates. Taking it back is a new
 * write, too: it brings back what was shown before the decision. It cannot bring the siblings back,
 * because replicas may have forgotten them.
 */
import { isConflict } from '../model/merge.ts'
import { sameDot } from '../model/version-vector.ts'
import { SqliteVectorError } from '../errors.ts'
import { objectGiven, shown } from '../options.ts'
import type {
  ConflictChoice,
  ConflictListOptions,
  ConflictPage,
  ConflictSibling,
  RecordInput,
  VectorRecord,
} from '../store/types.ts'
import { viewOf } from '../model/strategies.ts'
import type { ConflictStrategyName, Dot, Sibling } from '../model/types.ts'
import { type ReplicaStore } from '../store/replica/types.ts'

/** The database, as conflicts need it. */
export interface ConflictDatabase {
  readonly replica: Pick<ReplicaStore, 'shardState' | 'nodeOf'>
  listConflicts(shardId: string, options?: ConflictListOptions): ConflictPage
  conflictSiblings(shardId: string, id: string): readonly ConflictSibling[]
  resolveConflict(shardId: string, id: string, choice: ConflictChoice): void
  get(shardId: string, id: string): VectorRecord | null
  upsert(shardId: string, record: RecordInput): boolean
  delete(shardId: string, id: string): boolean
}

/** One of the writes that are in conflict. */
export interface TrackedSibling extends ConflictSibling {
  /** The node that wrote it, as it called itself; null when it never said so here. */
  readonly nodeId: string | null
  /** Milliseconds since 1970 by the writer's clock. */
  readonly atMs: number
}

/** A record in conflict, with everything that is known of it. */
export interface TrackedConflict {
  readonly shardId: string
  readonly id: string
  /** In the order of their dots. */
  readonly siblings: readonly TrackedSibling[]
  /** The visible value now; null is a delete. */
  readonly shown: VectorRecord | null
}

/** A page of conflicts, in the order of the bytes of their ids. */
export interface TrackedPage {
  readonly conflicts: readonly TrackedConflict[]
  readonly nextCursor: string | null
}

/** The value that a choice would give a record; null deletes it. */
export type ConflictPreview = ConflictSibling['value']

/** How to decide: for a sibling, by a value, or as a strategy would show it. */
export type Decision = ConflictChoice | { readonly strategy: ConflictStrategyName }

/** The outcome of {@link ConflictResolver.resolve}; {@link ConflictResolver.undo} takes it. */
export interface Resolution {
  readonly shardId: string
  readonly id: string
  /** The write that decided. */
  readonly dot: Dot
  /** The visible value before it. */
  readonly before: VectorRecord | null
}

/** Lists open conflicts. */
export class ConflictTracker {
  readonly #db: ConflictDatabase

  constructor(db: ConflictDatabase) {
    objectGiven('ConflictTracker: db', db)
    this.#db = db
  }

  /** How many records of the shard are in conflict. */
  count(shardId: string): number {
    return this.#db.replica.shardState(shardId).conflictCount
  }

  /** A page of open conflicts with all their siblings. */
  list(shardId: string, options: ConflictListOptions = {}): TrackedPage {
    const { conflicts, nextCursor } = this.#db.listConflicts(shardId, options)
    return { conflicts: conflicts.map(({ id }) => this.#tracked(shardId, id)), nextCursor }
  }

  /** The open conflict of a record, or null when there is none. */
  get(shardId: string, id: string): TrackedConflict | null {
    const tracked = this.#tracked(shardId, id)
    return isConflict(tracked.siblings) ? tracked : null
  }

  #tracked(shardId: string, id: string): TrackedConflict {
    const siblings = this.#db.conflictSiblings(shardId, id).map((sibling) => ({
      ...sibling,
      nodeId: this.#db.replica.nodeOf(sibling.dot.actor),
      atMs: sibling.stamp.ms,
    }))
    return { shardId, id, siblings, shown: this.#db.get(shardId, id) }
  }
}

/** Decides conflicts. */
export class ConflictResolver {
  readonly #db: ConflictDatabase

  constructor(db: ConflictDatabase) {
    objectGiven('ConflictResolver: db', db)
    this.#db = db
  }

  /** The value the record would get; writes nothing. @throws `STORE_CONFLICT_UNKNOWN` */
  preview(shardId: string, id: string, decision: Decision): ConflictPreview {
    const siblings = this.#open(shardId, id)
    if ('strategy' in decision) return this.#viewOf(shardId, siblings, decision.strategy)
    if ('choose' in decision) return chosen(siblings, id, decision.choose).value
    const { value } = decision
    if (value === null) return null
    return {
      embedding: Float32Array.from(value.embedding),
      metadata: value.metadata ?? {},
      text: value.text ?? null,
    }
  }

  /**
   * Decides. The conflict is closed here when this returns, and at each peer once it has the write.
   * @throws `STORE_CONFLICT_UNKNOWN`
   */
  resolve(shardId: string, id: string, decision: Decision): Resolution {
    const before = this.#db.get(shardId, id)
    const choice: ConflictChoice =
      'strategy' in decision ? { value: this.preview(shardId, id, decision) } : decision
    this.#db.resolveConflict(shardId, id, choice)
    const [sibling] = this.#db.conflictSiblings(shardId, id)
    if (sibling === undefined) throw unknown(shardId, id)
    return { shardId, id, dot: sibling.dot, before }
  }

  /**
   * Shows again what was shown before a resolution, by a new write that replicates. False, and
   * nothing written, when the record was written to since: that write stands.
   */
  undo({ shardId, id, dot, before }: Resolution): boolean {
    const siblings = this.#db.conflictSiblings(shardId, id)
    const [only] = siblings
    const isOurs = only !== undefined && sameDot(only.dot, dot)
    if (siblings.length !== 1 || !isOurs) return false
    if (before === null) {
      if (only.value !== null) this.#db.delete(shardId, id)
      return true
    }
    const { embedding, metadata, text } = before
    if (embedding === undefined) return false
    this.#db.upsert(shardId, { id, embedding, metadata, ...(text === null ? {} : { text }) })
    return true
  }

  #open(shardId: string, id: string): readonly ConflictSibling[] {
    const siblings = this.#db.conflictSiblings(shardId, id)
    if (!isConflict(siblings)) throw unknown(shardId, id)
    return siblings
  }

  #viewOf(
    shardId: string,
    siblings: readonly ConflictSibling[],
    strategy: ConflictStrategyName,
  ): ConflictPreview {
    const { metric } = this.#db.replica.shardState(shardId)
    const stored = siblings.map(({ dot, stamp, value }): Sibling => {
      if (value === null) return { dot, stamp, value }
      const { embedding, metadata, text } = value
      const record = { embedding, embeddingDot: dot, metadata: JSON.stringify(metadata), text }
      return { dot, stamp, value: record }
    })
    const view = viewOf(strategy, stored, metric === 'cosine')
    if (view === null || view.embedding === null) return null
    const { embedding, metadata, text } = view
    return { embedding, metadata: JSON.parse(metadata) as VectorRecord['metadata'], text }
  }
}

function chosen(siblings: readonly ConflictSibling[], id: string, dot: Dot): ConflictSibling {
  const found = siblings.find((sibling) => sameDot(sibling.dot, dot))
  if (found !== undefined) return found
  throw new SqliteVectorError(
    'STORE_CONFLICT_UNKNOWN',
    `record ${shown(id)} has no sibling (${shown(dot.actor)}, ${dot.counter})`,
  )
}

function unknown(shardId: string, id: string): SqliteVectorError {
  return new SqliteVectorError(
    'STORE_CONFLICT_UNKNOWN',
    `record ${shown(id)} of shard ${shown(shardId)} has no open conflict`,
  )
}
