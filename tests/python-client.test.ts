/**
 * The Python client against a running node, by the machine's own python3. Skipped where there is none.
 */
import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { READER, testNode, WRITER } from '../packages/server/tests/helpers/node.ts'

const hasPython = spawnSync('python3', ['--version']).status === 0
const folder = join(import.meta.dirname, '..', 'clients', 'python')

test.skipIf(!hasPython)('the Python client passes its tests against a running node', async () => {
  await using fixture = await testNode()

  const args = [join(folder, 'test_client.py'), fixture.node.url, WRITER, READER]
  const env = { ...process.env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' }
  const { stderr } = await promisify(execFile)('python3', args, { env })

  expect(stderr).toMatch(/Ran 7 tests[\s\S]*OK/)
})
