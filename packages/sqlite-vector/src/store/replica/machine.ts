/**
 * The machine that opens a file: which boot this is, and which processes of it are alive.
 *
 * Not here: the conclusions drawn from it (identity.ts).
 */
import { machine } from '#platform'

/** Which boot this is, and whether a process of it is alive. */
export interface Machine {
  /** The same for every process until the machine restarts; null where the system does not say. */
  readonly bootId: string | null
  readonly pid: number
  readonly processAlive: (pid: number) => boolean
}

/** The machine of this process. */
export function thisMachine(): Machine {
  return { bootId: machine.bootId(), pid: machine.pid, processAlive: machine.isAlive }
}
