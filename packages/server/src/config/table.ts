/**
 * The one table of the configuration: from it come the keys of the file, the environment variables, the
 * flags, their help and the table in docs/how-to/operations.md.
 *
 * Not here: how values are read (kinds.ts) and put together (resolve.ts).
 */
import {
  address,
  apiKeys,
  choice,
  integer,
  type Kind,
  peers,
  shards,
  text,
  textOrOff,
  topology,
} from './kinds.ts'

/** One setting. */
export interface ConfigOption {
  /** In the file, dots nest: `http.listen`. */
  readonly key: string
  readonly kind: Kind
  /** As the file would say it. */
  readonly fallback: unknown
  readonly summary: string
}

export const CONFIG_OPTIONS: readonly ConfigOption[] = [
  {
    key: 'database',
    kind: text('FILE'),
    fallback: 'sqlite-vector.db',
    summary: 'The database file; keys and trust lie in FILE-node/ beside it.',
  },
  {
    key: 'nodeId',
    kind: text('NAME', 256),
    fallback: 'node',
    summary: 'What peers call this node; one node per name.',
  },
  {
    key: 'durability',
    kind: choice('full', 'normal'),
    fallback: 'full',
    summary: 'full: acknowledged writes survive power loss. normal: only a killed process.',
  },
  {
    key: 'busyTimeoutMs',
    kind: integer(0, 60_000),
    fallback: 5_000,
    summary: 'Longest wait for another writer on the file.',
  },
  {
    key: 'searchMemoryBytes',
    kind: integer(0, Number.MAX_SAFE_INTEGER),
    fallback: 536_870_912,
    summary: 'Memory for the vectors that searches scan.',
  },
  {
    key: 'http.listen',
    kind: address,
    fallback: '127.0.0.1:8080',
    summary: 'Where the HTTP API listens (TCP); beyond loopback only with API keys.',
  },
  {
    key: 'http.apiKeys',
    kind: apiKeys,
    fallback: [],
    summary: 'Who may call the API; without any, everybody who reaches loopback.',
  },
  {
    key: 'http.bodyBytesMax',
    kind: integer(1_024, 268_435_456),
    fallback: 16_777_216,
    summary: 'Largest body of a request.',
  },
  {
    key: 'http.requestsPerMinuteMax',
    kind: integer(0, 1_000_000_000),
    fallback: 60_000,
    summary: 'Requests of one key (or address, without keys) in a minute; 0: no limit.',
  },
  {
    key: 'http.eventStreamsMax',
    kind: integer(1, 10_000),
    fallback: 64,
    summary: 'Event streams open at once.',
  },
  {
    key: 'sync.listen',
    kind: textOrOff(address),
    fallback: '127.0.0.1:4433',
    summary: 'Where peers connect to (UDP); off: this node only dials.',
  },
  {
    key: 'sync.advertise',
    kind: textOrOff(address),
    fallback: 'off',
    summary: 'Where peers are told to dial this node; off: where it listens.',
  },
  {
    key: 'sync.compression',
    kind: choice('adaptive', 'zstd', 'lz4', 'none'),
    fallback: 'adaptive',
    summary: 'How batches that go out are compressed, where the peer can read it.',
  },
  {
    key: 'sync.collectIntervalMs',
    kind: integer(0, 86_400_000),
    fallback: 3_600_000,
    summary: 'Between collections of deletes that every known replica has; 0: none.',
  },
  {
    key: 'sync.replicaRetentionMs',
    kind: integer(0, 315_360_000_000),
    fallback: 2_592_000_000,
    summary: 'How long collections wait for a replica that is silent.',
  },
  {
    key: 'sync.intervalMs',
    kind: integer(100, 86_400_000),
    fallback: 60_000,
    summary: 'Between full checks of a shard that is kept in sync.',
  },
  {
    key: 'sync.retryMs',
    kind: integer(100, 86_400_000),
    fallback: 10_000,
    summary: 'Between attempts with peers that refuse us, until they trust us.',
  },
  {
    key: 'sync.relayDelayMs',
    kind: integer(0, 60_000),
    fallback: 100,
    summary: "Wait before others' changes are passed on.",
  },
  {
    key: 'sync.batchSize',
    kind: integer(1, 4_096),
    fallback: 256,
    summary: 'Most records of one batch, which is one transaction at the receiver.',
  },
  {
    key: 'sync.concurrencyMax',
    kind: integer(1, 1_000),
    fallback: 10,
    summary: 'Syncs at once when all are asked for.',
  },
  {
    key: 'sync.topology',
    kind: topology,
    fallback: 'mesh',
    summary: 'Which of the peers this node dials.',
  },
  {
    key: 'peers',
    kind: peers,
    fallback: [],
    summary: 'Whom to keep in sync with; trust is given apart.',
  },
  {
    key: 'shards',
    kind: shards,
    fallback: [],
    summary: 'Shards that are made at the start where they are missing.',
  },
  {
    key: 'snapshots.folder',
    kind: textOrOff(text('FOLDER')),
    fallback: 'off',
    summary: 'The only folder into which the API writes snapshots; off: none.',
  },
  {
    key: 'shutdown.graceMs',
    kind: integer(0, 600_000),
    fallback: 10_000,
    summary: 'Longest wait for requests under way when the node is told to end.',
  },
  {
    key: 'log.level',
    kind: choice('debug', 'info', 'warn', 'error'),
    fallback: 'info',
    summary: 'Least important line that is logged.',
  },
]

/** Variables with our prefix that are no settings of a node. */
const OTHER_VARIABLES = ['SQLITE_VECTOR_CONFIG', 'SQLITE_VECTOR_URL', 'SQLITE_VECTOR_API_KEY']

export const VARIABLE_PREFIX = 'SQLITE_VECTOR_'

/** `http.bodyBytesMax` as `http-body-bytes-max`, without dashes before it. */
export function flagName(key: string): string {
  return words(key).join('-')
}

/** `http.bodyBytesMax` as `SQLITE_VECTOR_HTTP_BODY_BYTES_MAX`. */
export function variableName(key: string): string {
  return VARIABLE_PREFIX + words(key).join('_').toUpperCase()
}

/** Whether a variable with our prefix belongs to something else. */
export function isOtherVariable(name: string): boolean {
  return OTHER_VARIABLES.includes(name)
}

function words(key: string): readonly string[] {
  return key.replace(/[A-Z]/g, (letter) => `.${letter.toLowerCase()}`).split('.')
}
