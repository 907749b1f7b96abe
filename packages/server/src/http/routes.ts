/**
 * All routes of the API, by noun. What is not in this list is not served and not described.
 */
import type { NodeContext } from './context.ts'
import type { Route } from './route.ts'
import { healthRoutes } from './routes/health.ts'

export function allRoutes(context: NodeContext, describe: () => unknown): readonly Route[] {
  return [...healthRoutes(context, describe)]
}
