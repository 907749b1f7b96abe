/**
 * A network of our own for node processes: one namespace each, joined by a bridge in another, so that a node
 * can be cut off as a cable is pulled. Needs root and `ip`; nothing outside these namespaces is touched.
 */
import { execFileSync } from 'node:child_process'

const NAME = `svt${process.pid % 100_000}`

/** Whether this process may make namespaces. */
export function canMakeNetworks(): boolean {
  try {
    ip('netns', 'add', `${NAME}p`)
    ip('netns', 'del', `${NAME}p`)
    return true
  } catch {
    return false
  }
}

/** `count` hosts 10.77.0.1, 10.77.0.2, … */
export class Network implements Disposable {
  readonly #count: number

  constructor(count: number) {
    this.#count = count
    const bridge = this.#switch
    ip('netns', 'add', bridge)
    ip('-n', bridge, 'link', 'add', 'br0', 'type', 'bridge')
    ip('-n', bridge, 'link', 'set', 'br0', 'up')
    for (let index = 0; index < count; index += 1) {
      const { namespace, host } = this.host(index)
      ip('netns', 'add', namespace)
      ip(
        '-n',
        bridge,
        'link',
        'add',
        port(index),
        'type',
        'veth',
        'peer',
        'name',
        'eth0',
        'netns',
        namespace,
      )
      ip('-n', bridge, 'link', 'set', port(index), 'master', 'br0', 'up')
      ip('-n', namespace, 'address', 'add', `${host}/24`, 'dev', 'eth0')
      ip('-n', namespace, 'link', 'set', 'eth0', 'up')
      ip('-n', namespace, 'link', 'set', 'lo', 'up')
    }
  }

  host(index: number): { readonly namespace: string; readonly host: string } {
    return { namespace: `${NAME}n${index}`, host: `10.77.0.${index + 1}` }
  }

  /** Pulls the cable of a host. */
  cut(index: number): void {
    ip('-n', this.#switch, 'link', 'set', port(index), 'down')
  }

  heal(index: number): void {
    ip('-n', this.#switch, 'link', 'set', port(index), 'up')
  }

  [Symbol.dispose](): void {
    for (let index = 0; index < this.#count; index += 1)
      ip('netns', 'del', this.host(index).namespace)
    ip('netns', 'del', this.#switch)
  }

  get #switch(): string {
    return `${NAME}s`
  }
}

function port(index: number): string {
  return `port${index}`
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
