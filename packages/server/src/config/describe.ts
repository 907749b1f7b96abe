/**
 * Describes a configuration without its secrets or their hashes. Pure.
 */
import { CONFIG_OPTIONS, flagName, variableName } from './table.ts'
import type { ResolvedConfig } from './resolve.ts'
import type { Origin } from './types.ts'

/** One setting as it is in force. */
export interface DescribedSetting {
  readonly key: string
  /** Secrets are replaced by `<hidden>`. */
  readonly value: unknown
  readonly origin: Origin
  readonly flag: string
  readonly variable: string
  readonly summary: string
}

export const HIDDEN = '<hidden>'

/** All settings in force, in the order of the table. */
export function describeConfig({ config, origins }: ResolvedConfig): readonly DescribedSetting[] {
  return CONFIG_OPTIONS.map(({ key, summary }) => ({
    key,
    value: key === 'http.apiKeys' ? hideKeys(config.http.apiKeys) : valueAt(config, key),
    origin: origins[key] ?? 'default',
    flag: `--${flagName(key)}`,
    variable: variableName(key),
    summary,
  }))
}

function hideKeys(keys: ResolvedConfig['config']['http']['apiKeys']): unknown {
  return keys.map((key) => ({ ...key, sha256: HIDDEN }))
}

function valueAt(config: object, key: string): unknown {
  return key
    .split('.')
    .reduce<unknown>((level, name) => (level as Record<string, unknown>)[name], config)
}
