/**
 * The sum over a range of ids, made row by row: a list while it is short, else so many parts of
 * about equal counts. Pure. Not here: reading the rows (replica/hash-scan.ts).
 *
 * How many rows there will be need not be known: when there are too many parts, two neighbours
 * become one each, and parts are twice as large from then on. So there are always between half of
 * RANGE_PARTS and all of them.
 */
import { RANGE_LEAF_RECORDS, RANGE_PARTS } from '../../limits.ts'
import { exchange, digestToHex } from '../feed/digest.ts'
import { type RangeAnswer, type RangePart } from './types.ts'

interface Part {
  /** The first id in it. */
  readonly from: string
  count: number
  sum: bigint
}

export class RangeSum {
  #list: { readonly id: string; readonly hash: bigint }[] | null = []
  #parts: Part[] = []
  #partRecords = 1

  /** Takes the next record; ids come in the order of their bytes. */
  add(id: string, hash: bigint): void {
    if (this.#list !== null) {
      this.#list.push({ id, hash })
      if (this.#list.length > RANGE_LEAF_RECORDS) this.#list = null
    }
    const last = this.#parts.at(-1)
    if (last !== undefined && last.count < this.#partRecords) {
      last.count += 1
      last.sum = exchange(last.sum, 0n, hash)
      return
    }
    if (this.#parts.length === RANGE_PARTS) this.#halve()
    this.#parts.push({ from: id, count: 1, sum: hash })
  }

  /** The answer up to `to`, the end of the range. */
  answer(to: string | null): RangeAnswer {
    if (this.#list !== null) {
      const records = this.#list.map(({ id, hash }) => ({ id, hash: digestToHex(hash) }))
      return { type: 'list', records }
    }
    const parts = this.#parts.map(({ count, sum }, index): RangePart => {
      const next = this.#parts[index + 1]
      return { to: next === undefined ? to : next.from, count, digest: digestToHex(sum) }
    })
    return { type: 'parts', parts }
  }

  #halve(): void {
    const before = this.#parts
    this.#parts = []
    for (let index = 0; index < before.length; index += 2) {
      const [first, second] = before.slice(index, index + 2)
      if (first === undefined) break
      if (second !== undefined) {
        first.count += second.count
        first.sum = exchange(first.sum, 0n, second.sum)
      }
      this.#parts.push(first)
    }
    this.#partRecords *= 2
  }
}
