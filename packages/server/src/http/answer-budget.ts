/**
 * Bounds the memory of large answers: of one, and of all that are being sent.
 *
 * A search holds its results until the reader has taken them. Their size is estimated before the
 * search runs, so that a costly read is refused instead of paid for.
 */
import { HttpError } from './errors.ts'

/** Most bytes of embeddings in one answer: 16 MiB, some 40 MB of JSON. */
export const ANSWER_VECTOR_BYTES_MAX = 16_777_216

/** Most estimated bytes of all answers that are being sent. */
export const ANSWERS_BYTES_MAX = 134_217_728

/** Rough size of a result besides its embedding. */
const RESULT_BYTES = 1_024

/** Answers estimated below this are not counted: they leave at once. */
const SMALL_BYTES = 1_048_576

/** The arguments that decide the size of an answer. */
export interface AnswerSize {
  readonly records: number
  readonly dimension: number
  readonly includeVectors: boolean
}

export class AnswerBudget {
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number = ANSWERS_BYTES_MAX) {
    this.#bytesMax = bytesMax
  }

  /**
   * Reserves room for an answer and calls the returned function's owner when it has left.
   * @throws HttpError `HTTP_ANSWER_TOO_LARGE`, `HTTP_BUSY`
   */
  reserve({ records, dimension, includeVectors }: AnswerSize): () => void {
    const vectorBytes = includeVectors ? records * dimension * 4 : 0
    if (vectorBytes > ANSWER_VECTOR_BYTES_MAX) {
      throw new HttpError(
        'HTTP_ANSWER_TOO_LARGE',
        `${records} vectors of ${dimension} dimensions take ${vectorBytes} bytes; ` +
          `the bound is ${ANSWER_VECTOR_BYTES_MAX} (ANSWER_VECTOR_BYTES_MAX), ` +
          `${Math.floor(ANSWER_VECTOR_BYTES_MAX / (4 * dimension))} vectors`,
      )
    }
    const bytes = vectorBytes + records * RESULT_BYTES
    if (bytes < SMALL_BYTES) return () => undefined
    if (this.#bytes + bytes > this.#bytesMax) {
      throw new HttpError(
        'HTTP_BUSY',
        `answers of ${this.#bytes} bytes are being sent; the bound is ${this.#bytesMax}`,
      )
    }
    this.#bytes += bytes
    let isHeld = true
    return () => {
      if (isHeld) this.#bytes -= bytes
      isHeld = false
    }
  }
}
