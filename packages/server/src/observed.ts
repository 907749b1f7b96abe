/**
 * Wraps the database that sync uses: each applied batch is timed and gets a span.
 *
 * Every other member passes through unchanged.
 */
import { performance } from 'node:perf_hooks'
import type { SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { tracedApply } from './tracing.ts'

/** `db`, whose applies are timed in milliseconds. */
export function observed(
  db: SQLiteVectorDB,
  onApply: (durationMs: number) => void,
): SQLiteVectorDB {
  const { replica } = db
  const applyDelta: typeof replica.applyDelta = (...given) => {
    const startMs = performance.now()
    const [shardId, changes] = given
    const result = tracedApply(shardId, changes.length, () => replica.applyDelta(...given))
    onApply(performance.now() - startMs)
    return result
  }
  const timed = passing(replica, { applyDelta })
  return passing(db, { replica: timed })
}

/**
 * `target` with some members replaced; methods keep their own `this`, which private fields need.
 */
function passing<T extends object>(target: T, instead: Partial<T>): T {
  const bound = new Map<string | symbol, unknown>()
  return new Proxy(target, {
    get(_target, name) {
      if (name in instead) return instead[name as keyof T]
      const known = bound.get(name)
      if (known !== undefined) return known
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const method: unknown = value.bind(target)
      bound.set(name, method)
      return method
    },
  })
}
