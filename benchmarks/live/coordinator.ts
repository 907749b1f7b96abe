/**
 * Times of a coordinator's bookkeeping, in this process, on a file with real cursors. No network.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createShardCoordinator } from '@agentic-flow/sqlite-vector/sync'

import { median } from '../bar.ts'

const RUNS = 20

/** Medians in milliseconds. */
export async function coordinatorFigures(
  dimension: number,
): Promise<{ registerMs: number; scheduleMs: number; restoreMs: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'coordinator-'))
  const path = join(folder, 'node.db')
  const registered: number[] = []
  const scheduled: number[] = []
  const restored: number[] = []
  try {
    const db = await createVectorDB({ path })
    for (let shard = 0; shard < 100; shard += 1) {
      db.createShard(`shard-${shard}`, { dimension })
      db.insert(`shard-${shard}`, { id: 'r', embedding: new Float32Array(dimension).fill(1) })
      const { versionVector, head } = db.replica.shardState(`shard-${shard}`)
      for (let peer = 0; peer < 10; peer += 1) {
        const fingerprint = peer.toString(16).padStart(64, '0')
        db.replica.recordAck(`shard-${shard}`, fingerprint, head, versionVector)
      }
    }
    for (let run = 0; run < RUNS; run += 1) {
      const coordinator = createShardCoordinator(db, `node-${run}`, {}, 10)
      let startedMs = performance.now()
      for (let peer = 0; peer < 100; peer += 1) {
        coordinator.registerPeer({ nodeId: `peer-${peer}`, address: `127.0.0.1:${peer + 1}` })
      }
      registered.push(performance.now() - startedMs)
      startedMs = performance.now()
      for (let task = 0; task < 1_000; task += 1) {
        coordinator.scheduleSyncTask(
          `shard-${task % 100}`,
          `peer-${Math.floor(task / 100)}`,
          task % 3,
        )
      }
      scheduled.push(performance.now() - startedMs)
      if (coordinator.getPendingTasksCount() !== 1_000) throw new Error('not all were scheduled')
      coordinator.clearPendingTasks()
      for (let peer = 10; peer < 100; peer += 1) coordinator.unregisterPeer(`peer-${peer}`)
      await coordinator.close()
    }
    db.close()
    for (let run = 0; run < RUNS; run += 1) {
      const again = await createVectorDB({ path })
      const startedMs = performance.now()
      const coordinator = createShardCoordinator(again, 'node', {}, 10)
      const session = coordinator.getSession()
      const states = coordinator.getAllShardStates()
      restored.push(performance.now() - startedMs)
      if (
        session.peers.length !== 1_000 ||
        session.registered.length !== 10 ||
        states.size !== 100
      ) {
        throw new Error('not everything was restored')
      }
      await coordinator.close()
      again.close()
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  return {
    registerMs: median(registered),
    scheduleMs: median(scheduled),
    restoreMs: median(restored),
  }
}
