/**
 * The oracle: what really happened, and what every node must therefore hold.
 *
 * It knows every write by its own account of cause and effect, not by the store's: a write's past is
 * every write to the same record that its node held or knew superseded at that moment. From this
 * follows exactly what a node must hold of a record at any time: the maximal writes of what it knows.
 * One too few is a loss, one too many a revival, and both show at the step that made them.
 *
 * Until another node holds or claims a write, it is its file's own affair under which dot: a file that was set
 * back may give the dot again. From then on nobody else may bear it.
 *
 * A node knows a write when it received it, received a write that saw it, or claims it by its version
 * vector; so the vector covering what is not held is found as well (DESIGN's invariant V).
 *
 * Not here: how a node's state is read (inspect.ts). Reads no clock and draws no chance.
 */
import { compareHlc, type Hlc } from '../../src/clock/hlc.ts'
import type {
  ActorId,
  Change,
  Dot,
  RecordState,
  RecordValue,
  Sibling,
  VersionVector,
} from '../../src/model/types.ts'
import { covers } from '../../src/model/version-vector.ts'
import type { SimStrategy } from './reference-view.ts'

/** Something that must never be true was true; ends the simulation. */
export class Violation extends Error {
  override readonly name = 'Violation'
  /** The invariant that broke, in a few words. */
  readonly invariant: string

  constructor(invariant: string, details: string) {
    super(`${invariant}: ${details}`)
    this.invariant = invariant
  }
}

/** One write, by whichever node. */
export interface Write {
  readonly serial: number
  readonly node: string
  readonly shardId: string
  readonly id: string
  readonly stamp: Hlc
  readonly deleted: boolean
  content: string
  /** Every write to the record that its author knew. */
  readonly past: ReadonlySet<Write>
  /** Changes, as the content's own dot does, when a restored or cloned node must write under another name. */
  dot: Dot
}

/** What a node holds of one record. */
export interface HeldRecord {
  readonly state: RecordState
  readonly siblings: readonly Write[]
}

/** What a node holds of one shard, as last read, and what it knows. */
export interface ShardView {
  readonly shardId: string
  readonly records: Map<string, HeldRecord>
  readonly known: Map<string, Set<Write>>
  /** The writes of this file, by the dots that it gave them. Another copy of it may give the same to others. */
  readonly own: Map<string, Write>
  /** How the node shows conflicts of the shard; kept in its file. */
  strategy: SimStrategy
  vector: VersionVector
  floor: VersionVector
  head: number
  logId: string
  /** The newest stamp that the node gave. */
  lastStamp: Hlc | null
}

/** What a node holds. */
export type NodeView = Map<string, ShardView>

export function cloneView(view: NodeView): NodeView {
  return new Map(
    [...view].map(([shardId, shard]) => [
      shardId,
      {
        ...shard,
        records: new Map(shard.records),
        known: new Map([...shard.known].map(([id, writes]) => [id, new Set(writes)])),
        own: new Map(shard.own),
      },
    ]),
  )
}

export function shardViewOf(view: NodeView, shardId: string): ShardView {
  let shard = view.get(shardId)
  if (shard === undefined) {
    shard = {
      shardId,
      records: new Map(),
      known: new Map(),
      own: new Map(),
      strategy: 'last-write-wins',
      vector: new Map(),
      floor: new Map(),
      head: 0,
      logId: '',
      lastStamp: null,
    }
    view.set(shardId, shard)
  }
  return shard
}

export class History {
  #serial = 0
  readonly #byDot = new Map<string, Write>()
  readonly #byRecord = new Map<string, Write[]>()
  readonly #collected = new Set<Write>()
  readonly #views: () => Iterable<NodeView>

  /** `views` gives what every node holds now. */
  constructor(views: () => Iterable<NodeView>) {
    this.#views = views
  }

  get writeCount(): number {
    return this.#serial
  }

