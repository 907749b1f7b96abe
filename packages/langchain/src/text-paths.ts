/**
 * Texts of an item's value by path: `$` for the whole as JSON, `a.b`, `list[0]`, `list[*]`, `a.*`.
 * Pure.
 *
 * The function that LangGraph exports under this purpose knows neither `$` nor numbers.
 */

/** The texts at `path`, in their order; none where nothing is there. */
export function textsAt(value: unknown, path: string): readonly string[] {
  if (path === '$' || path === '') return [JSON.stringify(value)]
  const steps = path
    .replace(/^\$\./, '')
    .replaceAll(/\[([^\]]*)\]/g, '.[$1]')
    .split('.')
    .filter((step) => step !== '')
  let found: readonly unknown[] = [value]
  for (const step of steps) found = found.flatMap((item) => stepInto(item, step))
  return found.flatMap((item) => textOf(item))
}

function stepInto(item: unknown, step: string): readonly unknown[] {
  if (typeof item !== 'object' || item === null) return []
  if (step === '*' || step === '[*]') return Object.values(item)
  const place = /^\[(-?\d+)\]$/.exec(step)?.[1]
  if (place !== undefined) return Array.isArray(item) ? [item.at(Number(place)) as unknown] : []
  return Object.hasOwn(item, step) ? [(item as Record<string, unknown>)[step]] : []
}

function textOf(item: unknown): readonly string[] {
  if (typeof item === 'string') return [item]
  if (typeof item === 'number' || typeof item === 'boolean') return [`${item}`]
  return typeof item === 'object' && item !== null ? [JSON.stringify(item)] : []
}
