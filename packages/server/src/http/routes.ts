/**
 * All routes of the API. The server and the OpenAPI document use this list only.
 */
import type { NodeContext } from './context.ts'
import type { Route } from './route.ts'
import { adminRoutes } from './routes/admin.ts'
import { conflictRoutes } from './routes/conflicts.ts'
import { eventRoutes } from './routes/events.ts'
import { healthRoutes } from './routes/health.ts'
import { peerRoutes } from './routes/peers.ts'
import { quarantineRoutes } from './routes/quarantine.ts'
import { recordRoutes } from './routes/records.ts'
import { searchRoutes } from './routes/search.ts'
import { shardRoutes } from './routes/shards.ts'
import { snapshotRoutes } from './routes/snapshots.ts'

export function allRoutes(context: NodeContext, describe: () => unknown): readonly Route[] {
  return [
    ...healthRoutes(context, describe),
    ...shardRoutes(context),
    ...recordRoutes(context),
    ...searchRoutes(context),
    ...conflictRoutes(context),
    ...quarantineRoutes(context),
    ...peerRoutes(context),
    ...snapshotRoutes(context),
    ...eventRoutes(context),
    ...adminRoutes(context),
  ]
}
