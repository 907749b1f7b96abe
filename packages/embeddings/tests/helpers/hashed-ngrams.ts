/**
 * Turns text into vectors without a model: a stand-in behind the library's `Embedder`, which a real
 * one fits.
 *
 * It hashes words and character n-grams into signed buckets (feature hashing, Weinberger et al.
 * 2009, arXiv 0902.2206). It finds shared words and word parts; it knows nothing of meaning, and
 * says so in its label. It is deterministic: one text gives one vector, on every machine.
 */
import type { Embedder } from '@agentic-flow/sqlite-vector'

/** An embedder that says what a person should know about its vectors. */
export interface LabelledEmbedder extends Embedder {
  readonly label: string
  embed(texts: readonly string[]): Promise<readonly Float32Array[]>
}

const DIMENSION = 384

const COMMON_WEIGHT = 0.02

/** Words that say little about what a text is about: kept, at a small weight. */
const COMMON = new Set(
  (
    'a an and any are as at be been but by can could do does each for from get had has have how i ' +
    'if in into is it its may more most must my no not of on one or other our should so some such ' +
    'than that the their them then there these they this to up us use used using was we what when ' +
    'where which while who why will with would you your happens happen'
  ).split(' '),
)

/**
 * The deterministic stand-in: hashed words, word pairs and character n-grams; no model, no network.
 */
export const hashedNgramEmbedder: LabelledEmbedder = Object.freeze({
  modelId: 'hashed-ngrams-384-v1',
  dimension: DIMENSION,
  label: 'hashed words and character n-grams, 384-d: a stand-in for a model, lexical only',
  embed: (texts: readonly string[]) => Promise.resolve(texts.map(embedOne)),
})

function embedOne(text: string): Float32Array {
  const counts = new Map<string, number>()
  const words = wordsOf(text)
  for (const [index, word] of words.entries()) {
    const weight = COMMON.has(word) ? COMMON_WEIGHT : 1
    add(counts, `w:${word}`, weight)
    const next = words[index + 1]
    if (next !== undefined)
      add(counts, `p:${word} ${next}`, weight * (COMMON.has(next) ? COMMON_WEIGHT : 0.5))
    if (weight === 1) addParts(counts, word)
  }
  const vector = new Float32Array(DIMENSION)
  for (const [feature, count] of counts) {
    const hash = hash32(feature)
    const bucket = hash % DIMENSION
    // The sign comes from a bit that the bucket hardly depends on: collisions cancel on average.
    const sign = hash >>> 31 === 0 ? 1 : -1
    vector[bucket] = (vector[bucket] ?? 0) + sign * Math.sqrt(count)
  }
  return normalised(vector)
}

/**
 * Lowercase words; a plural or inflected form keeps most of its character n-grams with its stem.
 */
function wordsOf(text: string): readonly string[] {
  return (
    text
      .toLowerCase()
      .normalize('NFKC')
      .match(/[\p{L}\p{N}]+/gu) ?? []
  )
}

function addParts(counts: Map<string, number>, word: string): void {
  const marked = `<${word}>`
  for (let length = 3; length <= 5; length += 1) {
    for (let start = 0; start + length <= marked.length; start += 1) {
      add(counts, `c:${marked.slice(start, start + length)}`, 0.05)
    }
  }
}

function add(counts: Map<string, number>, feature: string, weight: number): void {
  counts.set(feature, (counts.get(feature) ?? 0) + weight)
}

/** FNV-1a over UTF-16 units, then the finaliser of MurmurHash3, which mixes every bit. */
function hash32(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Unit length; a text without a word becomes a fixed unit vector, because cosine refuses zeros. */
function normalised(vector: Float32Array): Float32Array {
  const norm = Math.hypot(...vector)
  if (norm === 0) {
    vector[0] = 1
    return vector
  }
  return vector.map((component) => component / norm)
}
