/**
 * What commands print, on a terminal and in a pipe.
 */
import { expect, test } from 'vitest'
import { formatBytes, formatMs, formatTable, reporterFor } from '../src/terminal.ts'

function output(isTTY: boolean) {
  const written: string[] = []
  return { isTTY, columns: 60, written, write: (text: string) => written.push(text) }
}

test('in a pipe progress is at most four plain lines', () => {
  const pipe = output(false)
  const reporter = reporterFor(pipe)

  for (let done = 0; done <= 1_000; done += 1) reporter.progress('insert', done, 1_000)

  expect(pipe.written).toEqual([
    '  insert 250 of 1,000\n',
    '  insert 500 of 1,000\n',
    '  insert 750 of 1,000\n',
    '  insert 1,000 of 1,000\n',
  ])
})

test('on a terminal a bar redraws its line and ends it when all is done', () => {
  const terminal = output(true)
  const reporter = reporterFor(terminal)

  reporter.progress('insert', 1, 2)
  reporter.progress('insert', 2, 2)

  expect(terminal.written.every((text) => text.startsWith('\r'))).toBe(true)
  expect(terminal.written[0]).toContain('1 of 2')
  expect(terminal.written.map((text) => text.endsWith('\n'))).toEqual([false, true])
})

test('in 40 columns progress is one line with its counts, and no bar', () => {
  const terminal = { ...output(true), columns: 40 }
  const reporter = reporterFor(terminal)

  reporter.progress('import', 12_345, 1_000_000)

  expect(terminal.written).toEqual(['\r\u001b[2K  import 12,345 of 1,000,000'])
})

test('a table sets columns of numbers to the right', () => {
  const table = formatTable([
    ['phase', 'rows'],
    ['insert', '1,024'],
    ['sync', '7'],
  ])

  expect(table).toBe('  phase    rows\n  insert  1,024\n  sync        7')
})

test('bytes and milliseconds keep a readable unit', () => {
  expect([formatBytes(512), formatBytes(2_048), formatBytes(3 * 1_048_576)]).toEqual([
    '512 B',
    '2.0 KiB',
    '3.00 MiB',
  ])
  expect([formatMs(1.25), formatMs(42.4), formatMs(1_250)]).toEqual(['1.3 ms', '42 ms', '1.25 s'])
})
