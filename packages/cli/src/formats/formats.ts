/**
 * The formats that `import` and `export` know, and which of them a file name means.
 */
import { UsageError } from '../command.ts'
import { csvFormat } from './csv.ts'
import { jsonlFormat } from './jsonl.ts'
import { npyFormat } from './npy.ts'
import { parquetFormat } from './parquet.ts'
import type { Format } from './types.ts'
import { bvecsFormat, fvecsFormat, ivecsFormat } from './vecs.ts'

export const FORMATS: readonly Format[] = [
  jsonlFormat,
  csvFormat,
  npyFormat,
  fvecsFormat,
  bvecsFormat,
  ivecsFormat,
  parquetFormat,
]

/** The format that was named, or that the ending of the path means. @throws UsageError */
export function formatOf(path: string, named: string | undefined): Format {
  const names = FORMATS.map(({ name }) => name).join(', ')
  if (named !== undefined) {
    const found = FORMATS.find(({ name }) => name === named)
    if (found !== undefined) return found
    throw new UsageError(`--format takes ${names}; got ${named}`)
  }
  const byEnding = FORMATS.find(({ endings }) => endings.some((ending) => path.endsWith(ending)))
  if (byEnding !== undefined) return byEnding
  throw new UsageError(
    path === '-'
      ? `say --format: ${names}`
      : `the ending of ${path} means no format; say --format: ${names}`,
  )
}
