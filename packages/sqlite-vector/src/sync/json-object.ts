/**
 * Whether UTF-8 bytes are a JSON object, without making the object: a peer's metadata is checked on
 * every batch, and JSON.parse takes several times as long. Pure, total, linear in the bytes, of which it
 * takes for granted that they are valid UTF-8.
 *
 * The grammar is that of RFC 8259 without space around the outermost object. Nesting is kept in one
 * array of brackets, so depth costs no stack. tests/property holds it against JSON.parse.
 *
 * A read past the end gives undefined, which no rule accepts: that is how cut-off text ends.
 */

const QUOTE = 0x22
const COMMA = 0x2c
const MINUS = 0x2d
const COLON = 0x3a
const BACKSLASH = 0x5c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

const LITERALS = ['true', 'false', 'null'].map((word) => Buffer.from(word))

/** 1 for the bytes that a string holds as they are: none below space, no quote, no backslash. */
const PLAIN = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH ? 1 : 0,
)

/** True when `text` is one JSON object and nothing else. */
export function isJsonObject(text: Uint8Array): boolean {
  if (text[0] !== OPEN_BRACE) return false
  const open: number[] = []
  let at = 0
  for (;;) {
    // Here a value begins.
    const byte = text[at]
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      const close = byte === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET
      at = skipSpace(text, at + 1)
      if (text[at] !== close) {
        open.push(close)
        if (close === CLOSE_BRACE) at = skipKey(text, at)
        if (at < 0) return false
        continue
      }
      at += 1
    } else {
      at = skipScalar(text, at)
      if (at < 0) return false
    }
    // Here a value has ended: close what ends with it, then go to the next one.
    for (;;) {
      if (open.length === 0) return at === text.length
      at = skipSpace(text, at)
      const next = text[at]
      if (next === COMMA) {
        at = skipSpace(text, at + 1)
        if (open.at(-1) === CLOSE_BRACE) at = skipKey(text, at)
        if (at < 0) return false
        break
      }
      if (next !== open.pop()) return false
      at += 1
    }
  }
}

/** Past a key, its colon and the space after it; -1 when there is none. */
function skipKey(text: Uint8Array, start: number): number {
  if (text[start] !== QUOTE) return -1
  let at = skipString(text, start)
  if (at < 0) return -1
  at = skipSpace(text, at)
  return text[at] === COLON ? skipSpace(text, at + 1) : -1
}

function skipSpace(text: Uint8Array, start: number): number {
  let at = start
  let byte = text[at]
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) {
    at += 1
    byte = text[at]
  }
  return at
}

/** Past a string, number or literal; -1 when there is none. */
function skipScalar(text: Uint8Array, at: number): number {
  const byte = text[at]
  if (byte === QUOTE) return skipString(text, at)
  if (byte === MINUS || isDigit(byte)) return skipNumber(text, at)
  for (const word of LITERALS) {
    if (word[0] === byte) return skipWord(text, at, word)
  }
  return -1
}

function skipWord(text: Uint8Array, at: number, word: Uint8Array): number {
  for (let index = 0; index < word.length; index += 1) {
    if (text[at + index] !== word[index]) return -1
  }
  return at + word.length
}

function skipString(text: Uint8Array, start: number): number {
  let at = start + 1
  for (;;) {
    while (PLAIN[text[at] ?? 0] === 1) at += 1
    const byte = text[at]
    if (byte === QUOTE) return at + 1
    if (byte !== BACKSLASH) return -1
    const escaped = text[at + 1]
    if (escaped === 0x75) {
      if (!isHex4(text, at + 2)) return -1
      at += 6
    } else if (isShortEscape(escaped)) {
      at += 2
    } else {
      return -1
    }
  }
}

/** One of `"\/bfnrt`. */
function isShortEscape(byte: number | undefined): boolean {
  return byte !== undefined && '"\\/bfnrt'.includes(String.fromCharCode(byte))
}

function skipNumber(text: Uint8Array, start: number): number {
  let at = text[start] === MINUS ? start + 1 : start
  at = text[at] === 0x30 ? at + 1 : skipDigits(text, at)
  if (at >= 0 && text[at] === 0x2e) at = skipDigits(text, at + 1)
  if (at < 0 || ((text[at] ?? 0) | 0x20) !== 0x65) return at
  const sign = text[at + 1]
  return skipDigits(text, sign === 0x2b || sign === MINUS ? at + 2 : at + 1)
}

/** Past one digit or more; -1 when there is none. */
function skipDigits(text: Uint8Array, start: number): number {
  let at = start
  while (isDigit(text[at])) at += 1
  return at === start ? -1 : at
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

function isHex4(text: Uint8Array, start: number): boolean {
  for (let at = start; at < start + 4; at += 1) {
    const byte = text[at]
    const letter = (byte ?? 0) | 0x20
    if (!isDigit(byte) && !(letter >= 0x61 && letter <= 0x66)) return false
  }
  return true
}
