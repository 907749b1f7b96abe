/**
 * Regular expressions of filters, matched in time linear in the text: no pattern can hold a search.
 *
 * The engine is RE2JS. Patterns are in JavaScript's syntax with the meaning of flag `u` (code
 * points, Unicode case folding), without lookaround and backreferences, which have no linear
 * algorithm. JavaScript's `\\s`, `.` and `[^]` are translated, so that they match the same text;
 * `^` and `$` with flag m break lines at `\\n` alone. Reference: https://swtch.com/~rsc/regexp/
 */
import { RE2JS, RE2JSException } from 're2js'

import { FILTER_REGEX_CHARACTERS_MAX, FILTER_REGEX_PROGRAM_MAX } from '../limits.ts'

/** A compiled pattern. */
export interface LinearRegex {
  /** Steps that a character costs, at most. */
  readonly size: number
  test(text: string): boolean
}

/** Compiled patterns kept, at most. */
const REGEXES_MAX = 64

const compiled = new Map<string, LinearRegex>()

/** The pattern compiled, or kept from before. @throws RE2JSException for a pattern with a fault */
export function linearRegex(pattern: string, flags: string): LinearRegex {
  const key = `${flags}/${pattern}`
  let regex = compiled.get(key)
  if (regex === undefined) {
    regex = compile(pattern, flags)
    if (compiled.size >= REGEXES_MAX) compiled.clear()
    compiled.set(key, regex)
  }
  return regex
}

/** The rule that a pattern breaks, as the end of a sentence; null when it can be used. */
export function regexFault(pattern: string, flags: string): string | null {
  if (pattern.length > FILTER_REGEX_CHARACTERS_MAX) {
    return `must have at most ${FILTER_REGEX_CHARACTERS_MAX} characters`
  }
  if (!pattern.isWellFormed()) return 'must be well-formed Unicode'
  try {
    void new RegExp(pattern, flags)
  } catch {
    return 'is not a regular expression'
  }
  const foreign = foreignSyntax(pattern)
  if (foreign !== null) return foreign
  try {
    const { size } = linearRegex(pattern, flags)
    if (size <= FILTER_REGEX_PROGRAM_MAX) return null
    return `must compile to at most ${FILTER_REGEX_PROGRAM_MAX} steps: repeat less, it takes ${size}`
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error
    return 'is not a regular expression that can be matched in linear time'
  }
}

function compile(pattern: string, flags: string): LinearRegex {
  let bits = 0
  if (flags.includes('i')) bits |= RE2JS.CASE_INSENSITIVE
  if (flags.includes('m')) bits |= RE2JS.MULTILINE
  if (flags.includes('s')) bits |= RE2JS.DOTALL
  const regex = RE2JS.compile(translated(pattern, flags.includes('s')), bits)
  return { size: regex.programSize(), test: (text) => regex.test(text) }
}

/** JavaScript's white space, and its complement, as ranges of a class. */
const SPACES = String.raw`\t-\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}`
const NO_SPACES = String.raw`\x{0}-\x{8}\x{e}-\x{1f}!-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff}`
const ANY_BUT_LINE_ENDS = String.raw`[^\n\r\x{2028}\x{2029}]`

/** A token of a pattern: an escape, or a character. */
const TOKENS = /\\(?:u\{[0-9A-Fa-f]+\}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|c[A-Za-z]|[^])|[^]/gu

/** The pattern in the syntax of RE2, where the same text means something else there. */
function translated(pattern: string, dotAll: boolean): string {
  let isClass = false
  let text = ''
  const tokens = Array.from(pattern.matchAll(TOKENS), ([token]) => token)
  for (const [index, token] of tokens.entries()) {
    if (token.startsWith('\\')) text += translatedEscape(token, isClass)
    else if (isClass) {
      isClass = token !== ']'
      text += token === '[' ? String.raw`\[` : token
    } else if (token === '[') {
      const rest = tokens.slice(index + 1, index + 3).join('')
      // `[]` matches nothing and `[^]` everything; RE2 takes their bracket for a character.
      isClass = true
      text += rest.startsWith(']') ? `[^${ALL}` : rest === '^]' ? `[${ALL}` : '['
    } else text += token === '.' && !dotAll ? ANY_BUT_LINE_ENDS : token
  }
  return text.replaceAll(`[${ALL}^]`, `[${ALL}]`)
}

/** All characters, as a range of a class. */
const ALL = String.raw`\x{0}-\x{10ffff}`

function translatedEscape(token: string, isClass: boolean): string {
  const letter = token[1] ?? ''
  if (letter === 's') return isClass ? SPACES : `[${SPACES}]`
  if (letter === 'S') return isClass ? NO_SPACES : `[^${SPACES}]`
  if (letter === 'b' && isClass) return String.raw`\x{8}`
  if (letter === '0') return String.raw`\x{0}`
  if (letter === 'c') return `\\x{${((token.codePointAt(2) ?? 0) % 32).toString(16)}}`
  if (token.startsWith('\\u{')) return `\\x${token.slice(2)}`
  if (letter === 'u' || letter === 'x') return `\\x{${token.slice(2)}}`
  // A letter keeps its meaning; any other character stands for itself.
  if (/[A-Za-z0-9]/.test(letter)) return token
  return `\\x{${(token.codePointAt(1) ?? 0).toString(16)}}`
}

/**
 * Syntax that the two engines read differently, or that has no linear algorithm; null when none.
 */
function foreignSyntax(pattern: string): string | null {
  for (const { 0: token, index } of pattern.matchAll(TOKENS)) {
    if (/^\\[1-9k]/.test(token)) return 'must not have backreferences'
    if (token === '\\0' && /^\d/.test(pattern.slice(index + 2))) {
      return 'must not have octal escapes'
    }
    if (/^\\[A-Za-z]$/.test(token) && !isShared(token, pattern.slice(index + 2))) {
      return `must not have the escape ${token}`
    }
  }
  // A group of these two kinds, outside of escapes.
  if (/\(\?<?[=!]/.test(pattern.replaceAll(/\\[^]/g, ''))) {
    return 'must not look ahead or behind'
  }
  return null
}

/** An escape of a letter that means the same in both syntaxes; `rest` follows it. */
function isShared(token: string, rest: string): boolean {
  return /^\\[pP]$/.test(token) ? rest.startsWith('{') : /^\\[bBdDfnrstvwWS]$/.test(token)
}
