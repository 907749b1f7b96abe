/**
 * Prepares a release and publishes nothing: `npm run release -- VERSION`.
 *
 * Sets the version of every package and of what they need of each other, dates the changelog's entry, then builds,
 * packs, installs and runs the packages as test-packages.ts does, and leaves the tarballs in `dist/`. What remains
 * to do by hand is printed. A check that fails leaves the files changed for a look; `git checkout .` takes them back.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const SCOPE = /^(?:@agentic-flow\/)?sqlite-vector/

type Section = Record<string, string>

interface Manifest {
  name: string
  version: string
  private?: boolean
  dependencies?: Section
  devDependencies?: Section
  peerDependencies?: Section
}

const [version = ''] = process.argv.slice(2)
if (!/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version)) {
  process.stderr.write('usage: npm run release -- VERSION, for example 0.2.0\n')
  process.exit(2)
}

function run(command: string, args: readonly string[], cwd = ROOT): void {
  execFileSync(command, args, { cwd, stdio: 'inherit' })
}

/** Folders of the packages, and their manifests. */
function packages(): readonly (readonly [string, Manifest])[] {
  return readdirSync(join(ROOT, 'packages'))
    .map((name) => join(ROOT, 'packages', name))
    .filter((folder) => existsSync(join(folder, 'package.json')))
    .map((folder) => {
      const text = readFileSync(join(folder, 'package.json'), 'utf8')
      return [folder, JSON.parse(text) as Manifest] as const
    })
}

/** One version for all packages, and for what they need of each other. */
function setVersion(): void {
  for (const [folder, manifest] of packages()) {
    manifest.version = version
    for (const section of [
      manifest.dependencies,
      manifest.devDependencies,
      manifest.peerDependencies,
    ]) {
      for (const name of Object.keys(section ?? {})) {
        if (section !== undefined && SCOPE.test(name)) section[name] = version
      }
    }
    writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  }
}

/** The changelog's newest entry gets its date; it must name this version. */
function dateChangelog(): void {
  const path = join(ROOT, 'CHANGELOG.md')
  const text = readFileSync(path, 'utf8')
  const title = `## ${version}, not released`
  if (!text.includes(title)) {
    throw new Error(`CHANGELOG.md has no entry "${title}": write one that says what changed`)
  }
  const today = new Date().toISOString().slice(0, 10)
  writeFileSync(path, text.replace(title, `## ${version}, ${today}`))
}

dateChangelog()
setVersion()
run('npm', ['install', '--no-audit', '--no-fund'])
run(process.execPath, ['scripts/complete-lockfile.ts'])
run('npm', ['run', 'verify'])
run('npm', ['run', 'test:packages'])
mkdirSync(join(ROOT, 'dist'), { recursive: true })
for (const [folder, manifest] of packages()) {
  if (manifest.private !== true) {
    run('npm', ['pack', '--pack-destination', join(ROOT, 'dist')], folder)
  }
}
process.stdout.write(
  `Release ${version} is packed in dist/ and not published. Commit, tag v${version}, then publish each tarball.\n`,
)
