/**
 * Output of commands: headings, lines, progress and tables, for a terminal or a pipe.
 *
 * On a terminal, progress is a bar that redraws itself, with rate and time left. In a pipe it is a
 * line at each quarter, or nothing ({@link quietReporterFor}). With `--json` nothing is printed
 * here: the JSON on stdout is the output.
 */

/** Receives the reports of a command. */
export interface Reporter {
  heading(text: string): void
  line(text: string): void
  /** Reports `done` of `total` (null: unknown). May be called for every record. */
  progress(label: string, done: number, total: number | null): void
  /** Prints rows of equal length, the first being titles; numbers are right-aligned. */
  table(rows: readonly (readonly string[])[]): void
}

/** Output stream of a reporter, such as `process.stdout`. */
export interface Output {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

const BAR_CELLS = 24

/** On a narrower terminal counts and time left are shown without a bar. */
const NARROW_COLUMNS = 70

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

/** The same without progress in pipes, for commands whose stderr may be a log. */
export function quietReporterFor(output: Output): Reporter {
  const reporter = reporterFor(output)
  return output.isTTY === true ? reporter : { ...reporter, progress: () => undefined }
}

/**
 * Formats rows with two spaces before each and between columns; columns of numbers are
 * right-aligned.
 */
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

/** Most redraws of a bar per second. */
const REDRAWS_PER_SECOND = 20

function barDrawer(output: Output): Reporter['progress'] {
  const started = new Map<string, { readonly atMs: number; drawnMs: number }>()
  return (label, done, total) => {
    const nowMs = performance.now()
    const bar = started.get(label) ?? { atMs: nowMs, drawnMs: -Infinity }
    started.set(label, bar)
    const isLast = total !== null && done >= total
    if (!isLast && nowMs - bar.drawnMs < 1_000 / REDRAWS_PER_SECOND) return
    bar.drawnMs = nowMs
    const pace = paceOf(done, total, nowMs - bar.atMs)
    const width = output.columns ?? 80
    const text = `  ${label} ${cellsOf(done, total, width < NARROW_COLUMNS ? 0 : BAR_CELLS)}${pace}`
    // A line wider than the terminal would wrap, and a wrapped bar cannot redraw itself.
    output.write(`\r\u001b[2K${text.slice(0, (output.columns ?? 80) - 1)}${isLast ? '\n' : ''}`)
    if (isLast) started.delete(label)
  }
}

function cellsOf(done: number, total: number | null, cells: number): string {
  if (total === null) return formatCount(done)
  const filled = Math.round((total === 0 ? 1 : Math.min(1, done / total)) * cells)
  const bar = '█'.repeat(filled) + '░'.repeat(cells - filled)
  return `${bar === '' ? '' : `${bar} `}${formatCount(done)} of ${formatCount(total)}`
}

/** `, 14,000/s, 12 s left`; empty during the first second. */
export function paceOf(done: number, total: number | null, elapsedMs: number): string {
  if (elapsedMs < 1_000 || done === 0) return ''
  const perSecond = done / (elapsedMs / 1_000)
  const rate = `, ${formatCount(perSecond)}/s`
  if (total === null || done >= total) return rate
  const seconds = Math.ceil((total - done) / perSecond)
  const left = seconds < 90 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`
  return `${rate}, ${left} left`
}

function quarterPrinter(output: Output): Reporter['progress'] {
  const printed = new Map<string, number>()
  return (label, done, total) => {
    if (total === null) return
    const quarter = total === 0 ? 4 : Math.floor((4 * done) / total)
    if (quarter <= (printed.get(label) ?? 0)) return
    printed.set(label, quarter)
    output.write(`  ${label} ${formatCount(done)} of ${formatCount(total)}\n`)
  }
}
