/**
 * The checks of `doctor`: one function per subject, each returning findings with their remedies.
 *
 * Nothing is repaired here. `recount()` corrects stored counts that it finds wrong.
 */
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { X509Certificate } from 'node:crypto'
import { checkIntegrity, type SQLiteVectorDB } from '@agentic-flow/sqlite-vector'
import { SqliteVectorError } from '@agentic-flow/sqlite-vector/errors'
import type { ShardCoordinator } from '@agentic-flow/sqlite-vector/sync'
import { formatBytes, formatCount } from '../terminal.ts'
import { failed, type Finding, ofError, ok, warning } from './finding.ts'
import { processesOn } from './surroundings.ts'

const DAY_MS = 86_400_000
/**
 * A certificate that expires sooner gives a warning: half the period in which a cluster renews it.
 */
const CERTIFICATE_DAYS = 60
/** The drift bound for stamps of peers. */
const CLOCK_MS = 60_000
const WAL_BYTES = 268_435_456
const PING_MS = 5_000

/** Checks the database file page by page. */
export function checkFile(path: string): Finding {
  try {
    const complaints = checkIntegrity(path)
    if (complaints.length === 0) return ok('file', `${formatBytes(statSync(path).size)}, sound`)
    return failed(
      'file',
      complaints.slice(0, 3).join('; '),
      'The file is damaged: stop the node, restore a snapshot (`restore --replace`) or remove the file and sync a new one from a peer.',
    )
  } catch (error) {
    return ofError('file', error)
  }
}

/** Checks counts and digests against the rows; reports open conflicts and quarantine. */
export function checkShards(db: SQLiteVectorDB): readonly Finding[] {
  return db.shards().flatMap(({ shardId }) => {
    const check = `shard ${shardId}`
    const { correct, recordCount } = db.recount(shardId)
    const { conflictCount, quarantineCount } = db.replica.shardState(shardId)
    const findings: Finding[] = []
    if (!correct) {
      const advice =
        'The counts are corrected; please report this. Compare the rows with a peer: `verify --peer ADDRESS`.'
      findings.push(failed(check, 'stored counts differed from the rows', advice))
    }
    if (quarantineCount > 0) {
      const advice = `\`quarantine list ${shardId}\` says why; \`quarantine retry ${shardId}\` after an upgrade.`
      findings.push(warning(check, `${quarantineCount} changes in quarantine`, advice))
    }
    if (conflictCount > 0) {
      const advice = `\`conflicts list ${shardId}\`, then \`conflicts resolve\`.`
      findings.push(warning(check, `${conflictCount} open conflicts`, advice))
    }
    return findings.length > 0
      ? findings
      : [ok(check, `${formatCount(recordCount)} records, counts right`)]
  })
}

/** Checks the search index of each shard. */
export function checkIndexes(db: SQLiteVectorDB): readonly Finding[] {
  return db.shards().map(({ shardId }) => {
    const { index } = db.explain(shardId)
    const check = `index ${shardId}`
    if (index.state !== 'unavailable') return ok(check, index.state)
    const advice =
      'Searches scan the file until then. Raise the memory budget (`--search-memory-bytes`).'
    return warning(check, index.reason ?? 'no index', advice)
  })
}

/** Checks the write-ahead log, which grows while a read transaction stays open. */
export function checkWal(path: string): Finding {
  const bytes = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0
  if (bytes <= WAL_BYTES) return ok('write-ahead log', formatBytes(bytes))
  const holders = existsSync(path) ? processesOn(realpathSync(path)) : []
  const who = holders.length === 0 ? 'A process' : `Process ${holders.join(' or ')}`
  const advice = `${who} holds a read transaction open. End it; the log shrinks at the next checkpoint.`
  return warning(
    'write-ahead log',
    `${formatBytes(bytes)}, and it should be folded in at 4 MiB`,
    advice,
  )
}

/** Checks that other users cannot read keys, trust and data. */
export function checkFileModes(path: string, folder: string): readonly Finding[] {
  if (process.platform === 'win32') return [ok('permissions', 'not checked on Windows')]
  const wanted = [
    { file: folder, mask: 0o077, want: '700' },
    { file: join(folder, 'key.pem'), mask: 0o077, want: '600' },
    { file: join(folder, 'trust.json'), mask: 0o077, want: '600' },
    { file: join(folder, 'permissions.json'), mask: 0o077, want: '600' },
    { file: join(folder, 'authority', 'authority-key.pem'), mask: 0o077, want: '600' },
    { file: path, mask: 0o022, want: '640' },
  ]
  const open = wanted.filter(({ file, mask }) => {
    const mode = statSync(file, { throwIfNoEntry: false })?.mode
    return mode !== undefined && (mode & mask) !== 0
  })
  if (open.length === 0) return [ok('permissions', 'keys are private')]
  return open.map(({ file, want }) =>
    failed(
      'permissions',
      `${file} can be accessed by other users`,
      `chmod ${want} ${file}; if a key may have been read, replace it (runbook: rotate keys).`,
    ),
  )
}