  /**
   * `node` wrote `sibling` to the record just now; must be called before {@link hold} sees it. What of \`siblings\`
   * stands beside it, it did not supersede.
   */
  wrote(
    node: string,
    view: ShardView,
    id: string,
    sibling: Sibling,
    siblings: readonly Sibling[],
  ): Write {
    const { shardId } = view
    if (view.lastStamp !== null && compareHlc(sibling.stamp, view.lastStamp) <= 0) {
      throw new Violation(
        'local stamps strictly increase',
        `${node} stamped ${nameStamp(sibling.stamp)} after ${nameStamp(view.lastStamp)}`,
      )
    }
    view.lastStamp = sibling.stamp
    const beside = new Set(siblings.map(({ dot }) => nameDot(dot)))
    const write: Write = {
      serial: (this.#serial += 1),
      node,
      shardId,
      id,
      stamp: sibling.stamp,
      deleted: sibling.value === null,
      content: contentOf(sibling.value),
      past: new Set([...this.#knownOf(view, id)].filter(({ dot }) => !beside.has(nameDot(dot)))),
      dot: sibling.dot,
    }
    if (covers(view.vector, sibling.dot)) {
      throw new Violation('counters rise', `${this.name(write)} bears a dot of before`)
    }
    view.own.set(nameDot(sibling.dot), write)
    return write
  }

  /**
   * The node gave up names of writes that may be somebody else's: its version vector fell back to `after`,
   * and the writes beyond it that it still holds bear new names. What they had superseded under the old
   * names is unknown to the new ones: the two are concurrent where somebody else has them.
   */
  abandoned(node: string, view: ShardView, after: VersionVector, changes: readonly Change[]): void {
    const isVoid = (dot: Dot): boolean => covers(view.vector, dot) && !covers(after, dot)
    for (const { id, siblings } of changes) {
      for (const sibling of siblings) {
        if (this.#find(view, sibling) !== undefined) continue
        const original = view.records
          .get(id)
          ?.siblings.find(
            (write) => isVoid(write.dot) && compareHlc(write.stamp, sibling.stamp) === 0,
          )
        if (original === undefined) {
          throw new Violation(
            'every write held was made by somebody',
            `${node} holds ${nameDot(sibling.dot)} of "${id}", which is none of its writes`,
          )
        }
        const past = new Set([...original.past].filter((write) => !isVoid(write.dot)))
        const content = contentOf(sibling.value)
        const { dot } = sibling
        view.own.set(nameDot(dot), { ...original, serial: (this.#serial += 1), dot, past, content })
      }
    }
    for (const [id, known] of view.known) {
      view.known.set(id, new Set([...known].filter((write) => !isVoid(write.dot))))
    }
    for (const [key, write] of view.own) {
      if (isVoid(write.dot)) view.own.delete(key)
    }
  }

  /**
   * The node claims what its version vector covers: others' writes among it are in the world from now on,
   * whether it holds them or what superseded them.
   */
  claimed(view: ShardView): void {
    for (const other of this.#views()) {
      const theirs = other.get(view.shardId)
      if (theirs === undefined || theirs === view) continue
      for (const [key, write] of theirs.own) {
        if (!covers(view.vector, write.dot) || view.own.has(key)) continue
        // Of two copies of a file, either may have made it: the one that is held tells.
        if (!this.#byDot.has(`${view.shardId}/${key}`) && !this.#isDisputed(write)) {
          this.#publish(write)
        }
      }
    }
  }

  /** What every node holds is the only write under its dot. */
  settle(view: ShardView): void {
    for (const { siblings } of view.records.values()) {
      for (const write of siblings) {
        const other = this.#byDot.get(`${view.shardId}/${nameDot(write.dot)}`)
        if (other === undefined) this.#publish(write)
        else if (other !== write) throw usedTwice(this.name(write), this.name(other))
      }
    }
  }

  /**
   * The node decides over writes that it was sent and could not take: what it writes next supersedes them, and what
   * they had superseded (`context`).
   */
  overruled(view: ShardView, id: string, dots: readonly Dot[], context: VersionVector): void {
    const known = this.#knownOf(view, id)
    for (const dot of dots) {
      const key = nameDot(dot)
      const dotName = `${view.shardId}/${key}`
      if (!this.#byDot.has(dotName)) {
        for (const write of this.#bearers(view.shardId, key))
          if (write.id === id) this.#publish(write)
      }
      const write = this.#byDot.get(dotName)
      // Its author was set back before anybody else held it: only quarantine knows of it, and of what it had seen.
      if (write === undefined) {
        for (const other of this.#byRecord.get(`${view.shardId}/${id}`) ?? []) {
          if (covers(context, other.dot)) addWithPast(known, other)
        }
        continue
      }
      if (write.id !== id) {
        throw new Violation('what is in quarantine was written', `${key} of "${id}" was not`)
      }
      addWithPast(known, write)
    }
    view.known.set(id, known)
  }

  /** True when the node made the write that `dot` names. */
  isOwn(view: ShardView, dot: Dot): boolean {
    return view.own.has(nameDot(dot))
  }

  /** The node now holds `state` of the record, or nothing; checks it against what it must hold. */
  hold(node: string, view: ShardView, id: string, state: RecordState | null): void {
    if (state === null) {
      this.#vanished(node, view, id)
      return
    }
    const siblings = state.siblings.map((sibling) => this.#resolve(node, view, id, sibling))
    view.records.set(id, { state, siblings })
    const known = this.#knownOf(view, id)
    for (const write of siblings) addWithPast(known, write)
    view.known.set(id, known)
    this.#checkRecord(node, view, id, known)
  }

  /** Checks every record of the shard against what its version vector claims. */
  checkShard(node: string, view: ShardView): void {
    for (const [key, writes] of this.#byRecord) {
      const [first] = writes
      if (first === undefined || first.shardId !== view.shardId) continue
      const id = key.slice(view.shardId.length + 1)
      const known = this.#knownOf(view, id)
      view.known.set(id, known)
      this.#checkRecord(node, view, id, known)
    }
  }

  /** What was known to any of `views`, and must be held by all of them in the end. */
  checkNothingLost(shardId: string, views: ReadonlyMap<string, ShardView>): void {
    const everything = new Map<string, Set<Write>>()
    for (const view of views.values()) {
      for (const [id, known] of view.known) {
        const all = everything.get(id) ?? new Set()
        for (const write of known) all.add(write)
        everything.set(id, all)
      }
    }
    for (const [node, view] of views) {
      for (const [id, known] of everything) {
        const held = view.records.get(id)?.siblings ?? []
        for (const write of maximal(known)) {
          if (held.includes(write) || (write.deleted && this.#collected.has(write))) continue
          throw new Violation(
            'nothing acknowledged is lost',
            `${node} lacks ${this.name(write)} of ${shardId}`,
          )
        }
        for (const write of held) {
          if (maximal(known).includes(write) || this.#isRemembered(write, known)) continue
          throw new Violation(
            'nothing superseded remains',
            `${node} still holds ${this.name(write)} of ${shardId}`,
          )
        }
      }
    }
  }

  /** True when the node of `view` holds the write or something that superseded it. */
  accounted(view: ShardView, write: Write): boolean {
    return this.#knownOf(view, write.id).has(write)
  }

  name(write: Write): string {
    const kind = write.deleted ? 'delete' : 'put'
    return `${kind} #${write.serial} of "${write.id}" by ${write.node} (${nameDot(write.dot)} at ${nameStamp(write.stamp)})`
  }

  /** From here on the write is in the world: nobody else may bear its dot. */
  #publish(write: Write): void {
    const dotName = `${write.shardId}/${nameDot(write.dot)}`
    const other = this.#byDot.get(dotName)
    if (other !== undefined) throw usedTwice(this.name(write), this.name(other))
    this.#byDot.set(dotName, write)
    const key = `${write.shardId}/${write.id}`
    const writes = this.#byRecord.get(key)
    if (writes === undefined) this.#byRecord.set(key, [write])
    else writes.push(write)
  }

  #resolve(node: string, view: ShardView, id: string, sibling: Sibling): Write {
    const write = this.#find(view, sibling)
    if (write === undefined || write.id !== id) {
      const name = nameDot(sibling.dot)
      throw new Violation(
        'every write held was made by somebody',
        `${node} holds ${name} of "${id}", which ${write === undefined ? 'nobody wrote' : `is ${this.name(write)}`}`,
      )
    }
    const content = contentOf(sibling.value)
    if (content !== write.content || compareHlc(sibling.stamp, write.stamp) !== 0) {
      throw new Violation(
        'a write never changes',
        `${node} holds ${this.name(write)} as ${content} at ${nameStamp(sibling.stamp)}, not ${write.content}`,
      )
    }
    return write
  }

  /** The write that `sibling` is: the node's own, one that is in the world, or one that gets there now. */
  #find(view: ShardView, sibling: Sibling): Write | undefined {
    const key = nameDot(sibling.dot)
    const known = view.own.get(key) ?? this.#byDot.get(`${view.shardId}/${key}`)
    if (known !== undefined) return known
    for (const write of this.#bearers(view.shardId, key)) {
      if (contentOf(sibling.value) !== write.content) continue
      this.#publish(write)
      return write
    }
    return undefined
  }

  /** True when two nodes gave the dot to different writes, of which none is in the world yet. */
  #isDisputed(write: Write): boolean {
    return this.#bearers(write.shardId, nameDot(write.dot)).size > 1
  }

  #bearers(shardId: string, key: string): ReadonlySet<Write> {
    const bearers = new Set<Write>()
    for (const view of this.#views()) {
      const write = view.get(shardId)?.own.get(key)
      if (write !== undefined) bearers.add(write)
    }
    return bearers
  }

  #vanished(node: string, view: ShardView, id: string): void {
    const held = view.records.get(id)
    if (held === undefined) return
    view.records.delete(id)
    for (const write of held.siblings) if (write.deleted) this.#collected.add(write)
    // Without a trace of the record, all that the node still knows of it is what its version vector covers: until
    // that is joined, which quarantine may put off, somebody who missed the delete may bring the record again.
    const known = new Set(
      [...this.#knownOf(view, id)].filter(({ dot }) => covers(view.vector, dot)),
    )
    view.known.set(id, known)
    this.#checkRecord(node, view, id, known)
  }

  #knownOf(view: ShardView, id: string): Set<Write> {
    const known = new Set(view.known.get(id))
    for (const write of this.#byRecord.get(`${view.shardId}/${id}`) ?? []) {
      if (known.has(write) || !covers(view.vector, write.dot)) continue
      // The node's own write of that name is another, then.
      if ((view.own.get(nameDot(write.dot)) ?? write) === write) addWithPast(known, write)
    }
    return known
  }

  /** When the last delete of a record is forgotten, an earlier one that somebody still has counts again. */
  #isRemembered(write: Write, known: ReadonlySet<Write>): boolean {
    const after = maximal(known).filter((other) => other.past.has(write))
    const isForgotten = after.every((other) => other.deleted && this.#collected.has(other))
    return write.deleted && after.length > 0 && isForgotten
  }

  #checkRecord(node: string, view: ShardView, id: string, known: Set<Write>): void {
    const held = view.records.get(id)?.siblings ?? []
    const wanted = maximal(known)
    for (const write of held) {
      if (wanted.includes(write)) continue
      if (this.#isRemembered(write, known)) continue
      const by = [...known].find((other) => other.past.has(write))
      throw new Violation(
        'nothing superseded comes back',
        `${node} holds ${this.name(write)}, which ${by === undefined ? 'it does not know' : `${this.name(by)} superseded`}`,
      )
    }
    for (const write of wanted) {
      if (held.includes(write) || (write.deleted && this.#collected.has(write))) continue
      // Dropped because of a delete that somebody forgot: then the node knows of that delete now.
      const reason = [...this.#collected].find((tombstone) => tombstone.past.has(write))
      if (reason !== undefined) {
        addWithPast(known, reason)
        continue
      }
      throw new Violation(
        'the version vector covers only what is held',
        `${node} knows of ${this.name(write)} and neither holds it nor anything that superseded it`,
      )
    }
  }
}

function usedTwice(a: string, b: string): Violation {
  return new Violation('no dot is used twice', `${a} has the dot of ${b}`)
}

/** The writes that no other of `known` saw. */
function maximal(known: ReadonlySet<Write>): readonly Write[] {
  const superseded = new Set<Write>()
  for (const write of known) for (const earlier of write.past) superseded.add(earlier)
  return [...known].filter((write) => !superseded.has(write))
}

function addWithPast(known: Set<Write>, write: Write): void {
  known.add(write)
  for (const earlier of write.past) known.add(earlier)
}

export function nameDot(dot: Dot): string {
  return `${nameActor(dot.actor)}:${dot.counter}`
}

/** Eight digits tell the actors of a simulation apart, and a trace stays readable. */
export function nameActor(actor: ActorId): string {
  return actor.slice(0, 8)
}

export function nameStamp(stamp: Hlc): string {
  return `${stamp.ms}.${stamp.logical}`
}

/** Everything about a write that must never change, as text. */
export function contentOf(value: RecordValue | null): string {
  if (value === null) return 'deleted'
  const { embedding } = value
  const bytes =
    embedding === null
      ? 'left out'
      : Buffer.from(embedding.buffer, embedding.byteOffset, embedding.byteLength).toString('hex')
  return JSON.stringify([value.metadata, value.text, nameDot(value.embeddingDot), bytes])
}
