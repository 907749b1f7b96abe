/**
 * The table of all settings. File keys, environment variables, flags, their help and the table in
 * docs/reference/configuration.md derive from it.
 *
 * Not here: reading values (kinds.ts) and merging sources (resolve.ts).
 */
import {
  address,
  apiKeys,
  choice,
  integer,
  type Kind,
  paths,
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
  /** Default, as it would be written in the file. */
  readonly fallback: unknown
  readonly summary: string
}

export const CONFIG_OPTIONS: readonly ConfigOption[] = [
  {
    key: 'database',
    kind: text('FILE'),
    fallback: 'sqlite-vector.db',
    summary: 'Database file. Keys and the trust list are kept in FILE-node/ beside it.',
  },
  {
    key: 'nodeId',
    kind: text('NAME', 256),
    fallback: 'node',
    summary: 'Name of this node; unique among its peers.',
  },
  {
    key: 'durability',
    kind: choice('full', 'normal'),
    fallback: 'full',
    summary:
      'full: acknowledged writes survive power loss. normal: they survive a killed process only.',
  },
  {
    key: 'busyTimeoutMs',
    kind: integer(0, 60_000),
    fallback: 5_000,
    summary: 'Longest wait for another process that writes to the file, in milliseconds.',
  },
  {
    key: 'searchMemoryBytes',
    kind: integer(0, Number.MAX_SAFE_INTEGER),
    fallback: 536_870_912,
    summary: 'Memory budget for search indexes, in bytes.',
  },
  {
    key: 'http.listen',
    kind: address,
    fallback: '127.0.0.1:8080',
    summary: 'Address of the HTTP API (TCP). Beyond loopback, API keys are required.',
  },
  {
    key: 'http.apiKeys',
    kind: apiKeys,
    fallback: [],
    summary: 'API keys. Without any, every process that reaches loopback may call the API.',
  },
  {
    key: 'http.bodyBytesMax',
    kind: integer(1_024, 268_435_456),
    fallback: 16_777_216,
    summary: 'Largest request body, in bytes.',
  },
  {
    key: 'http.requestsPerMinuteMax',
    kind: integer(0, 1_000_000_000),
    fallback: 60_000,
    summary: 'Requests per minute for each key (each address, without keys); 0: unlimited.',
  },
  {
    key: 'http.eventStreamsMax',
    kind: integer(1, 10_000),
    fallback: 64,
    summary: 'Most event streams open at once.',
  },
  {
    key: 'http.requestTimeoutMs',
    kind: integer(100, 3_600_000),
    fallback: 60_000,
    summary: 'Longest time to receive and answer a request, in milliseconds.',
  },
  {
    key: 'http.connectionsMax',
    kind: integer(1, 100_000),
    fallback: 1_024,
    summary: 'Most HTTP connections open at once; further ones are closed.',
  },
  {
    key: 'http.tls.certificate',
    kind: textOrOff(text('FILE')),
    fallback: 'off',
    summary: 'PEM file with the certificate chain for HTTPS; read again when it changes.',
  },
  {
    key: 'http.tls.key',
    kind: textOrOff(text('FILE')),
    fallback: 'off',
    summary: 'PEM file with the private key of http.tls.certificate.',
  },
  {
    key: 'sync.listen',
    kind: textOrOff(address),
    fallback: '127.0.0.1:4433',
    summary: 'Address for peers (UDP); off: this node only dials.',
  },
  {
    key: 'sync.advertise',
    kind: textOrOff(address),
    fallback: 'off',
    summary: 'Address that peers are told to dial; off: the listening address.',
  },
  {
    key: 'sync.compression',
    kind: choice('adaptive', 'zstd', 'lz4', 'none'),
    fallback: 'adaptive',
    summary: 'Compression of outgoing batches, where the peer supports it.',
  },
  {
    key: 'sync.collectIntervalMs',
    kind: integer(0, 86_400_000),
    fallback: 3_600_000,
    summary:
      'Interval between collections of deletes that all known replicas hold, in milliseconds; 0: never.',
  },
  {
    key: 'sync.replicaRetentionMs',
    kind: integer(0, 315_360_000_000),
    fallback: 2_592_000_000,
    summary:
      'Replicas silent for longer than this no longer hold back collection, in milliseconds.',
  },
  {
    key: 'sync.intervalMs',
    kind: integer(100, 86_400_000),
    fallback: 60_000,
    summary: 'Interval between full checks of a live shard, in milliseconds.',
  },
  {
    key: 'sync.retryMs',
    kind: integer(100, 86_400_000),
    fallback: 10_000,
    summary:
      'Interval between attempts with peers that do not trust this node yet, in milliseconds.',
  },
  {
    key: 'sync.relayDelayMs',
    kind: integer(0, 60_000),
    fallback: 100,
    summary: "Delay before other nodes' changes are relayed, in milliseconds.",
  },
  {
    key: 'sync.batchSize',
    kind: integer(1, 4_096),
    fallback: 256,
    summary: 'Most records per batch; the receiver applies each batch in one transaction.',
  },
  {
    key: 'sync.concurrencyMax',
    kind: integer(1, 1_000),
    fallback: 10,
    summary: 'Most one-off syncs at once.',
  },
  {
    key: 'sync.topology',
    kind: topology,
    fallback: 'mesh',
    summary: 'Selects the peers that this node dials.',
  },
  {
    key: 'peers',
    kind: peers,
    fallback: [],
    summary: 'Peers to sync with. Trust is configured separately.',
  },
  {
    key: 'shards',
    kind: shards,
    fallback: [],
    summary: 'Shards to create at start when missing.',
  },
  {
    key: 'metadataIndexes',
    kind: paths,
    fallback: [],
    summary: 'Metadata paths to index at start, for faster filters.',
  },
  {
    key: 'mcp',
    kind: choice('off', 'read-only', 'read-write'),
    fallback: 'off',
    summary:
      'Serves /mcp, memory for agents by the Model Context Protocol; needs the package sqlite-vector-mcp.',
  },
  {
    key: 'snapshots.folder',
    kind: textOrOff(text('FOLDER')),
    fallback: 'off',
    summary: 'Folder for snapshots taken over HTTP; off: they are disabled.',
  },
  {
    key: 'shutdown.graceMs',
    kind: integer(0, 600_000),
    fallback: 10_000,
    summary: 'Longest wait for requests under way at shutdown, in milliseconds.',
  },
  {
    key: 'shutdown.drainMs',
    kind: integer(0, 600_000),
    fallback: 0,
    summary:
      'Time at shutdown in which /readyz answers 503 and requests are still served, in milliseconds.',
  },
  {
    key: 'audit.file',
    kind: textOrOff(text('FILE')),
    fallback: 'off',
    summary: 'File for the audit log, JSON lines; opened again at SIGHUP.',
  },
  {
    key: 'log.level',
    kind: choice('debug', 'info', 'warn', 'error'),
    fallback: 'info',
    summary: 'Lowest level that is logged.',
  },
]

/** Variables with this prefix that are not settings of a node. */
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

/** Returns true for a variable with this prefix that is not a setting. */
export function isOtherVariable(name: string): boolean {
  return OTHER_VARIABLES.includes(name)
}

function words(key: string): readonly string[] {
  return key.replace(/[A-Z]/g, (letter) => `.${letter.toLowerCase()}`).split('.')
}