/** Checks this clock against the newest write in the file. */
export function checkClock(db: SQLiteVectorDB, nowMs: number): Finding {
  const newestMs = Math.max(0, ...db.replica.shardStates().map(({ updatedAtMs }) => updatedAtMs))
  const aheadMs = newestMs - nowMs
  if (aheadMs <= CLOCK_MS) return ok('clock', new Date(nowMs).toISOString())
  return failed(
    'clock',
    `the clock says ${new Date(nowMs).toISOString()}, but a commit is dated ${new Date(newestMs).toISOString()}`,
    'Set the clock (NTP). A wrong clock picks the wrong winner of concurrent writes; no write is lost.',
  )
}

/** Checks the validity of this node's certificate and of the trusted ones. */
export function checkCertificates(folder: string, nowMs: number): readonly Finding[] {
  const findings: Finding[] = []
  try {
    const own = new X509Certificate(readFileSync(join(folder, 'certificate.pem')))
    findings.push(
      certificateFinding(
        'certificate',
        own,
        nowMs,
        'A cluster renews it when its authority can be reached; otherwise follow the runbook: rotate keys.',
      ),
    )
    const trust = JSON.parse(readText(join(folder, 'trust.json')) ?? '{}') as {
      entries?: { certificatePem: string; nodeId: string | null }[]
      authorities?: { certificatePem: string; nodeId: string | null }[]
    }
    for (const { certificatePem, nodeId } of [
      ...(trust.entries ?? []),
      ...(trust.authorities ?? []),
    ]) {
      const finding = certificateFinding(
        `trust ${nodeId ?? ''}`.trim(),
        new X509Certificate(certificatePem),
        nowMs,
        'Ask that node for its new certificate, `trust add` it, and `trust remove` the old one.',
      )
      if (finding.state !== 'ok') findings.push(finding)
    }
  } catch (error) {
    findings.push(ofError('certificate', error))
  }
  return findings
}

/** Checks free disk space; a snapshot and a vacuum each need as much as the file. */
export async function checkDisk(path: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(path)
  const freeBytes = bavail * bsize
  const fileBytes = statSync(path).size
  const detail = `${formatBytes(freeBytes)} free`
  if (freeBytes > 2 * fileBytes + WAL_BYTES) return ok('disk', detail)
  const advice = 'Free space: delete records and `vacuum`, or move the file (runbook: full disk).'
  return freeBytes < fileBytes / 10
    ? failed('disk', detail, advice)
    : warning('disk', detail, advice)
}

/** Checks that each peer can be reached over UDP and accepts this node. */
export async function checkPeers(
  coordinator: ShardCoordinator,
  signal: AbortSignal,
  pingMs: number = PING_MS,
): Promise<readonly Finding[]> {
  const peers = coordinator.getPeers()
  if (peers.length === 0) return [ok('peers', 'no peers are registered')]
  return Promise.all(
    peers.map(async ({ nodeId, address }) => {
      const check = `peer ${nodeId}`
      try {
        const wait = AbortSignal.any([signal, AbortSignal.timeout(pingMs)])
        const rttMs = await coordinator.sync.ping(address, { signal: wait })
        return ok(check, `${address} answers in ${rttMs.toFixed(1)} ms`)
      } catch (error) {
        return peerFinding(check, address, error)
      }
    }),
  )
}

function peerFinding(check: string, address: string, error: unknown): Finding {
  if (!(error instanceof SqliteVectorError)) return ofError(check, error)
  const advice: Partial<Record<string, string>> = {
    TRANSPORT_PEER_UNTRUSTED:
      'Verify the fingerprint with its operator, then pin its certificate (`trust add`) or join its cluster. An expired or revoked certificate must be renewed there.',
    TRANSPORT_REFUSED_BY_PEER:
      "Give the peer this node's certificate (`fingerprint --certificate`) to pin, or join its cluster. A revoked node must join again.",
    TRANSPORT_PEER_CHANGED:
      'Another node answers at this address. Correct the address (`peers add`), or trust the new node.',
    TRANSPORT_ALPN_MISMATCH:
      'Another program or release answers there. Check address and versions.',
    TRANSPORT_DIAL_FAILED:
      'Check the name and port of the address (`peers add` changes it), and that the name resolves here.',
    SYNC_SELF: 'This address is this node itself. Remove it (`peers remove`), or correct it.',
    TRANSPORT_UNSUPPORTED_PLATFORM: error.hint,
  }
  const unreachable = `Is the node running, and is UDP to ${address} open both ways? (runbook: stuck peer)`
  return failed(
    check,
    `${address}: ${error.code}: ${error.message}`,
    advice[error.code] ?? unreachable,
  )
}

function certificateFinding(
  check: string,
  certificate: X509Certificate,
  nowMs: number,
  advice: string,
): Finding {
  const endMs = certificate.validToDate.getTime()
  const detail = `until ${certificate.validToDate.toISOString().slice(0, 10)}`
  if (endMs < nowMs) return failed(check, `expired: ${detail}`, advice)
  if (certificate.validFromDate.getTime() > nowMs) {
    return failed(check, 'not valid yet', 'Set the clock (NTP).')
  }
  return endMs - nowMs < CERTIFICATE_DAYS * DAY_MS
    ? warning(check, detail, advice)
    : ok(check, detail)
}

function readText(path: string): string | null {
  return statSync(path, { throwIfNoEntry: false }) === undefined ? null : readFileSync(path, 'utf8')
}
