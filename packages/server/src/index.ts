/**
 * The server's public face: a node as a process, and its configuration.
 */
export {
  startNode,
  serverVersion,
  type Ended,
  type NodeSurroundings,
  type RunningNode,
} from './node.ts'
export { serve, type ServeOptions } from './serve.ts'
export {
  resolveConfig,
  type ConfigSources,
  type Flags,
  type ResolvedConfig,
} from './config/resolve.ts'
export { describeConfig, type DescribedSetting } from './config/describe.ts'
export { CONFIG_OPTIONS, flagName, variableName, type ConfigOption } from './config/table.ts'
export { hashApiKey, type Kind } from './config/kinds.ts'
export {
  ConfigError,
  type Access,
  type ApiKeyConfig,
  type LogLevel,
  type NodeConfig,
  type Origin,
  type PeerConfig,
  type ShardConfig,
} from './config/types.ts'
export { jsonLog, silentLog, type Log } from './log.ts'
export { holderOfDatabase, NodeError } from './node-lock.ts'
export { HTTP_ERRORS, type HttpErrorCode } from './http/errors.ts'
