/**
 * Grants as a file: kept, private, reread, and closed to everybody when it cannot be read.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { GRANTS_MAX } from '../../../../src/limits.ts'
import { Permissions } from '../../../../src/sync/access/permissions.ts'

const BOB = { fingerprint: 'b'.repeat(64), nodeId: 'bob' }

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'permissions-'))
})

afterEach(() => rmSync(folder, { recursive: true }))

test('what one process grants and takes back, another sees at its next question', () => {
  const server = Permissions.open(folder)
  const command = Permissions.open(folder)

  command.grant('bob', 'notes', 'read')
  expect(server.accessOf(BOB, 'notes')).toBe('read')
  expect(server.accessOf(BOB, 'other')).toBe('none')
  expect(command.remove('bob', 'notes')).toBe(true)
  expect(server.accessOf(BOB, 'other')).toBe('write')
  expect(command.remove('bob', 'notes')).toBe(false)
})

test('the file is private', () => {
  Permissions.open(folder).grant('bob', '*', 'none')

  expect(statSync(join(folder, 'permissions.json')).mode & 0o777).toBe(0o600)
})

test.each(['not JSON', '{"version":2,"grants":[]}', '{"version":1,"grants":[{"peer":"bob"}]}'])(
  'a file that cannot be read lets nobody in: %s',
  (contents) => {
    const server = Permissions.open(folder)
    writeFileSync(join(folder, 'permissions.json'), contents)

    for (const ask of [1, 2]) {
      expect(() => server.accessOf(BOB, 'notes'), String(ask)).toThrow(
        expect.objectContaining({ code: 'SYNC_PERMISSIONS_INVALID' }),
      )
    }
    expect(() => Permissions.open(folder)).toThrow('holds no permissions')
  },
)

test('a node holds as many grants as its limit, and refuses one more', () => {
  const permissions = Permissions.inMemory()
  for (let index = 0; index < GRANTS_MAX; index += 1) permissions.grant('bob', `s${index}`, 'read')

  expect(() => permissions.grant('bob', 'one more', 'read')).toThrow(RangeError)
  expect(permissions.list()).toHaveLength(GRANTS_MAX)
})
