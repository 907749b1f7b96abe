/**
 * How a shard's texts are cut into what is looked for: its tokenizer, the text of its index, and
 * the queries of FTS5. Pure.
 *
 * A query is words, "phrases" in double quotes and prefixes with a star at the end (`data*`).
 * Anything else is taken for words: no text makes a query that FTS5 refuses, as every token is
 * quoted and holds letters, digits and the signs `+`, `#`, `.` only.
 */
import { QUERY_WORDS_MAX } from '../limits.ts'
import { oneOf, objectGiven, rejectUnknownKeys } from '../options.ts'
import { folded, STEMMED_LANGUAGES, type StemmedLanguage, type Word, wordsOf } from './words.ts'

/** The tokenizer of a shard's texts, fixed at creation. */
export interface TextOptions {
  /**
   * `'words'`: words in any script, with prefixes and phrases. `'trigram'`: any three characters
   * and more within a text, as for German compounds, part numbers and code; no stems.
   * @defaultValue `'words'`
   */
  readonly tokenizer?: 'words' | 'trigram'
  /**
   * Words of one stem are one word: `ar da de en es fi fr hu it nl no pt ro ru sv tr`. With
   * `'words'` only. @defaultValue no stemming
   */
  readonly language?: StemmedLanguage
}

/** A tokenizer by its name: `words`, `words:en`, `trigram`. */
export type TextAnalysis = string

/** The tokenizer of a shard that names none. */
export const DEFAULT_ANALYSIS: TextAnalysis = 'words'

/** Checks the `text` options of a shard; the name of the tokenizer. @throws TypeError */
export function resolveTextOptions(given: TextOptions): TextAnalysis {
  objectGiven('text', given)
  rejectUnknownKeys('text', given, ['tokenizer', 'language'])
  const { tokenizer = 'words', language } = given
  oneOf('text.tokenizer', tokenizer, ['words', 'trigram'])
  if (language === undefined) return tokenizer
  oneOf('text.language', language, STEMMED_LANGUAGES)
  if (tokenizer === 'trigram') {
    throw new TypeError("text.language needs the tokenizer 'words': parts of words have no stems")
  }
  return `words:${language}`
}

/** True for a name that {@link resolveTextOptions} gives. */
export function isTextAnalysis(name: unknown): name is TextAnalysis {
  if (name === 'words' || name === 'trigram') return true
  return typeof name === 'string' && STEMMED_LANGUAGES.some((each) => name === `words:${each}`)
}

/** The tokenizer of the FTS5 table that holds {@link indexedText}. */
export function tableTokenizer(analysis: TextAnalysis): string {
  return analysis === 'trigram' ? 'trigram case_sensitive 1' : "ascii tokenchars '+#.'"
}

/** A text as its index takes it. */
export function indexedText(text: string, analysis: TextAnalysis): string {
  if (analysis === 'trigram') return folded(text.normalize('NFKC'))
  return wordsOf(text, languageOf(analysis))
    .flatMap(({ whole, parts, stem }) => [...whole, ...parts, ...(stem === null ? [] : [stem])])
    .join(' ')
}

/** A query as FTS5 takes it; null when nothing in it can be looked for. */
export function ftsQuery(text: string, analysis: TextAnalysis): string | null {
  const terms = new Set<string>()
  for (const { groups = {} } of text.matchAll(/"(?<phrase>[^"]*)"|(?<plain>[^"]+)|"/g)) {
    const { phrase, plain } = groups
    const found =
      phrase === undefined ? plainTerms(plain ?? '', analysis) : [phraseTerm(phrase, analysis)]
    for (const term of found) {
      if (term !== null && terms.size < QUERY_WORDS_MAX) terms.add(term)
    }
  }
  return terms.size === 0 ? null : [...terms].join(' OR ')
}

function phraseTerm(phrase: string, analysis: TextAnalysis): string | null {
  if (analysis === 'trigram') return trigramTerm(phrase)
  // The last character of a run stands in the index after its pairs, and in no phrase.
  const tokens = wordsOf(phrase, languageOf(analysis)).flatMap(tokensInPhrase)
  return tokens.length === 0 ? null : quoted(tokens.join(' '))
}

function tokensInPhrase(word: Word, index: number, words: readonly Word[]): readonly string[] {
  const { whole, parts, stem, isRun } = word
  const isLast = index === words.length - 1
  // Within a phrase the index has the run's last character, at its end the text may go on.
  if (isRun) return isLast && whole.length > 0 ? whole : [...whole, ...parts]
  return isLast && parts.length === 0
    ? whole
    : [...whole, ...parts, ...(stem === null ? [] : [stem])]
}

function plainTerms(text: string, analysis: TextAnalysis): (string | null)[] {
  if (analysis === 'trigram') return text.split(/\s+/).map(trigramTerm)
  const language = languageOf(analysis)
  return text.split(/\s+/).flatMap((part) => {
    const words = wordsOf(part, language)
    const last = words.at(-1)
    if (last !== undefined && /[\p{L}\p{N}\p{M}]\*$/u.test(part)) {
      return [...words.slice(0, -1).flatMap(termsOf), ...prefixTerms(last)]
    }
    return words.flatMap(termsOf)
  })
}

/** One character of a script without spaces begins a pair, or is the last of its run. */
function termsOf({ whole, parts, stem, isRun }: Word): string[] {
  if (isRun && whole.length === 0) return parts.map((character) => `${quoted(character)} *`)
  if (isRun) return whole.map(quoted)
  if (stem !== null) return [quoted(stem)]
  const isCompound =
    parts.length > 0 && !/[+#]$/.test(whole[0] ?? '') && !/[.]/.test(whole[0] ?? '')
  return [...whole, ...(isCompound ? parts : [])].map(quoted)
}

function prefixTerms({ whole, parts, isRun }: Word): string[] {
  const [last = ''] = isRun && whole.length === 0 ? parts : whole.slice(-1)
  return [...(isRun ? whole.slice(0, -1).map(quoted) : []), `${quoted(last)} *`]
}

/** Text of fewer than three characters has no trigram. */
function trigramTerm(text: string): string | null {
  const plain = folded(text.normalize('NFKC')).replace(/\*$/, '').replaceAll('\0', ' ').trim()
  return Array.from(plain).length < 3 ? null : `"${plain.replaceAll('"', '""')}"`
}

function quoted(token: string): string {
  return `"${token}"`
}

function languageOf(analysis: TextAnalysis): StemmedLanguage | null {
  const [, language] = analysis.split(':')
  return STEMMED_LANGUAGES.find((each) => each === language) ?? null
}
