/**
 * Runs a node until it is told to end; `sqlite-vector serve` calls this.
 *
 * The first SIGTERM or SIGINT ends it in order. A second one ends the process at once, like a kill;
 * acknowledged writes survive both. SIGHUP reads the configuration again. SIGUSR1, at which Node
 * would open a debugger, does nothing. A lost reader of stderr does not end the node.
 */
import { type ConfigSources, type ResolvedConfig, resolveConfig } from './config/resolve.ts'
import type { NodeConfig } from './config/types.ts'
import { jsonLog, type Log } from './log.ts'
import { type RunningNode, startNode } from './node.ts'

export interface ServeOptions extends ConfigSources {
  /** Receives log lines. @defaultValue stderr */
  readonly write?: (line: string) => void
  /** Called when the node is ready. */
  readonly onReady?: (node: RunningNode) => void
  /** Ends the node when it aborts. @defaultValue SIGTERM and SIGINT do */
  readonly signal?: AbortSignal
  /**
   * Reads the configuration, at start and at each SIGHUP. @defaultValue {@link resolveConfig} of
   * the sources
   */
  readonly configure?: () => ResolvedConfig | Promise<ResolvedConfig>
}

/**
 * Resolves with the exit code: 0 when the node ended in order, 1 when requests were cut off.
 * @throws ConfigError; what {@link startNode} throws
 */
export async function serve(options: ServeOptions = {}): Promise<number> {
  const { write = toStderr, onReady, signal, configure, ...sources } = options
  const read = configure ?? (() => resolveConfig(sources))
  const { config } = await read()
  const level = { current: config.log.level }
  const log = jsonLog(() => level.current, write)
  const told = signal === undefined ? untilSignal() : untilAborted(signal)
  const ignored = (): void => log('info', 'signal-ignored', { signal: 'SIGUSR1' })
  process.stderr.on('error', ignoreLoss)
  process.on('SIGUSR1', ignored)
  try {
    const node = await startNode(config, { log })
    const onHangup = (): void => void reload(node, read, level, log)
    process.on('SIGHUP', onHangup)
    onReady?.(node)
    await told
    const { graceful } = await node.close()
    process.off('SIGHUP', onHangup)
    return graceful ? 0 : 1
  } finally {
    process.off('SIGUSR1', ignored)
    process.stderr.off('error', ignoreLoss)
  }
}

/** A configuration that is wrong is logged, and the one in force stays. */
async function reload(
  node: RunningNode,
  read: () => ResolvedConfig | Promise<ResolvedConfig>,
  level: { current: NodeConfig['log']['level'] },
  log: Log,
): Promise<void> {
  try {
    const { config } = await read()
    node.reload(config)
    level.current = config.log.level
  } catch (error) {
    log('error', 'reload-failed', { error })
  }
}

function toStderr(line: string): void {
  // Without a reader there is nothing to write to; the node serves on.
  if (process.stderr.writable) process.stderr.write(line)
}

/** The reader of the log has gone; there is no place left to report that. */
function ignoreLoss(): void {}

/** Resolves at the first signal; the second ends the process. */
function untilSignal(): Promise<void> {
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

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
