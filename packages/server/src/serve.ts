/**
 * Runs a node until a signal ends it; `sqlite-vector serve` calls this.
 *
 * Not here: the node (node.ts). The first SIGTERM or SIGINT ends it in order. A second one ends the
 * process at once, like a kill; acknowledged writes survive both.
 */
import { type ConfigSources, resolveConfig } from './config/resolve.ts'
import { jsonLog } from './log.ts'
import { type RunningNode, startNode } from './node.ts'

export interface ServeOptions extends ConfigSources {
  /** Receives log lines. @defaultValue stderr */
  readonly write?: (line: string) => void
  /** Called when the node is ready. */
  readonly onReady?: (node: RunningNode) => void
}

/**
 * Resolves with the exit code: 0 when the node ended in order, 1 when requests were cut off.
 * @throws ConfigError; what {@link startNode} throws
 */
export async function serve(options: ServeOptions = {}): Promise<number> {
  const { write = (line) => process.stderr.write(line), onReady, ...sources } = options
  const { config } = resolveConfig(sources)
  const told = untilTold()
  const node = await startNode(config, { log: jsonLog(config.log.level, write) })
  onReady?.(node)
  await told
  const { graceful } = await node.close()
  return graceful ? 0 : 1
}

/** Resolves at the first signal; the second ends the process. */
function untilTold(): Promise<void> {
  return new Promise((resolve) => {
    let isTold = false
    const onSignal = (): void => {
      if (isTold) process.exit(130)
      isTold = true
      resolve()
    }
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  })
}
