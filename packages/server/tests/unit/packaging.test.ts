/**
 * The files of ops/ that package a node: read, and checked against the program and the machine's tools.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CONFIG_OPTIONS, variableName } from '../../src/index.ts'

const OPS = join(import.meta.dirname, '../../../../ops')
const unit = readFileSync(join(OPS, 'systemd/sqlite-vector.service'), 'utf8')
const container = readFileSync(join(OPS, 'Containerfile'), 'utf8')
const rotation = readFileSync(join(OPS, 'logrotate.d/sqlite-vector'), 'utf8')

const VARIABLES = CONFIG_OPTIONS.map(({ key }) => variableName(key))

test('every variable that the unit and the image set is one of the node', () => {
  const named = [...`${unit}\n${container}`.matchAll(/\bSQLITE_VECTOR_[A-Z_]+/g)].map(
    ([name]) => name,
  )

  expect(named.length).toBeGreaterThan(5)
  expect(named.filter((name) => !VARIABLES.includes(name))).toEqual([])
})

test('the unit gives up what a node does not need, and stops later than the node', () => {
  for (const line of [
    'NoNewPrivileges=yes',
    'CapabilityBoundingSet=',
    'ProtectSystem=strict',
    'ProtectHome=yes',
    'PrivateDevices=yes',
    'SystemCallFilter=@system-service',
    'UMask=0077',
    'ExecReload=/bin/kill -HUP $MAINPID',
  ]) {
    expect(unit.split('\n'), line).toContain(line)
  }
  const grace = CONFIG_OPTIONS.find(({ key }) => key === 'shutdown.graceMs')?.fallback as number
  const stop = Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1])
  expect(stop * 1_000).toBeGreaterThan(grace)
  // V8 needs memory that is written and executed.
  expect(unit).not.toMatch(/^MemoryDenyWriteExecute=(yes|true|1)$/m)
})

test('the image is pinned to a release, runs as no root, and has the command on PATH', () => {
  const bases = [...container.matchAll(/^FROM (\S+)/gm)].map(([, base = '']) => base)

  expect(new Set(bases).size).toBe(1)
  expect(bases[0]).toMatch(/^docker\.io\/library\/node:\d+\.\d+\.\d+-/)
  expect(container).toMatch(/^USER node$/m)
  expect(container).toContain('/usr/local/bin/sqlite-vector')
  expect(container.indexOf('USER node')).toBeGreaterThan(container.lastIndexOf('FROM '))
})

test('systemd takes the unit (skipped where it is absent)', ({ skip }) => {
  if (spawnSync('systemd-analyze', ['--version']).status !== 0) skip()
  const { stderr } = spawnSync(
    'systemd-analyze',
    ['verify', join(OPS, 'systemd/sqlite-vector.service')],
    { encoding: 'utf8' },
  )

  // The program and the user are not installed where the tests run.
  const complaints = stderr
    .split('\n')
    .filter(
      (line) =>
        line.includes('sqlite-vector.service') && /Unknown|Invalid|Failed to parse/.test(line),
    )
  expect(complaints).toEqual([])
})

test('logrotate takes the rotation (skipped where it is absent)', ({ skip }) => {
  if (spawnSync('logrotate', ['--version']).status !== 0) skip()
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-vector-rotate-'))
  const path = join(folder, 'conf')
  writeFileSync(path, rotation.replaceAll('sqlite-vector sqlite-vector', 'root root'), {
    mode: 0o644,
  })
  const { stderr } = spawnSync('logrotate', ['--debug', '--state', join(folder, 'state'), path], {
    encoding: 'utf8',
  })
  rmSync(folder, { recursive: true })

  expect(stderr).not.toMatch(/^error:/m)
})
