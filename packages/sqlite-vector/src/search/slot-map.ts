/**
 * Which slot of the arena holds which record: a bijection between records and slots 0 … count − 1.
 *
 * Records are rowids of SQLite: positive integers, mostly dense. So the way from a record to its
 * slot is a table of pages that exist where records do, four bytes a record, instead of a hash
 * map's fifty. Slots stay dense: removing a record moves the last slot into the gap, and the caller
 * is told to move that slot's rows.
 */
import { assert } from '../assert.ts'

const PAGE_SHIFT = 12
const PAGE_ENTRIES = 1 << PAGE_SHIFT

/**
 * The result of {@link SlotMap.remove}: slot `from` (the last) now lies at `to`; equal when nothing
 * moved.
 */
export interface SlotMove {
  readonly from: number
  readonly to: number
}

export class SlotMap {
  /** Pages by record ÷ PAGE_ENTRIES; an entry is the slot plus one, 0 for none. */
  readonly #pages = new Map<number, Uint32Array>()
  #records = new Float64Array(64)
  #count = 0
  #lastPage: Uint32Array | undefined
  #lastPageNumber = -1

  /** Records held. */
  get count(): number {
    return this.#count
  }

  /** Bytes of the tables. */
  get bytes(): number {
    return this.#pages.size * PAGE_ENTRIES * 4 + this.#records.byteLength
  }

  /** The slot of `record`, or −1. */
  slotOf(record: number): number {
    const page = this.#page(record)
    return page === undefined ? -1 : (page[entryOf(record)] ?? 0) - 1
  }

  /** The record in `slot`, which must be below {@link count}. */
  recordAt(slot: number): number {
    assert(slot >= 0 && slot < this.#count, 'a slot below the count')
    return this.#records[slot] ?? 0
  }

  /** Gives `record`, which must have none, the slot at the end. */
  add(record: number): number {
    assert(Number.isSafeInteger(record) && record >= 0, 'a record is a rowid')
    const slot = this.#count
    if (slot === this.#records.length) {
      const larger = new Float64Array(slot * 2)
      larger.set(this.#records)
      this.#records = larger
    }
    let page = this.#page(record)
    if (page === undefined) {
      page = new Uint32Array(PAGE_ENTRIES)
      this.#lastPageNumber = pageOf(record)
      this.#lastPage = page
      this.#pages.set(this.#lastPageNumber, page)
    }
    assert(page[entryOf(record)] === 0, 'a record has one slot')
    page[entryOf(record)] = slot + 1
    this.#records[slot] = record
    this.#count = slot + 1
    return slot
  }

  /** Takes `record` out; null when it has no slot. */
  remove(record: number): SlotMove | null {
    const to = this.slotOf(record)
    if (to < 0) return null
    const from = this.#count - 1
    const moved = this.recordAt(from)
    this.#setSlot(record, 0)
    if (from !== to) {
      this.#setSlot(moved, to + 1)
      this.#records[to] = moved
    }
    this.#count = from
    return { from, to }
  }

  clear(): void {
    this.#pages.clear()
    this.#records = new Float64Array(64)
    this.#count = 0
    this.#lastPage = undefined
    this.#lastPageNumber = -1
  }

  #setSlot(record: number, entry: number): void {
    const page = this.#page(record)
    assert(page !== undefined, 'a record in the map has a page')
    page[entryOf(record)] = entry
  }

  #page(record: number): Uint32Array | undefined {
    const number = pageOf(record)
    if (number === this.#lastPageNumber) return this.#lastPage
    const page = this.#pages.get(number)
    if (page !== undefined) {
      this.#lastPage = page
      this.#lastPageNumber = number
    }
    return page
  }
}

function pageOf(record: number): number {
  return Math.floor(record / PAGE_ENTRIES)
}

/** The remainder, without the division of doubles that % would be. */
function entryOf(record: number): number {
  return record - pageOf(record) * PAGE_ENTRIES
}
