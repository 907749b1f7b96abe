/**
 * Runs the story of a page: its programs and commands, in order, as readers on several machines would.
 *
 * ` ```ts file=NAME ` is a program that every machine has. ` ```sh story ` holds commands, each after the name of the
 * machine that runs it (`laptop$ node main.ts`). A machine is a folder; `scp FILE MACHINE:…` copies into another one.
 * A command that ends with `&` runs on, is ready with its first line, and gets SIGINT at the end. The ` ```text output `
 * fence after a block is what its commands print. Addresses of the page become free ports of the loopback.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'

/** One program of the page, or one block of commands. */
export type Step =
  | {
      readonly kind: 'program'
      readonly line: number
      readonly name: string
      readonly code: string
    }
  | {
      readonly kind: 'commands'
      readonly line: number
      readonly commands: readonly string[]
      readonly output: string
    }

const COMMAND = /^(\w+)\$ (.+?)( &)?$/
const ADDRESS = /\b192\.168\.\d+\.\d+:\d+\b/g
const DEADLINE_MS = 60_000

/** The steps of a page, in order; none where it tells no story. */
export function stepsOf(text: string): readonly Step[] {
  const fences =
    /^```(?:ts file=(\S+)|sh story)\n([\s\S]*?)^```\n(?:\s*^```text output\n([\s\S]*?)^```)?/gm
  return [...text.matchAll(fences)].map(([all, name, code = '', output = ''], index): Step => {
    const line = text.slice(0, text.indexOf(all)).split('\n').length + 1
    if (name !== undefined) return { kind: 'program', line, name, code }
    const commands = code.split('\n').filter((command) => command !== '')
    if (commands.length === 0) throw new Error(`block ${index} of a story holds no command`)
    return { kind: 'commands', line, commands, output }
  })
}

/** Machines that the commands name. */
function machinesOf(steps: readonly Step[]): readonly string[] {
  const commands = steps.flatMap((step) => (step.kind === 'commands' ? step.commands : []))
  return [...new Set(commands.map((command) => COMMAND.exec(command)?.[1] ?? ''))]
}

/** Runs the story inside `folder`; gives a complaint for each block that did not print what the page says. */
export async function runStory(
  page: string,
  steps: readonly Step[],
  folder: string,
): Promise<readonly string[]> {
  const machines = machinesOf(steps)
  if (machines.includes('')) return [`${page}: a command of its story names no machine`]
  for (const machine of machines) mkdirSync(join(folder, machine), { recursive: true })
  const shell = new Shell(folder)
  const complaints: string[] = []
  try {
    for (const step of steps) {
      if (step.kind === 'program') {
        for (const machine of machines) writeFileSync(join(folder, machine, step.name), step.code)
        continue
      }
      let printed = ''
      for (const command of step.commands) printed += await shell.run(command)
      if (printed === step.output) continue
      complaints.push(`${page}:${step.line}: printed\n${printed}and not\n${step.output}`)
    }
  } catch (error) {
    complaints.push(`${page}: ${(error as Error).message}`)
  } finally {
    await shell.end()
  }
  return complaints
}

/** Runs commands in the machines' folders. */
class Shell {
  readonly #folder: string
  readonly #environment: NodeJS.ProcessEnv
  readonly #background: ChildProcess[] = []
  /** Real address by the page's. */
  readonly #addresses = new Map<string, string>()

  constructor(folder: string) {
    this.#folder = folder
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    // Machines are folders here, so copying between them is `cp`.
    writeFileSync(join(bin, 'scp'), `#!/bin/sh\nexec cp "$1" "${folder}/\${2%%:*}/"\n`)
    writeFileSync(join(bin, 'node'), `#!/bin/sh\nexec "${process.execPath}" "$@"\n`)
    for (const name of ['scp', 'node']) chmodSync(join(bin, name), 0o755)
    this.#environment = {
      ...process.env,
      PATH: [bin, process.env['PATH']].join(delimiter),
      NODE_OPTIONS: '--conditions=source',
    }
  }

  /** What the command printed, with the page's addresses. */
  async run(line: string): Promise<string> {
    const [, machine = '', command = '', background] = COMMAND.exec(line) ?? []
    for (const [address] of command.matchAll(ADDRESS)) {
      if (!this.#addresses.has(address)) this.#addresses.set(address, await freeAddress())
    }
    const real = command.replaceAll(ADDRESS, (address) => this.#addresses.get(address) ?? address)
    const child = spawn('sh', ['-c', `exec ${real}`], {
      cwd: join(this.#folder, machine),
      env: this.#environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: DEADLINE_MS,
    })
    let complaint = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text))
    if (background !== undefined) {
      this.#background.push(child)
      for await (const first of createInterface({ input: child.stdout })) return this.#shown(first)
      throw new Error(`${line}\nended without a line: ${complaint}`)
    }
    let printed = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text))
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) throw new Error(`${line}\nended with ${code}: ${printed}${complaint}`)
    return printed
  }

  #shown(line: string): string {
    let shown = `${line}\n`
    for (const [address, real] of this.#addresses) shown = shown.replaceAll(real, address)
    return shown
  }

  async end(): Promise<void> {
    for (const child of this.#background) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const exited = once(child, 'exit')
      child.kill('SIGINT')
      await exited
    }
  }
}

/** An address of the loopback at which no process listens now. */
async function freeAddress(): Promise<string> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return `127.0.0.1:${port}`
}
