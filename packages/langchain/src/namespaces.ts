/**
 * Namespaces of LangGraph: lists of labels, found by their beginning. Pure.
 */
import type { Filter } from '@agentic-flow/sqlite-vector'
import { type MatchCondition, validateNamespace } from '@langchain/langgraph-checkpoint'

/** Labels of one namespace, at most: each is a key of the item's metadata. */
const LABELS_MAX = 16

/** @throws InvalidNamespaceError, RangeError */
export function checkNamespace(namespace: readonly string[]): void {
  validateNamespace([...namespace])
  if (namespace.length > LABELS_MAX) {
    throw new RangeError(
      `a namespace must have at most ${LABELS_MAX} labels, got ${namespace.length}`,
    )
  }
}

/** The labels by their place, for filters. */
export function namespacePath(namespace: readonly string[]): Record<string, string> {
  return Object.fromEntries(namespace.map((label, place) => [`l${place}`, label]))
}

/** The filter that passes items whose namespace begins so. */
export function namespaceFilter(prefix: readonly string[]): Filter {
  return Object.fromEntries(prefix.map((label, place) => [`path.l${place}`, label]))
}

/** Whether a namespace begins or ends as the conditions say; `*` stands for any label. */
export function matchesAll(
  namespace: readonly string[],
  conditions: readonly MatchCondition[],
): boolean {
  return conditions.every(({ matchType, path }) => {
    if (path.length > namespace.length) return false
    const start = matchType === 'prefix' ? 0 : namespace.length - path.length
    return path.every((label, place) => label === '*' || label === namespace[start + place])
  })
}
