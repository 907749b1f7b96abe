/**
 * Broken set-ups of a node for the tests of `doctor`: how each is broken, what must be found, and the
 * remedy that is followed.
 */

import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createVectorDB } from '@agentic-flow/sqlite-vector'
import { createShardCoordinator, Permissions } from '@agentic-flow/sqlite-vector/sync'
import { openIdentity, TrustList } from '@agentic-flow/sqlite-vector/transport'

import { type Examination } from '../../src/doctor/examine.ts'

import { temporaryFolder } from '../helpers.ts'
import { chownPart, conflict, damage, foreign, newer } from './damage.ts'

const DAY_MS = 86_400_000
const isRoot = process.getuid?.() === 0

/** A node that is in order, to restore from. */
let sound: ReturnType<typeof temporaryFolder>

export async function makeSound(): Promise<void> {
  sound = temporaryFolder()
  const path = join(sound.path, 'a.db')
  using db = await createVectorDB({ path })
  db.createShard('notes', { dimension: 2 })
  db.insert('notes', { id: 'x', embedding: [1, 2] })
  const folder = `${path}-node`
  openIdentity(folder, { nodeId: 'a' })
  TrustList.open(folder).add(openIdentity(join(sound.path, 'other')).certificatePem, 'other')
  Permissions.open(folder).grant('other', '*', 'read')
}

export function removeSound(): void {
  sound?.[Symbol.dispose]()
}

/** A node of one test. */
export interface Place {
  readonly path: string
  readonly folder: string
  /** A file of the node folder. */
  readonly at: (name: string) => string
}

/** One broken set-up. */
export interface Case {
  readonly name: string
  /** Breaks the set-up. What it returns is disposed of after the examination. */
  readonly breaks: (place: Place) => unknown
  readonly check: string
  readonly state: 'warning' | 'failed'
  readonly detail: RegExp
  readonly advice: RegExp
  /** Does what the advice says. */
  readonly follows: (place: Place) => unknown
  readonly with?: Partial<Examination>
  /** What the examination is told after the remedy, such as a clock that was set. */
  readonly after?: Partial<Examination>
  readonly skip?: boolean
}

export function restore({ path }: Place): void {
  rmSync(path, { recursive: true, force: true })
  for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true })
  copyFileSync(join(sound.path, 'a.db'), path)
}

export function restoreFolder({ folder }: Place): void {
  rmSync(folder, { recursive: true, force: true })
  cpSync(join(sound.path, 'a.db-node'), folder, { recursive: true, mode: 0 })
  chmodSync(folder, 0o700)
}

function chmod(name: string, mode: number) {
  return ({ at }: Place): void => chmodSync(at(name), mode)
}

/** A database with a peer registered, and perhaps a node that answers there. */
async function withPeer({ path }: Place, address: string): Promise<void> {
  using db = await createVectorDB({ path })
  await using coordinator = createShardCoordinator(db, 'a')
  coordinator.registerPeer({ nodeId: 'p', address })
}

async function forget({ path }: Place): Promise<void> {
  using db = await createVectorDB({ path })
  await using coordinator = createShardCoordinator(db, 'a')
  coordinator.unregisterPeer('p')
}

const RESTORE = /restore|init -d/
const HOME = {
  check: 'node folder',
  state: 'failed',
  detail: /damaged|missing|belong|folder/,
  advice: /Restore|Move|init/,
} as const

