/**
 * Lint rules, and the layers of the code as one table of rooms.
 *
 * Each row of {@link ROOMS} lists the rooms that its files must not import, types included. Imports run
 * down only; ARCHITECTURE.md, section 3, draws the same order. `import/no-cycle` counts type imports too.
 */
import { defineConfig } from 'oxlint'

const LIBRARY = 'packages/sqlite-vector/src'
const SERVER = 'packages/server/src'

/** Modules with one home each: `home` is the glob of the files that may import them. */
const HOMES = [
  {
    names: ['@matrixai/*', '@infisical/*', 'node:dgram', 'dgram'],
    message: 'only transport/quic talks to the QUIC engine and opens UDP sockets',
    home: `${LIBRARY}/transport/quic/**`,
  },
  {
    names: ['node:sqlite'],
    message: 'only platform/node names SQLite; the store takes it from #platform',
    home: `${LIBRARY}/platform/node/**`,
  },
] as const

/** Rooms that run on any platform: they take what differs from `#platform`. */
const CORE = ['*.ts', 'clock', 'model', 'search', 'store', 'sync', 'sealed'].map(
  (name) => `${LIBRARY}/${name}`,
)

interface Room {
  /** Globs of the room's files. */
  readonly files: readonly string[]
  /** Globs of import specifiers that the room must not use. */
  readonly bans: readonly string[]
  readonly message: string
}

const room = (
  files: string | readonly string[],
  bans: readonly string[],
  message: string,
): Room => ({
  files: (typeof files === 'string' ? [files] : files).map((glob) =>
    glob.startsWith('packages/') ? glob : `${LIBRARY}/${glob}`,
  ),
  bans,
  message,
})

const within = (...names: readonly string[]): string[] => names.map((name) => `**/${name}/**`)
const NETWORK = within('transport')
const DOORS = [
  '**/store/vector-db.ts',
  '**/store/snapshot.ts',
  '**/quic-sync.ts',
  '**/coordinator.ts',
]

/** Bottom up. A later row wins over an earlier one that matches the same file. */
const ROOMS: readonly Room[] = [
  room(
    ['*.ts', 'clock/**'],
    within('model', 'search', 'store', 'sync', 'transport', 'sealed', 'testing'),
    'the ground imports nothing above it',
  ),
  room(
    'platform/**',
    within('model', 'search', 'store', 'sync', 'transport', 'sealed', 'testing'),
    'a platform knows nothing of the library',
  ),
  room(
    'platform/node/**',
    within('model', 'search', 'store', 'sync', 'transport', 'sealed', 'testing'),
    'a platform knows nothing of the library',
  ),
  room('index.ts', within('sync', 'transport', 'sealed'), 'the package root loads no network code'),
  room(
    'model/**',
    within('search', 'store', 'sync', 'transport', 'sealed'),
    'the model sees the ground only',
  ),
  room(
    'search/**',
    within('store', 'sync', 'transport', 'sealed'),
    'search sees vectors and values, not rows or SQL',
  ),
  room('store/**', within('sync', 'transport', 'sealed'), 'the store knows no network'),
  room(
    'store/file/**',
    [...within('feed', 'local', 'replica', 'search-index', 'query', 'sync', 'transport'), ...DOORS],
    'the open file is the lowest room of the store',
  ),
  room(
    'store/feed/**',
    [...within('local', 'replica', 'search-index', 'query', 'sync', 'transport'), ...DOORS],
    'the feed sees the open file and the model; writers and readers see the feed',
  ),
  room(
    ['store/local/**', 'store/search-index/**'],
    [...within('replica', 'query', 'sync', 'transport'), ...DOORS],
    'local writes and the search index see the feed, not replication or queries',
  ),
  room(
    'store/replica/**',
    [...within('query', 'sync', 'transport'), ...DOORS],
    'replication sees the feed and local writes, not queries',
  ),
  room(
    'store/query/**',
    [...within('sync', 'transport'), ...DOORS],
    'queries read the store; they know no network',
  ),
  room(
    'sync/wire/**',
    [
      ...within('session', 'node', 'live', 'access', 'members', 'coordination'),
      ...NETWORK,
      ...DOORS,
    ],
    'codecs are pure: no sessions, no transport',
  ),
  room(
    'sync/session/**',
    [...within('node', 'live', 'access', 'members', 'coordination'), ...NETWORK, ...DOORS],
    'sessions decide; they know no transport',
  ),
  room(
    ['sync/access/**', 'sync/live/**', 'sync/members/**'],
    [...within('node', 'coordination'), '**/quic-sync.ts', '**/coordinator.ts'],
    'who may, who is told and who is there do not see the node that runs them',
  ),
  room(
    'sync/node/**',
    [...within('coordination'), '**/quic-sync.ts', '**/coordinator.ts'],
    'the node does not see its coordinator',
  ),
  room(
    'transport/**',
    within('model', 'search', 'store', 'sync', 'sealed'),
    'transport sees the ground and the clock only',
  ),
  room(
    'transport/quic/**',
    within('model', 'search', 'store', 'sync', 'sealed'),
    'transport sees the ground and the clock only',
  ),
  room(
    'sealed/**',
    [...within('session', 'node', 'live', 'members', 'coordination'), ...NETWORK],
    'sealed shards see the store and the codecs, not the network',
  ),
  room(
    `${SERVER}/config/**`,
    ['**/http/*', '**/metrics/*', '**/node.ts', 'fastify', 'prom-client'],
    'the configuration is pure',
  ),
  room(
    `${SERVER}/metrics/**`,
    ['**/http/*', '**/config/*', '**/node.ts', 'fastify'],
    'metrics know the library only',
  ),
  room(
    `${SERVER}/http/routes/**`,
    ['**/node.ts', 'fastify', 'fastify/*', 'prom-client'],
    'routes are values; app.ts runs them',
  ),
]

