/**
 * The machine that opens a file: which boot this is, and which processes of it are alive.
 *
 * Not here: the conclusions drawn from it (identity.ts).
 */
import { readFileSync } from 'node:fs'

/** Which boot this is, and whether a process of it is alive. */
export interface Machine {
  /** The same for every process until the machine restarts; null where the system does not say. */
  readonly bootId: string | null
  readonly pid: number
  readonly processAlive: (pid: number) => boolean
}

/** The machine of this process. */
export function thisMachine(): Machine {
  return { bootId: readBootId(), pid: process.pid, processAlive }
}

function readBootId(): string | null {
  if (process.platform !== 'linux') return null
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // A sandbox without /proc: null is the careful answer, it never counts as the same boot.
    return null
  }
}

function processAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: the process is alive and belongs to another user.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
