/**
 * What commands print: headings, lines, progress and tables, for a terminal, a pipe or nobody.
 *
 * On a terminal progress is a bar that redraws itself; in a pipe it is a plain line at each quarter;
 * with `--json` nothing is printed here, because the one JSON object on stdout is the output.
 */

/** Where a command reports to. */
export interface Reporter {
  heading(text: string): void
  line(text: string): void
  /** `done` of `total`; call it as often as there is news. */
  progress(label: string, done: number, total: number): void
  /** Rows of equal length, the first being titles; numbers are set to the right. */
  table(rows: readonly (readonly string[])[]): void
}

/** What a reporter writes to; `process.stdout` is one. */
export interface Output {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

const BAR_CELLS = 24

/** Prints nothing: for `--json`. */
export const silentReporter: Reporter = Object.freeze({
  heading: () => undefined,
  line: () => undefined,
  progress: () => undefined,
  table: () => undefined,
})

/** Bars and bold headings on a terminal, plain lines anywhere else. */
export function reporterFor(output: Output): Reporter {
  const drawBar = output.isTTY === true ? barDrawer(output) : quarterPrinter(output)
  const bold = (text: string): string =>
    output.isTTY === true ? `\u001b[1m${text}\u001b[0m` : text
  return {
    heading: (text) => output.write(`\n${bold(text)}\n`),
    line: (text) => output.write(`  ${text}\n`),
    progress: drawBar,
    table: (rows) => output.write(`${formatTable(rows)}\n`),
  }
}

/** Two spaces before each row and between columns; a column of numbers is set to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const columns = rows[0]?.length ?? 0
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  const numeric = widths.map((_, column) =>
    rows.slice(1).every((row) => /^(–?|\d[\d.,]*( [a-zA-Z%/]+)?)$/.test(row[column] ?? '')),
  )
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0
          return numeric[column] === true ? cell.padStart(width) : cell.padEnd(width)
        })
        .join('  '),
    )
    .map((line) => `  ${line}`.trimEnd())
    .join('\n')
}

/** `12345` as `12,345`. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US')
}

/** Milliseconds as `7 ms`, `0.42 s` or `12.3 s`. */
export function formatMs(ms: number): string {
  if (ms < 100) return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`
  return `${(ms / 1_000).toFixed(2)} s`
}

/** Bytes as `512 B`, `3.4 KiB` or `1.2 MiB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1_024) return `${bytes} B`
  if (bytes < 1_048_576) return `${(bytes / 1_024).toFixed(1)} KiB`
  return `${(bytes / 1_048_576).toFixed(2)} MiB`
}

function barDrawer(output: Output): Reporter['progress'] {
  return (label, done, total) => {
    const share = total === 0 ? 1 : Math.min(1, done / total)
    const filled = Math.round(share * BAR_CELLS)
    const bar = '█'.repeat(filled) + '░'.repeat(BAR_CELLS - filled)
    const text = `  ${label} ${bar} ${formatCount(done)} of ${formatCount(total)}`
    // Longer than the terminal is wide would wrap, and a wrapped bar cannot redraw itself.
    output.write(
      `\r\u001b[2K${text.slice(0, (output.columns ?? 80) - 1)}${done >= total ? '\n' : ''}`,
    )
  }
}

function quarterPrinter(output: Output): Reporter['progress'] {
  const printed = new Map<string, number>()
  return (label, done, total) => {
    const quarter = total === 0 ? 4 : Math.floor((4 * done) / total)
    if (quarter <= (printed.get(label) ?? 0)) return
    printed.set(label, quarter)
    output.write(`  ${label} ${formatCount(done)} of ${formatCount(total)}\n`)
  }
}
