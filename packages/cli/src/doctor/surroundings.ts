/**
 * Checks of the files beside a database, the processes on it, and the machine under it. Everything
 * is read only; what cannot be read is a finding.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { formatBytes, formatCount } from '../terminal.ts'
import { failed, type Finding, ok, warning } from './finding.ts'

/** Records of one shard beyond which one machine gets slow. */
const SHARD_RECORDS_MANY = 5_000_000

/** Share of the machine's memory that vectors may take. */
const MEMORY_SHARE = 0.5

/** The part of a shard's state that its weight depends on. */
export interface ShardWeight {
  readonly shardId: string
  readonly recordCount: number
  readonly dimension: number
}

/**
 * Checks that the node folder has a key and its certificate, and that its JSON files can be read.
 */
export function checkNodeFolder(path: string, folder: string): readonly Finding[] {
  const found = lstatSync(folder, { throwIfNoEntry: false })
  if (found === undefined) {
    return [
      warning(
        'node folder',
        `${folder} is missing: this database has no node yet`,
        `sqlite-vector init -d ${path} makes it; after a move, bring the folder along with the file.`,
      ),
    ]
  }
  if (!found.isDirectory()) {
    return [
      failed(
        'node folder',
        `${folder} is not a folder`,
        `Move ${folder} away, then run: sqlite-vector init -d ${path}`,
      ),
    ]
  }
  const findings = [...checkKeyPair(path, folder), ...checkJson(folder)]
  return findings.length === 0
    ? [ok('node folder', 'key, certificate and lists are readable')]
    : findings
}

function checkKeyPair(path: string, folder: string): readonly Finding[] {
  const [keyFile, certificateFile] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
  const key = readFile(keyFile)
  const certificate = readFile(certificateFile)
  const remake = `Restore ${folder} from a backup, or move both files away and run: sqlite-vector init -d ${path}; peers must then trust the new certificate.`
  if (key === null || certificate === null) {
    const missing = key === null ? keyFile : certificateFile
    return [failed('node folder', `${missing} is missing or cannot be read`, remake)]
  }
  try {
    const isPair = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))
    if (isPair) return []
    return [failed('node folder', `${keyFile} does not belong to ${certificateFile}`, remake)]
  } catch {
    return [failed('node folder', `${keyFile} or ${certificateFile} is damaged`, remake)]
  }
}

const JSON_FILES = ['trust.json', 'permissions.json', 'membership.json'] as const

function checkJson(folder: string): readonly Finding[] {
  return JSON_FILES.flatMap((name) => {
    const file = join(folder, name)
    if (lstatSync(file, { throwIfNoEntry: false }) === undefined) return []
    try {
      JSON.parse(readFileSync(file, 'utf8'))
      return []
    } catch {
      const advice = `Restore ${file} from a backup, or move it away and enter its contents again.`
      return [failed('node folder', `${file} is damaged or cannot be read`, advice)]
    }
  })
}

/** Checks that the files of a node belong to the owner of its database. */
export function checkOwners(path: string, folder: string): Finding {
  if (process.platform === 'win32') return ok('owner', 'not checked on Windows')
  const { uid, gid } = lstatSync(realpathSync(path))
  const foreign = filesOf(path, folder).filter((file) => lstatSync(file).uid !== uid)
  const own = process.getuid?.() ?? uid
  if (foreign.length > 0) {
    return failed(
      'owner',
      `${foreign.join(', ')} ${foreign.length === 1 ? 'does' : 'do'} not belong to the owner of the database (user ${uid})`,
      `chown ${uid}:${gid} ${foreign.join(' ')}; run commands on this database as user ${uid}.`,
    )
  }
  if (own === uid) return ok('owner', `user ${uid}`)
  return ok('owner', `user ${uid}; doctor runs as user ${own}`)
}

function filesOf(path: string, folder: string): readonly string[] {
  const beside = ['-wal', '-shm', '-index'].map((suffix) => `${path}${suffix}`)
  const inside = readableFolder(folder).map((name) => join(folder, name))
  return [...beside, folder, ...inside].filter(
    (file) => lstatSync(file, { throwIfNoEntry: false }) !== undefined,
  )
}

/** Looks for files that an interrupted command left beside the database. */
export function checkLeftovers(path: string): readonly Finding[] {
  const left = [`${path}.restoring`, `${path}.partial`].filter(
    (file) => lstatSync(file, { throwIfNoEntry: false }) !== undefined,
  )
  return left.map((file) =>
    warning('leftovers', `${file} was left by an interrupted command`, `Remove it: rm ${file}`),
  )
}

/** Names the other processes that have the database or its log open. */
export function checkProcesses(path: string, holder: string | null): Finding {
  const pids = processesOn(realpathSync(path))
  const node = holder === null ? '' : `process ${holder} serves it`
  const others = pids.filter((pid) => pid !== holder).map((pid) => `process ${pid}`)
  const detail = [node, ...others].filter((part) => part !== '').join(', ')
  return ok('processes', detail === '' ? 'no other process has the file open' : detail)
}

/** Processes of this machine that have a file, or its log, open; Linux tells, others do not. */
export function processesOn(real: string): readonly string[] {
  const files = new Set([real, `${real}-wal`])
  return readableFolder('/proc')
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .filter((pid) => {
      const folder = `/proc/${pid}/fd`
      return readableFolder(folder).some((name) => files.has(linkOf(join(folder, name)) ?? ''))
    })
}

/** Checks what the shards weigh against this machine. */
export function checkWeight(
  shards: readonly ShardWeight[],
  memoryBytes: number = totalmem(),
): readonly Finding[] {
  const bytes = shards.reduce(
    (sum, { recordCount, dimension }) => sum + recordCount * dimension * 4,
    0,
  )
  const findings: Finding[] = []
  if (bytes > MEMORY_SHARE * memoryBytes) {
    findings.push(
      warning(
        'memory',
        `vectors take ${formatBytes(bytes)}, the machine has ${formatBytes(memoryBytes)}`,
        'Lower --search-memory-bytes, so that indexes are kept small, or move shards to another machine.',
      ),
    )
  }
  for (const { shardId, recordCount } of shards) {
    if (recordCount <= SHARD_RECORDS_MANY) continue
    const advice = 'Split it into several shards, or hand its feed on to a distributed engine.'
    findings.push(
      warning('memory', `shard ${shardId} has ${formatCount(recordCount)} records`, advice),
    )
  }
  return findings.length > 0 ? findings : [ok('memory', `vectors take ${formatBytes(bytes)}`)]
}

function readFile(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

/** Names in a folder; none where it cannot be read. */
function readableFolder(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}
