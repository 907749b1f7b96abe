/**
 * The helpers with which every `resolveXOptions()` checks what a caller gave.
 *
 * A wrong argument is a TypeError (kind) or RangeError (value) that names the argument, the rule
 * and the value. These are mistakes in the calling code: they carry no error code.
 */
import { utf8ByteLength } from './bytes.ts'

/** A short, safe rendering of any value for an error message. */
export function shown(value: unknown): string {
  if (typeof value === 'string') {
    const text = JSON.stringify(value)
    return text.length > 80 ? `${text.slice(0, 76)}…" (${value.length} characters)` : text
  }
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (value instanceof Date) return 'a Date (use toISOString())'
  if (isThenable(value)) return 'a Promise (a missing await?)'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name}`
  if (typeof value === 'object' && value !== null) return 'an object'
  return String(value)
}

/** Refuses keys that no option has, naming the nearest known one. @throws TypeError */
export function rejectUnknownKeys(caller: string, given: object, known: readonly string[]): void {
  for (const key of Object.keys(given)) {
    if (known.includes(key)) continue
    const nearest = nearestName(key, known)
    const remedy =
      nearest === undefined ? `Known: ${known.join(', ')}.` : `Did you mean ${nearest}?`
    throw new TypeError(`${caller}: unknown option ${shown(key)}. ${remedy}`)
  }
}

/** Checks that `value` is a plain object, so that keys can be read. @throws TypeError */
export function objectGiven(name: string, value: unknown): asserts value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${name} must be an object, got ${shown(value)}`)
  }
}

/** @throws TypeError when not a number; RangeError when no integer in [min, max] */
export function integerIn(name: string, value: unknown, min: number, max: number): void {
  if (typeof value !== 'number') {
    throw new TypeError(`${name} must be a number, got ${shown(value)}`)
  }
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be an integer from ${min} to ${max}, got ${value}`)
  }
}

/** @throws TypeError when not a number; RangeError when not finite or outside [min, max] */
export function numberIn(name: string, value: unknown, min: number, max: number): void {
  if (typeof value !== 'number') {
    throw new TypeError(`${name} must be a number, got ${shown(value)}`)
  }
  if (!Number.isFinite(value) || value < min || value > max) {
    throw new RangeError(`${name} must be a finite number from ${min} to ${max}, got ${value}`)
  }
}

/** @throws TypeError unless `value` is one of `allowed` */
export function oneOf(name: string, value: unknown, allowed: readonly string[]): void {
  if (typeof value !== 'string' || !allowed.includes(value)) {
    throw new TypeError(`${name} must be one of ${allowed.join(', ')}, got ${shown(value)}`)
  }
}

/** @throws TypeError unless `value` is a boolean */
export function booleanGiven(name: string, value: unknown): void {
  if (typeof value !== 'boolean') {
    throw new TypeError(`${name} must be true or false, got ${shown(value)}`)
  }
}

/**
 * Checks a name: a non-empty, well-formed string without NUL, at most `bytesMax` UTF-8 bytes.
 * @throws TypeError when no string; RangeError otherwise
 */
export function nameGiven(name: string, value: unknown, bytesMax: number): asserts value is string {
  if (typeof value !== 'string') {
    throw new TypeError(`${name} must be a string, got ${shown(value)}`)
  }
  if (value.length === 0) throw new RangeError(`${name} must not be empty`)
  // NUL ends a C string, and a lone surrogate has no UTF-8: neither survives a round trip.
  if (value.includes('\0'))
    throw new RangeError(`${name} must not contain NUL, got ${shown(value)}`)
  if (!value.isWellFormed()) {
    throw new RangeError(`${name} must be well-formed Unicode, got ${shown(value)}`)
  }
  if (value.length * 3 <= bytesMax) return
  const bytes = utf8ByteLength(value)
  if (bytes > bytesMax) {
    throw new RangeError(`${name} must be at most ${bytesMax} UTF-8 bytes, got ${bytes}`)
  }
}

/** The name in `known` that `key` was probably meant to be. */
export function nearestName(key: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(key.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(key.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Levenshtein distance by the two-row dynamic programme; names are short. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      current.push(Math.min(substitution, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1))
    }
    previous = current
  }
  return previous[b.length] ?? 0
}

function isThenable(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    'then' in value &&
    typeof value.then === 'function'
  )
}
