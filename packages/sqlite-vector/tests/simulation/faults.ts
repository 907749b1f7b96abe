/**
 * Faults planted on purpose, each wrong in one way: the simulator must find every one
 * of them, or it would not find such a mistake of ours either. Nothing of this is in the product.
 */
import { SqliteVectorError } from '../../src/errors.ts'
import type { ConflictFunction } from '../../src/store/types.ts'
import { contextOf } from '../../src/model/merge.ts'
import type { VersionVector } from '../../src/model/types.ts'
import { joinVectors } from '../../src/model/version-vector.ts'
import type { StoreWrapper } from './node.ts'
import { type ReplicaStore } from '../../src/store/replica/types.ts'

/** One fault: a store in the place of the sound one, or a way to show conflicts in the place of every other. */
export interface Fault {
  readonly store?: StoreWrapper
  readonly shows?: () => ConflictFunction
}

/** What can be planted. */
export const FAULTS = {
  /** The version vector follows every batch instead of waiting for CAUGHT_UP. */
  'vector-joined-per-batch': {
    store: (store) =>
      change(store, {
        applyDelta(shardId, changes, source) {
          const result = store.applyDelta(shardId, changes, source)
          let vector: VersionVector = new Map()
          for (const state of changes) vector = joinVectors(vector, contextOf(state))
          store.joinVector(shardId, source, vector)
          return result
        },
      }),
  },

  /** What a write superseded is forgotten on its way. */
  'context-dropped': {
    store: (store) =>
      change(store, {
        applyDelta: (shardId, changes, source) =>
          store.applyDelta(
            shardId,
            changes.map((state) => ({ ...state, context: null })),
            source,
          ),
      }),
  },

  /** Of concurrent writes, the one that arrived last is shown. */
  'ties-broken-by-arrival': {
    shows: () => {
      const seen = new Map<string, number>()
      return (siblings) => {
        for (const { dot } of siblings) {
          const name = `${dot.actor}:${dot.counter}`
          if (!seen.has(name)) seen.set(name, seen.size)
        }
        const last = siblings.toSorted(
          (a, b) =>
            (seen.get(`${a.dot.actor}:${a.dot.counter}`) ?? 0) -
            (seen.get(`${b.dot.actor}:${b.dot.counter}`) ?? 0),
        )
        return last.at(-1)?.value ?? null
      }
    },
  },

  /** The cursor moves in a commit of its own, and the next one, with the changes, may fail. */
  'cursor-before-commit': {
    store: (store) => {
      let calls = 0
      return change(store, {
        applyDelta(shardId, changes, source) {
          store.applyDelta(shardId, [], source)
          calls += 1
          if (calls % 5 === 0) throw new SqliteVectorError('STORE_BUSY', 'planted')
          return store.applyDelta(shardId, changes, source)
        },
      })
    },
  },

  /** The feed is said to be read further than it was: one record is never sent. */
  'record-skipped-at-batch-end': {
    store: (store) =>
      change(store, {
        readDelta(shardId, query) {
          const read = store.readDelta(shardId, query)
          if (read.atHead || read.changes.length < 2) return read
          return { ...read, changes: read.changes.slice(0, -1) }
        },
      }),
  },

  /** Deletes are forgotten at once, and that they were is not told: nobody compares rows. */
  'collected-below-no-floor': {
    store: (store) =>
      change(store, {
        collectTombstones: (shardId) => store.collectTombstones(shardId, 0),
        behindFloor: () => false,
      }),
  },

  /** A reader that has one of the siblings is taken to have them all. */
  'siblings-skipped': {
    store: (store) =>
      change(store, {
        readDelta(shardId, query) {
          const read = store.readDelta(shardId, query)
          const changes = read.changes.filter(
            ({ siblings }) =>
              siblings.length === 1 ||
              !siblings.some(({ dot }) => (query.known.get(dot.actor) ?? 0) >= dot.counter),
          )
          return { ...read, changes }
        },
      }),
  },
} as const satisfies Record<string, Fault>

export type FaultName = keyof typeof FAULTS

/** `store` with some methods in place of its own. */
function change(store: ReplicaStore, methods: Partial<ReplicaStore>): ReplicaStore {
  return new Proxy(store, {
    get(target, key) {
      const changed: unknown = Reflect.get(methods, key)
      if (changed !== undefined) return changed
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
