/**
 * Words of a text, in any script, as the full-text index holds them and queries look for them.
 * Pure, and the same on every machine: no dictionary of the platform has a part in it, so replicas
 * of a shard answer alike whatever their release of ICU.
 *
 * - Texts are normalised (NFKC), so that full width forms and ligatures are their plain letters;
 *   words lose case and accents, and ß, æ, œ, ø, ł, ё, ς are ss, ae, oe, o, l, е, σ.
 * - `getUserName` and `iPhone15` are also their parts; snake_case is its parts; `3.14` is also 3
 *   and 14; `C++` and `C#` are words of their own, and also C.
 * - Scripts without spaces (Han, kana, Hangul, Thai, Lao, Khmer, Burmese) are pairs of neighbouring
 *   characters, and the last character alone.
 * - With a language, the stem of a word stands beside it.
 *
 * Reference: Unicode Standard Annexes 15 and 29; Snowball, https://snowballstem.org
 */
import { stemmer as arabic } from '@orama/stemmers/arabic'
import { stemmer as danish } from '@orama/stemmers/danish'
import { stemmer as dutch } from '@orama/stemmers/dutch'
import { stemmer as english } from '@orama/stemmers/english'
import { stemmer as finnish } from '@orama/stemmers/finnish'
import { stemmer as french } from '@orama/stemmers/french'
import { stemmer as german } from '@orama/stemmers/german'
import { stemmer as hungarian } from '@orama/stemmers/hungarian'
import { stemmer as italian } from '@orama/stemmers/italian'
import { stemmer as norwegian } from '@orama/stemmers/norwegian'
import { stemmer as portuguese } from '@orama/stemmers/portuguese'
import { stemmer as romanian } from '@orama/stemmers/romanian'
import { stemmer as russian } from '@orama/stemmers/russian'
import { stemmer as spanish } from '@orama/stemmers/spanish'
import { stemmer as swedish } from '@orama/stemmers/swedish'
import { stemmer as turkish } from '@orama/stemmers/turkish'

/** A language whose words have stems. */
export type StemmedLanguage =
  | 'ar'
  | 'da'
  | 'de'
  | 'en'
  | 'es'
  | 'fi'
  | 'fr'
  | 'hu'
  | 'it'
  | 'nl'
  | 'no'
  | 'pt'
  | 'ro'
  | 'ru'
  | 'sv'
  | 'tr'

const STEMMERS: Readonly<Record<StemmedLanguage, (word: string) => string>> = {
  ar: arabic,
  da: danish,
  de: german,
  en: english,
  es: spanish,
  fi: finnish,
  fr: french,
  hu: hungarian,
  it: italian,
  nl: dutch,
  no: norwegian,
  pt: portuguese,
  ro: romanian,
  ru: russian,
  sv: swedish,
  tr: turkish,
}

/** The languages whose words have stems. */
export const STEMMED_LANGUAGES: readonly StemmedLanguage[] = Object.keys(
  STEMMERS,
) as StemmedLanguage[]

/** One word of a text. */
export interface Word {
  /** The word itself, folded; or the pairs of a run of a script without spaces. */
  readonly whole: readonly string[]
  /** Its parts, where it has several. */
  readonly parts: readonly string[]
  /** Its stem, where a language is set and the stem is another. */
  readonly stem: string | null
  /** True for a run of a script without spaces. */
  readonly isRun: boolean
}

const UNSPACED = String.raw`\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}ー々〆`

/** A run without spaces; a number with its point; a word, with the signs of C++ and C#. */
const WORDS = new RegExp(
  String.raw`(?<run>[${UNSPACED}][${UNSPACED}\p{M}]*)` +
    String.raw`|(?<number>\d+(?:[.,]\d+)+(?![\p{L}\p{N}]))` +
    String.raw`|(?<word>(?:(?![${UNSPACED}])[\p{L}\p{N}\p{M}])+)(?<sign>(?:\+\+|#)(?![\p{L}\p{N}]))?`,
  'gu',
)

/** Parts of a compound: capitals that begin a word, capitals together, digits. */
const PARTS = /\p{Lu}+(?!\p{Ll})|\p{Lu}?[\p{Ll}\p{Lo}\p{Lm}\p{Lt}\p{M}]+|\p{Lu}+|\p{N}+/gu

/** The words of a text in their order. */
export function wordsOf(text: string, language: StemmedLanguage | null): Word[] {
  const words: Word[] = []
  for (const { groups = {} } of text.normalize('NFKC').matchAll(WORDS)) {
    const { run, number, word = '', sign } = groups
    if (run !== undefined) words.push(runOf(run))
    else if (number !== undefined) {
      const parts = number.split(/[.,]/)
      words.push({ whole: [number.replaceAll(',', '.')], parts, stem: null, isRun: false })
    } else words.push(wordOf(word, sign, language))
  }
  return words
}

function wordOf(text: string, sign: string | undefined, language: StemmedLanguage | null): Word {
  const whole = folded(text)
  if (sign !== undefined) return { whole: [whole + sign], parts: [whole], stem: null, isRun: false }
  const parts = /\p{Ll}\p{Lu}|\p{Lu}\p{Lu}\p{Ll}|\p{L}\p{N}|\p{N}\p{L}/u.test(text)
    ? partsOf(text)
    : []
  const stem = language === null || parts.length > 0 ? whole : stemOf(text, language)
  return {
    whole: [whole],
    parts,
    stem: stem === whole || stem === '' ? null : stem,
    isRun: false,
  }
}

/** The parts of a compound: `i Phone 15`, and its letters together: `iphone`. */
function partsOf(text: string): string[] {
  const parts = Array.from(text.matchAll(PARTS), ([part]) => folded(part))
  const letters = Array.from(text.matchAll(/[\p{L}\p{M}]+/gu), ([run]) => folded(run))
  return [...new Set([...parts, ...letters])].filter((part) => part !== folded(text))
}

function stemOf(text: string, language: StemmedLanguage): string {
  return folded(STEMMERS[language](text.toLowerCase()))
}

function runOf(run: string): Word {
  const characters = Array.from(folded(run))
  const pairs = characters.slice(0, -1).map((character, i) => character + characters[i + 1])
  return { whole: pairs, parts: characters.slice(-1), stem: null, isRun: true }
}

const LETTERS: Readonly<Record<string, string>> = {
  ß: 'ss',
  æ: 'ae',
  œ: 'oe',
  ø: 'o',
  ł: 'l',
  đ: 'd',
  ð: 'd',
  þ: 'th',
  ı: 'i',
  ς: 'σ',
}

/** Without case and accents. Marks that make another letter, as in Devanagari or kana, stay. */
export function folded(word: string): string {
  const lower = word.toLowerCase()
  // Most words are of plain letters.
  if (/^[a-z0-9]*$/.test(lower)) return lower
  return lower
    .normalize('NFKD')
    .replaceAll(/[\u0300-\u036f]|[\u0591-\u05c7]|\u0640|[\u064b-\u0652]/gu, '')
    .normalize('NFC')
    .replaceAll(/[ßæœøłđðþıς]/g, (letter) => LETTERS[letter] ?? letter)
}
