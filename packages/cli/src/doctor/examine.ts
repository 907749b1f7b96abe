/**
 * One examination of a node by `doctor`, which changes nothing: it reads the files where they lie,
 * and opens a copy of the database in a private folder to look inside.
 *
 * A copy of a file that is written meanwhile may be torn; it is copied again then. Where there is
 * no room for a copy, the contents are not looked at, and a finding says so.
 */
import {
  constants,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  rmSync,
  statSync,
} from 'node:fs'
import { statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { nameOfFile, nodeFolder } from '../command.ts'
import { formatBytes } from '../terminal.ts'
import * as checks from './checks.ts'
import { failed, type Finding, ofError, ok, warning } from './finding.ts'
import * as surroundings from './surroundings.ts'

export interface Examination {
  readonly signal: AbortSignal
  /** Contact no peer. */
  readonly offline: boolean
  /** @defaultValue now */
  readonly nowMs?: number
  /** Longest wait for a peer, in milliseconds. */
  readonly pingMs?: number
  /** Folder for the copy. @defaultValue the system's temporary folder */
  readonly copyFolder?: string
}

/** Attempts at a copy of a file that is being written. */
const COPIES_MAX = 3

export async function examine(path: string, examination: Examination): Promise<readonly Finding[]> {
  const unusable = notAFile(path)
  if (unusable !== null) return [unusable]
  const folder = nodeFolder(path)
  const { nowMs = Date.now() } = examination
  const { holderOfDatabase } = await import('@agentic-flow/sqlite-vector-server')
  const holder = await holderOfDatabase(path)
  const around = [
    checks.checkWal(path),
    ...surroundings.checkNodeFolder(path, folder),
    ...checks.checkFileModes(path, folder),
    surroundings.checkOwners(path, folder),
    surroundings.checkProcesses(path, holder),
    ...surroundings.checkLeftovers(path),
    await checks.checkDisk(path),
    ...(existsSync(join(folder, 'certificate.pem')) ? checks.checkCertificates(folder, nowMs) : []),
  ]
  // Peers would take this process for a copy of the node that has the same key.
  const isServed = holder !== null && !examination.offline
  const peers = isServed
    ? [
        ok(
          'peers',
          `not contacted: process ${holder} serves this file; ask it: peers --check --url`,
        ),
      ]
    : []
  const offline = examination.offline || isServed
  const within = await inside(path, folder, { ...examination, offline }, nowMs)
  return [...within, ...peers, ...around]
}

function notAFile(path: string): Finding | null {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) {
    const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true
    const what = isLink
      ? `${path} is a link to a file that does not exist`
      : `${path} does not exist`
    return failed('file', what, `Correct the path, or create it: sqlite-vector init -d ${path}`)
  }
  if (!found.isFile())
    return failed('file', `${path} is not a file`, 'Give the path of the database file.')
  if (found.size === 0) {
    return failed(
      'file',
      `${path} is empty`,
      `Restore a snapshot (sqlite-vector restore --replace), or create it: rm ${path}; sqlite-vector init -d ${path}`,
    )
  }
  return null
}

async function inside(
  path: string,
  folder: string,
  examination: Examination,
  nowMs: number,
): Promise<readonly Finding[]> {
  const place = examination.copyFolder ?? tmpdir()
  const bytes =
    statSync(path).size + (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0)
  const { bavail, bsize } = await statfs(place)
  if (bavail * bsize < 2 * bytes) {
    const advice = 'Set TMPDIR to a folder with more space, and run doctor again.'
    return [
      warning(
        'contents',
        `not checked: ${place} has no room for ${formatBytes(2 * bytes)}`,
        advice,
      ),
    ]
  }
  const copies = mkdtempSync(join(place, 'sqlite-vector-doctor-'))
  try {
    const copy = join(copies, basename(path))
    let file = copied(path, copy)
    for (let again = 1; again < COPIES_MAX && file.state === 'failed'; again += 1) {
      file = copied(path, copy)
    }
    // A damaged file is not opened, not even its copy.
    if (file.state === 'failed') return [file]
    if (existsSync(folder)) cpSync(folder, nodeFolder(copy), { recursive: true })
    return [file, ...(await contents(copy, path, examination, nowMs))]
  } catch (error) {
    return [ofError('contents', error)]
  } finally {
    rmSync(copies, { recursive: true, force: true })
  }
}

/**
 * Copies the database and checks the copy: to check the file itself would leave a log beside it.
 */
function copied(path: string, copy: string): Finding {
  copyDatabase(path, copy)
  const file = checks.checkFile(copy)
  return { ...file, detail: file.detail.replaceAll(copy, path) }
}

function copyDatabase(from: string, to: string): void {
  for (const suffix of ['', '-wal']) {
    rmSync(`${to}${suffix}`, { force: true })
    // A file system that can shares the blocks.
    if (existsSync(`${from}${suffix}`))
      copyFileSync(`${from}${suffix}`, `${to}${suffix}`, constants.COPYFILE_FICLONE)
  }
  rmSync(`${to}-shm`, { force: true })
}

async function contents(
  copy: string,
  path: string,
  { signal, offline, pingMs }: Examination,
  nowMs: number,
): Promise<readonly Finding[]> {
  const { createVectorDB } = await import('@agentic-flow/sqlite-vector')
  using db = await createVectorDB({ path: copy })
  const found = [
    ...checks.checkShards(db),
    ...checks.checkIndexes(db),
    checks.checkClock(db, nowMs),
    ...surroundings.checkWeight(
      db
        .shards()
        .map(({ shardId, dimension }) => ({ shardId, dimension, recordCount: db.count(shardId) })),
    ),
  ]
  if (offline || !existsSync(join(nodeFolder(copy), 'key.pem'))) return found
  try {
    const { createShardCoordinator } = await import('@agentic-flow/sqlite-vector/sync')
    await using coordinator = createShardCoordinator(db, nameOfFile(path))
    return [...found, ...(await checks.checkPeers(coordinator, signal, pingMs))]
  } catch (error) {
    return [...found, ofError('peers', error)]
  }
}
