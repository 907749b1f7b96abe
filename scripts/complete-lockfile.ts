/**
 * Adds to package-lock.json the optional platform packages that npm could not resolve here.
 *
 * `npm ci` refuses a lock file without an entry for every optional dependency, also for platforms
 * this machine will never be. A registry mirror that lacks some platforms makes `npm install`
 * leave such entries out. This program writes them: name, version, os, cpu, `optional: true`, all
 * taken from the dependent's own manifest and the naming scheme `…-<os>-<cpu>[-<libc>]`. Run it
 * after any change of dependencies: `node scripts/complete-lockfile.ts`.
 *
 * It is not a resolver: a range becomes its lowest version, which is what napi-style platform
 * packages pin anyway.
 */
import { readFileSync, writeFileSync } from 'node:fs'

interface LockEntry {
  version?: string
  optionalDependencies?: Record<string, string>
  cpu?: string[]
  os?: string[]
  optional?: boolean
  license?: string
}

const SYSTEMS = [
  'android',
  'darwin',
  'freebsd',
  'linux',
  'openharmony',
  'win32',
  'openbsd',
  'netbsd',
  'sunos',
  'aix',
]
const PROCESSORS = [
  'arm64',
  'x64',
  'ia32',
  'arm',
  'ppc64',
  'riscv64',
  's390x',
  'loong64',
  'mips64el',
  'wasm32',
]

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  packages: Record<string, LockEntry>
}
let added = 0
for (const entry of Object.values(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`
    if (lock.packages[path] !== undefined) continue
    const words = name.split(/[-/]/)
    const os = SYSTEMS.find((system) => words.includes(system))
    const cpu = PROCESSORS.find((processor) => words.includes(processor))
    if (os === undefined && cpu === undefined) continue
    lock.packages[path] = {
      version: range.replace(/^[\^~]/, ''),
      ...(cpu === undefined ? {} : { cpu: [cpu] }),
      optional: true,
      ...(os === undefined ? {} : { os: [os] }),
    }
    added += 1
  }
}
const [root, ...rest] = Object.entries(lock.packages)
if (root === undefined) throw new Error('package-lock.json has no packages')
rest.sort(([a], [b]) => (a < b ? -1 : 1))
lock.packages = Object.fromEntries([root, ...rest])
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`)
process.stdout.write(`${added} entries added\n`)
