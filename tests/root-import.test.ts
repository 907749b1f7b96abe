/**
 * Importing the package root loads no network code: who only embeds a store needs no QUIC binary.
 */
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'

/** Loads `specifier` in a new process; answers with the native libraries that it mapped and its modules. */
function loadedBy(specifier: string): { readonly objects: readonly string[] } {
  const program = `
    await import(${JSON.stringify(specifier)})
    console.log(JSON.stringify({ objects: process.report.getReport().sharedObjects }))`
  const printed = execFileSync(
    process.execPath,
    ['--conditions=source', '--input-type=module', '--eval', program],
    { cwd: import.meta.dirname, encoding: 'utf8' },
  )
  return JSON.parse(printed) as { objects: string[] }
}

const isAddon = (path: string): boolean => path.endsWith('.node')

test('importing the package root loads no native binary', () => {
  expect(loadedBy('@agentic-flow/sqlite-vector').objects.filter(isAddon)).toEqual([])
})

test('a process that opens a QUIC transport does load one, so the test above can fail', () => {
  const program = `
    import { createIdentity, QuicTransport, TrustList } from '@agentic-flow/sqlite-vector/transport'
    const transport = await QuicTransport.create({ identity: createIdentity(), trust: TrustList.inMemory() })
    await transport.listen('127.0.0.1:0')
    console.log(JSON.stringify(process.report.getReport().sharedObjects))
    await transport.close()`
  const printed = execFileSync(
    process.execPath,
    ['--conditions=source', '--input-type=module', '--eval', program],
    { cwd: import.meta.dirname, encoding: 'utf8' },
  )

  expect((JSON.parse(printed) as string[]).filter(isAddon)).toHaveLength(1)
})
