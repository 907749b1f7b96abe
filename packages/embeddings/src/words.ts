/**
 * Words of a text, for embedders that have no tokenizer of their own: lowercase, without common
 * words, English plurals cut off (Harman 1991, the S stemmer).
 */

const COMMON = new Set(
  (
    'a an and any are as at be been but by can could did do does each for from get had has have how i ' +
    'if in into is it its may more most must my no not of on one or other our should so some such ' +
    'than that the their them then there these they this to up us use used using was we were what when ' +
    'where which while who whose why will with would you your happens happen'
  ).split(' '),
)

/** In UTF-16 units; longer ones are hashes and keys. */
const LONGEST_WORD = 64

/**
 * The words of a question that say something, as they are written, for a search by words. A
 * question of common words alone is left as it is.
 */
export function searchWords(question: string): string {
  const words = question.match(/[\p{L}\p{N}]+/gu) ?? []
  const kept = words.filter((word) => !COMMON.has(word.toLowerCase()))
  return kept.length === 0 ? question : kept.join(' ')
}

/** The words that say something, stemmed, in their order. */
export function contentWords(text: string): readonly string[] {
  const words =
    text
      .normalize('NFKC')
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  return words
    .filter((word) => word.length <= LONGEST_WORD && !COMMON.has(word))
    .map((word) => stem(word))
}

function stem(word: string): string {
  if (word.length < 4 || !word.endsWith('s')) return word
  if (word.endsWith('ies') && !/[ae]ies$/.test(word)) return `${word.slice(0, -3)}y`
  if (word.endsWith('es') && /(ss|sh|ch|x|z)es$/.test(word)) return word.slice(0, -2)
  return /(us|ss)$/.test(word) ? word : word.slice(0, -1)
}