type Pattern = { readonly group: readonly string[]; readonly message: string }

/** Modules of Node, which the core must not name. */
const NODE_MODULES: Pattern = {
  group: ['node:*'],
  message: 'the core is platform-neutral: import from #platform, or add to platform/types.ts',
}

/** An override replaces the whole value of a rule, so each room repeats the bans that hold everywhere. */
function restrictions(files: readonly string[], own: readonly Pattern[]): ['error', object] {
  const homes = HOMES.filter(
    ({ home }) => !files.some((glob) => glob.startsWith(home.replace('/**', ''))),
  )
  return [
    'error',
    {
      patterns: [
        ...homes.map(({ names, message }) => ({ group: [...names], message })),
        ...(files.some((glob) => CORE.some((core) => glob.startsWith(core))) ? [NODE_MODULES] : []),
        ...own,
      ],
    },
  ]
}

export default defineConfig({
  plugins: ['typescript', 'import', 'unicorn', 'promise', 'node'],
  categories: { correctness: 'error', suspicious: 'error' },
  ignorePatterns: ['**/dist/**', '**/node_modules/**', '**/kernels/assembly/**'],
  rules: {
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/switch-exhaustiveness-check': 'error',
    'typescript/no-explicit-any': 'error',
    'import/no-cycle': ['error', { ignoreTypes: false }],
    'import/no-default-export': 'error',
    'unicorn/no-array-sort': 'off',
    'unicorn/require-post-message-target-origin': 'off',
    'no-await-in-loop': 'off',
    'typescript/no-unsafe-type-assertion': 'off',
    'max-lines-per-function': ['error', { max: 70, skipComments: true, skipBlankLines: true }],
    'max-lines': ['error', { max: 500, skipComments: true, skipBlankLines: true }],
    'no-restricted-imports': restrictions([], []),
  },
  overrides: [
    ...ROOMS.map(({ files, bans, message }) => ({
      files: [...files],
      rules: { 'no-restricted-imports': restrictions(files, [{ group: bans, message }]) },
    })),
    {
      files: ['**/tests/**', 'benchmarks/**', 'scripts/**', 'examples/**', '*.config.ts'],
      rules: {
        'max-lines-per-function': 'off',
        'no-restricted-imports': 'off',
        'import/no-default-export': 'off',
      },
    },
  ],
})
