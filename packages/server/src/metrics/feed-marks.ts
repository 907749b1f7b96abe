/**
 * When the feed of a shard passed which position: what turns "a peer has acknowledged up to here"
 * into "it lacks what was committed since then". Pure.
 *
 * Holds a bounded number of marks; when there are too many, every second one goes, so that the age
 * of what is old is known less exactly and never left out.
 */

const MARKS_MAX = 512

/** Marks closer together than this are one. */
const APART_MS_MIN = 100

interface Mark {
  readonly head: number
  readonly atMs: number
}

export class FeedMarks {
  #marks: Mark[] = []
  #head = 0

  /** The feed has come to `head`. */
  passed(head: number, nowMs: number): void {
    const last = this.#marks.at(-1)
    if (head <= this.#head) return
    // A mark stands for the oldest commit beyond the mark before it.
    if (last === undefined || nowMs - last.atMs >= APART_MS_MIN) {
      this.#marks.push({ head: this.#head + 1, atMs: nowMs })
      if (this.#marks.length > MARKS_MAX) this.#marks = this.#marks.filter((_, i) => i % 2 === 0)
    }
    this.#head = head
  }

  /**
   * How long ago the oldest commit was made that a reader at `cursor` lacks, in milliseconds; 0
   * when it has all.
   */
  ageMs(cursor: number, head: number, nowMs: number): number {
    if (cursor >= head) return 0
    // The newest mark that is not beyond what the reader lacks first: never younger than the truth.
    const index = this.#marks.findLastIndex((mark) => mark.head <= cursor + 1)
    const mark = this.#marks[Math.max(0, index)]
    return mark === undefined ? 0 : Math.max(0, nowMs - mark.atMs)
  }
}
