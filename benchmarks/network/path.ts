/**
 * Two network namespaces with an emulated path between them, and processes inside. Needs Linux, root,
 * iproute2, Python 3 and /dev/net/tun; {@link missing} says which of these is not there.
 */
import {
  spawn,
  spawnSync,
  type ChildProcess,
  type ChildProcessWithoutNullStreams,
} from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** What the path does to packets. */
export interface PathBehaviour {
  /** One way. */
  readonly delayMs?: number
  /** Share of packets lost, 0 to 1. */
  readonly loss?: number
  /** Share of packets held back for 10 ms. */
  readonly reorder?: number
  readonly duplicate?: number
  /** Rate of the bottleneck, 0 for none; its queue holds 256 KiB. */
  readonly rateMbit?: number
  readonly down?: boolean
}

/** With which congestion control TCP connections of this machine begin. */
export function tcpCongestionControl(): string {
  return readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim()
}

export type End = 'a' | 'b'

const ADDRESSES: Readonly<Record<End, string>> = { a: '10.77.0.1', b: '10.77.0.2' }

/** Why a path cannot be emulated here; null when it can. */
export function missing(): string | null {
  if (process.platform !== 'linux') return 'network namespaces need Linux'
  if (process.getuid?.() !== 0) return 'making network namespaces needs root'
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun'
  for (const program of ['ip', 'python3']) {
    if (spawnSync(program, ['--help']).error !== undefined) return `${program} is not installed`
  }
  return spawnSync('unshare', ['-n', 'true']).status === 0 ? null : 'namespaces are not permitted'
}

export class EmulatedPath implements AsyncDisposable {
  readonly #names: Readonly<Record<End, string>>
  readonly #emulator: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly #processes: ChildProcess[] = []

  private constructor(names: Record<End, string>, emulator: ChildProcessWithoutNullStreams) {
    this.#names = names
    this.#emulator = emulator
    this.#lines = createInterface({ input: emulator.stdout })[Symbol.asyncIterator]()
  }

  static async open(): Promise<EmulatedPath> {
    const names = { a: `sv${process.pid}a`, b: `sv${process.pid}b` }
    for (const name of Object.values(names)) ip('netns', 'add', name)
    const script = join(import.meta.dirname, 'emulator.py')
    const emulator = spawn('python3', [script, names.a, names.b])
    emulator.stderr.pipe(process.stderr)
    const path = new EmulatedPath(names, emulator)
    await path.#lines.next()
    for (const end of ['a', 'b'] as const) {
      const name = names[end]
      ip('link', 'set', name, 'netns', name)
      ip('-n', name, 'addr', 'add', `${ADDRESSES[end]}/24`, 'dev', name)
      ip('-n', name, 'link', 'set', name, 'mtu', '1500', 'txqueuelen', '5000', 'up')
      ip('-n', name, 'link', 'set', 'lo', 'up')
      // Or a connection would begin with what the one before it learned of another path.
      ip('netns', 'exec', name, 'sysctl', '-qw', 'net.ipv4.tcp_no_metrics_save=1')
    }
    return path
  }

  address(end: End): string {
    return ADDRESSES[end]
  }

  async behave(behaviour: PathBehaviour): Promise<void> {
    this.#emulator.stdin.write(`${JSON.stringify(behaviour)}\n`)
    await this.#lines.next()
  }

  /** What new TCP connections begin with: by the route, which needs no leave to change the machine's settings. */
  setTcpCongestionControl(name: string): void {
    for (const end of ['a', 'b'] as const) {
      const device = this.#names[end]
      const route = ['10.77.0.0/24', 'dev', device, 'src', ADDRESSES[end], 'congctl', name]
      ip('-n', device, 'route', 'replace', ...route)
    }
  }

  /** Starts a Node script at one end, with a message channel to it. */
  start(end: End, script: string, args: readonly string[]): ChildProcess {
    const child = spawn(
      'ip',
      ['netns', 'exec', this.#names[end], process.execPath, '--conditions=source', script, ...args],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    )
    this.#processes.push(child)
    return child
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#processes) child.kill()
    this.#emulator.stdin.end()
    await new Promise((resolve) => this.#emulator.on('exit', resolve))
    for (const name of Object.values(this.#names)) ip('netns', 'delete', name)
  }
}

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
}
