/**
 * Waiting until peers durably hold what a shard holds now.
 *
 * Not here: getting it to them (sessions) and noting what they say (the store). A peer counts once
 * its own report, given after its commit, covers our version vector of the moment when the wait
 * began.
 */
import { whileWaiting } from '../../transport/abortable.ts'
import { dominates } from '../../model/version-vector.ts'
import type { VersionVector } from '../../model/types.ts'
import { type ReplicaStore } from '../../store/replica/types.ts'

/** The goal of a wait. */
export interface Wanted {
  readonly shardId: string
  readonly acks: number
  /** Called when there is anything to wait for: asks those who may have it already to say so. */
  readonly ask: () => void
}

/** Resolves with the fingerprints of the peers once they are `acks` or more. */
export async function waitForPeers(
  store: ReplicaStore,
  { shardId, acks, ask }: Wanted,
  signal: AbortSignal,
): Promise<readonly string[]> {
  signal.throwIfAborted()
  const { versionVector } = store.shardState(shardId)
  const enough = (): readonly string[] | null => {
    const peers = holders(store, shardId, versionVector)
    return peers.length >= acks ? peers : null
  }
  const now = enough()
  if (now !== null) return now
  const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>()
  const look = (): void => {
    try {
      const peers = enough()
      if (peers !== null) resolve(peers)
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)))
    }
  }
  const stops = [
    store.onReport((reported) => {
      if (reported === shardId) look()
    }),
    // Another process on the file may be the one that talks to peers.
    store.onCommit((notice) => {
      if (notice.shardId === shardId) look()
    }),
  ]
  try {
    ask()
    return await whileWaiting(promise, signal)
  } finally {
    for (const stop of stops) stop()
  }
}

function holders(store: ReplicaStore, shardId: string, wanted: VersionVector): readonly string[] {
  return store
    .peerCursors()
    .filter((cursor) => cursor.shardId === shardId)
    .filter(({ versionVector }) => versionVector !== null && dominates(versionVector, wanted))
    .map(({ peer }) => peer)
}
