/**
 * Faults planted on purpose, each a store that is wrong in one way: the simulator must find every one
 * of them, or it would not find such a mistake of ours either. Nothing of this is in the product.
 */
import type { DeltaSource, ReplicaStore } from '../../src/store/types.ts'
import { contextOf } from '../../src/sync/conflict.ts'
import type { Change, VersionVector } from '../../src/sync/types.ts'
import { joinVectors } from '../../src/sync/version-vector.ts'
import type { SimNode, StoreWrapper } from './node.ts'

/** What can be planted. */
export const FAULTS = {
  /** The version vector follows every batch instead of waiting for CAUGHT_UP. */
  'vector-joined-per-batch': (store) =>
    change(store, {
      applyDelta(shardId, changes, source) {
        const result = store.applyDelta(shardId, changes, source)
        let vector: VersionVector = new Map()
        for (const state of changes) vector = joinVectors(vector, contextOf(state))
        store.joinVector(shardId, source, vector)
        return result
      },
    }),

  /** What a write superseded is forgotten on its way. */
  'context-dropped': (store) =>
    change(store, {
      applyDelta: (shardId, changes, source) =>
        store.applyDelta(
          shardId,
          changes.map((state) => ({ ...state, context: null })),
          source,
        ),
    }),

  /** Whatever arrives last is the latest. */
  'ties-broken-by-arrival': (store, node) =>
    change(store, {
      applyDelta: (shardId, changes, source) =>
        store.applyDelta(
          shardId,
          changes.map((state) => restamped(state, node)),
          source,
        ),
    }),

  /** The cursor moves at once; the changes are written when the next batch comes. */
  'cursor-before-commit': (store) => {
    let late: { shardId: string; changes: readonly Change[]; source: DeltaSource } | null = null
    const settle = (): void => {
      if (late !== null) store.applyDelta(late.shardId, late.changes, late.source)
      late = null
    }
    return change(store, {
      applyDelta(shardId, changes, source) {
        settle()
        late = { shardId, changes, source }
        return store.applyDelta(shardId, [], source)
      },
      joinVector(shardId, source, vector) {
        settle()
        return store.joinVector(shardId, source, vector)
      },
    })
  },

  /** The feed is said to be read further than it was: one record is never sent. */
  'record-skipped-at-batch-end': (store) =>
    change(store, {
      readDelta(shardId, query) {
        const read = store.readDelta(shardId, query)
        if (read.atHead || read.changes.length < 2) return read
        return { ...read, changes: read.changes.slice(0, -1) }
      },
    }),

  /** A reader that has one of the siblings is taken to have them all. */
  'siblings-skipped': (store) =>
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
} as const satisfies Record<string, StoreWrapper>

export type FaultName = keyof typeof FAULTS

/** A sound store. */
export const NO_FAULT: StoreWrapper = (store) => store

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

function restamped(state: Change, node: SimNode): Change {
  return {
    ...state,
    siblings: state.siblings.map((sibling) => ({
      ...sibling,
      stamp: { ms: node.clock.nowMs(), logical: sibling.stamp.logical },
    })),
  }
}
