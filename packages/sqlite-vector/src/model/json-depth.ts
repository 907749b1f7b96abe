/**
 * The nesting of a JSON text, found without parsing it: a parser may refuse, or recurse into, a
 * text that is nested too deep.
 */

/** Deepest nesting of brackets, those within strings left out. */
export function jsonDepth(json: string): number {
  let depth = 0
  let deepest = 0
  let isString = false
  for (let at = 0; at < json.length; at += 1) {
    const character = json[at]
    if (isString) {
      if (character === '\\') at += 1
      else if (character === '"') isString = false
    } else if (character === '"') isString = true
    else if (character === '[' || character === '{') {
      depth += 1
      deepest = Math.max(deepest, depth)
    } else if (character === ']' || character === '}') depth -= 1
  }
  return deepest
}