export const CASES: readonly Case[] = [
  {
    name: 'no file',
    breaks: ({ path }) => rmSync(path),
    check: 'file',
    state: 'failed',
    detail: /does not exist/,
    advice: RESTORE,
    follows: restore,
  },
  {
    name: 'a link to nowhere',
    breaks: ({ path }) => (rmSync(path), symlinkSync('/nowhere/x.db', path)),
    check: 'file',
    state: 'failed',
    detail: /link to a file that does not exist/,
    advice: /path/,
    follows: restore,
  },
  {
    name: 'a folder',
    breaks: ({ path }) => (rmSync(path), mkdirSync(path)),
    check: 'file',
    state: 'failed',
    detail: /not a file/,
    advice: /path/,
    follows: restore,
  },
  {
    name: 'an empty file',
    breaks: ({ path }) => writeFileSync(path, ''),
    check: 'file',
    state: 'failed',
    detail: /is empty/,
    advice: RESTORE,
    follows: restore,
  },
  {
    name: 'a text',
    breaks: ({ path }) => writeFileSync(path, 'not a database '.repeat(500)),
    check: 'file',
    state: 'failed',
    detail: /STORE_CORRUPT/,
    advice: /restore|snapshot/,
    follows: restore,
  },
  {
    name: 'a file cut in the middle',
    breaks: ({ path }) => truncateSync(path, 50_000),
    check: 'file',
    state: 'failed',
    detail: /./,
    advice: /restore|snapshot/,
    follows: restore,
  },
  {
    name: 'a damaged page',
    breaks: ({ path }) => damage(path),
    check: 'file',
    state: 'failed',
    detail: /./,
    advice: /restore|snapshot/,
    follows: restore,
  },
  {
    name: 'the database of another program',
    breaks: ({ path }) => foreign(path),
    check: 'contents',
    state: 'failed',
    detail: /STORE_/,
    advice: /./,
    follows: restore,
  },
  {
    name: 'the schema of a newer release',
    breaks: ({ path }) => newer(path),
    check: 'contents',
    state: 'failed',
    detail: /STORE_SCHEMA_TOO_NEW/,
    advice: /[Uu]pgrade|newer|release/,
    follows: restore,
  },
  {
    name: 'a log that does not shrink',
    breaks: ({ path }) => (
      writeFileSync(`${path}-wal`, ''),
      truncateSync(`${path}-wal`, 300 * 1_048_576)
    ),
    check: 'write-ahead log',
    state: 'warning',
    detail: /300/,
    advice: /End it/,
    follows: ({ path }) => rmSync(`${path}-wal`),
  },
  {
    name: 'a node folder that others may enter',
    breaks: ({ folder }) => chmodSync(folder, 0o755),
    check: 'permissions',
    state: 'failed',
    detail: /a\.db-node/,
    advice: /chmod 700/,
    follows: ({ folder }) => chmodSync(folder, 0o700),
  },
  {
    name: 'a key that others may read',
    breaks: chmod('key.pem', 0o644),
    check: 'permissions',
    state: 'failed',
    detail: /key\.pem/,
    advice: /chmod 600/,
    follows: chmod('key.pem', 0o600),
  },
  {
    name: 'a trust list that others may write',
    breaks: chmod('trust.json', 0o666),
    check: 'permissions',
    state: 'failed',
    detail: /trust\.json/,
    advice: /chmod 600/,
    follows: chmod('trust.json', 0o600),
  },
  {
    name: 'grants that others may read',
    breaks: chmod('permissions.json', 0o644),
    check: 'permissions',
    state: 'failed',
    detail: /permissions\.json/,
    advice: /chmod 600/,
    follows: chmod('permissions.json', 0o600),
  },
  {
    name: 'an authority key that the group may read',
    breaks: ({ at }) => (
      mkdirSync(at('authority')),
      writeFileSync(at('authority/authority-key.pem'), 'x'),
      chmodSync(at('authority/authority-key.pem'), 0o640)
    ),
    check: 'permissions',
    state: 'failed',
    detail: /authority-key/,
    advice: /chmod 600/,
    follows: chmod('authority/authority-key.pem', 0o600),
  },
  {
    name: 'a database that everyone may write',
    breaks: ({ path }) => chmodSync(path, 0o666),
    check: 'permissions',
    state: 'failed',
    detail: /a\.db/,
    advice: /chmod 640/,
    follows: ({ path }) => chmodSync(path, 0o640),
  },
  {
    name: 'no node folder',
    breaks: ({ folder }) => rmSync(folder, { recursive: true }),
    ...HOME,
    state: 'warning',
    detail: /missing/,
    follows: restoreFolder,
  },
  {
    name: 'a file in the place of the node folder',
    breaks: ({ folder }) => (rmSync(folder, { recursive: true }), writeFileSync(folder, '')),
    ...HOME,
    follows: restoreFolder,
  },
  { name: 'no key', breaks: ({ at }) => rmSync(at('key.pem')), ...HOME, follows: restoreFolder },
  {
    name: 'no certificate',
    breaks: ({ at }) => rmSync(at('certificate.pem')),
    ...HOME,
    follows: restoreFolder,
  },
  {
    name: 'the key of another node',
    breaks: ({ at }) => copyFileSync(join(sound.path, 'other', 'key.pem'), at('key.pem')),
    ...HOME,
    detail: /does not belong/,
    follows: restoreFolder,
  },
  {
    name: 'the certificate of another node',
    breaks: ({ at }) =>
      copyFileSync(join(sound.path, 'other', 'certificate.pem'), at('certificate.pem')),
    ...HOME,
    detail: /does not belong/,
    follows: restoreFolder,
  },
  {
    name: 'a damaged key',
    breaks: ({ at }) => writeFileSync(at('key.pem'), 'x', { mode: 0o600 }),
    ...HOME,
    detail: /damaged/,
    follows: restoreFolder,
  },
  {
    name: 'a damaged certificate',
    breaks: ({ at }) => writeFileSync(at('certificate.pem'), 'x'),
    ...HOME,
    detail: /damaged/,
    follows: restoreFolder,
  },
  {
    name: 'a damaged trust list',
    breaks: ({ at }) => writeFileSync(at('trust.json'), '{'),
    ...HOME,
    detail: /trust\.json is damaged/,
    follows: restoreFolder,
  },
  {
    name: 'damaged grants',
    breaks: ({ at }) => writeFileSync(at('permissions.json'), '[{'),
    ...HOME,
    detail: /permissions\.json is damaged/,
    follows: restoreFolder,
  },
  {
    name: 'a damaged membership',
    breaks: ({ at }) => writeFileSync(at('membership.json'), 'x'),
    ...HOME,
    detail: /membership\.json is damaged/,
    follows: ({ at }) => rmSync(at('membership.json')),
  },
  {
    name: 'a key that another user owns',
    skip: !isRoot,
    breaks: ({ at }) => chownSync(at('key.pem'), 1_234, 1_234),
    check: 'owner',
    state: 'failed',
    detail: /key\.pem/,
    advice: /chown 0:0/,
    follows: ({ at }) => chownSync(at('key.pem'), 0, 0),
  },
  {
    name: 'a node folder that another user owns',
    skip: !isRoot,
    breaks: ({ folder }) => chownSync(folder, 1_234, 1_234),
    check: 'owner',
    state: 'failed',
    detail: /a\.db-node/,
    advice: /chown 0:0/,
    follows: ({ folder }) => chownSync(folder, 0, 0),
  },
  {
    name: 'a log that root left to the service',
    skip: !isRoot,
    breaks: ({ path }) => (
      writeFileSync(`${path}-wal`, ''),
      chownSync(path, 1_234, 1_234),
      chownPart(path)
    ),
    check: 'owner',
    state: 'failed',
    detail: /a\.db-wal/,
    advice: /chown 1234:1234/,
    follows: ({ path }) => chownSync(`${path}-wal`, 1_234, 1_234),
  },
  {
    name: 'an expired certificate',
    breaks: () => undefined,
    with: { nowMs: Date.now() + 12 * 365 * DAY_MS },
    check: 'certificate',
    state: 'failed',
    detail: /expired/,
    advice: /rotate keys/,
    follows: () => undefined,
    after: {},
  },
  {
    name: 'a certificate that ends soon',
    breaks: () => undefined,
    with: { nowMs: Date.now() + (3_650 - 20) * DAY_MS },
    check: 'certificate',
    state: 'warning',
    detail: /until/,
    advice: /rotate keys/,
    follows: () => undefined,
    after: {},
  },
  {
    name: 'a clock years behind',
    breaks: () => undefined,
    with: { nowMs: Date.parse('2006-01-01') },
    check: 'certificate',
    state: 'failed',
    detail: /not valid yet/,
    advice: /clock/,
    follows: () => undefined,
    after: {},
  },
  {
    name: 'a clock behind the newest commit',
    breaks: () => undefined,
    with: { nowMs: Date.now() - 300_000 },
    check: 'clock',
    state: 'failed',
    detail: /commit is dated/,
    advice: /NTP/,
    follows: () => undefined,
    after: {},
  },
  {
    name: 'the trusted certificate of a peer expired',
    breaks: () => undefined,
    with: { nowMs: Date.now() + 12 * 365 * DAY_MS },
    check: 'trust other',
    state: 'failed',
    detail: /expired/,
    advice: /trust add/,
    follows: () => undefined,
    after: {},
  },
  {
    name: 'a restore that was interrupted',
    breaks: ({ path }) => writeFileSync(`${path}.restoring`, ''),
    check: 'leftovers',
    state: 'warning',
    detail: /restoring/,
    advice: /rm /,
    follows: ({ path }) => rmSync(`${path}.restoring`),
  },
  {
    name: 'a conflict that waits',
    breaks: conflict,
    check: 'shard notes',
    state: 'warning',
    detail: /open conflicts/,
    advice: /conflicts resolve/,
    follows: resolve,
  },
  {
    name: 'a peer that does not answer',
    breaks: (place) => withPeer(place, '127.0.0.1:9'),
    with: { offline: false, pingMs: 300 },
    check: 'peer p',
    state: 'failed',
    detail: /127\.0\.0\.1:9/,
    advice: /UDP|address/,
    follows: forget,
  },
  {
    name: 'a peer whose name does not resolve',
    breaks: (place) => withPeer(place, 'no-such-host.invalid:4433'),
    with: { offline: false, pingMs: 2_000 },
    check: 'peer p',
    state: 'failed',
    detail: /no-such-host/,
    advice: /resolve|UDP|address/,
    follows: forget,
  },
  {
    name: 'a peer that this node does not trust',
    breaks: (place) => stranger(place),
    with: { offline: false },
    check: 'peer p',
    state: 'failed',
    detail: /UNTRUSTED/,
    advice: /trust add/,
    follows: forget,
  },
  {
    name: 'a temporary folder that is full',
    skip: !existsSync('/proc/self'),
    breaks: () => undefined,
    with: { copyFolder: '/proc' },
    check: 'contents',
    state: 'warning',
    detail: /no room/,
    advice: /TMPDIR/,
    follows: () => undefined,
    after: {},
  },
]

async function resolve({ path }: Place): Promise<void> {
  using db = await createVectorDB({ path })
  db.resolveConflict('notes', 'x', { value: { embedding: [1, 1] } })
}

async function stranger(place: Place): Promise<AsyncDisposable> {
  const home = temporaryFolder()
  const db = await createVectorDB({ path: join(home.path, 'b.db') })
  const coordinator = createShardCoordinator(db, 'b')
  await withPeer(place, await coordinator.sync.listen('127.0.0.1:0'))
  return {
    async [Symbol.asyncDispose]() {
      await coordinator.close()
      db.close()
      home[Symbol.dispose]()
    },
  }
}
