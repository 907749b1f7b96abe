/**
 * Ids beside a file that carries vectors alone: a text file with one id a line.
 *
 * An id with a line break cannot be written that way and is refused.
 */
import { linesOf } from './bytes.ts'
import { type ReadOptions, type Source } from './types.ts'
import { InputError } from './input-error.ts'

/** The ids of a file, in its order. */
export async function* idsFrom(source: Source): AsyncGenerator<string> {
  let line = 0
  for await (const text of linesOf(source)) {
    line += 1
    const id = text.endsWith('\r') ? text.slice(0, -1) : text
    if (id === '') throw new InputError(`${source.name}: line ${line}: an empty id`)
    yield id
  }
}

/** An id as a line. @throws InputError */
export function idLine(id: string): string {
  if (/[\r\n]/.test(id)) {
    throw new InputError(
      `record ${JSON.stringify(id)}: an id with a line break has no place in a file of ids; use jsonl, csv or parquet`,
    )
  }
  return `${id}\n`
}

/**
 * The id of a row: the next of the file of ids, or the row's number after the prefix. @throws
 * InputError
 */
export async function rowId({ ids, idPrefix }: ReadOptions, row: number): Promise<string> {
  if (ids === null) return `${idPrefix}${row}`
  const next = await ids.next()
  if (next.done !== true) return next.value
  throw new InputError(`row ${row}: there are fewer ids than vectors`)
}

/** After the last row: there must be no id left. @throws InputError */
export async function noMoreIds({ ids }: ReadOptions, rows: number): Promise<void> {
  if (ids === null || (await ids.next()).done === true) return
  throw new InputError(`there are more ids than the ${rows} vectors`)
}
