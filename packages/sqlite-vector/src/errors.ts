/**
 * Operating errors: what the world did to us (a full disk, a slow peer, a torn frame).
 *
 * Each has a stable code; match on that, never on the message. A mistake in the calling code is a
 * TypeError or RangeError without a code, and a broken invariant is an AssertionError: neither is
 * meant to be caught. The first word of a code is the folder that throws it. Every code has a row
 * in docs/reference/errors.md.
 */
export const ERRORS = {
  STORE_CLOSED: { retryable: false, hint: 'Open the database again before using it.' },
  STORE_BUSY: {
    retryable: true,
    hint: 'Another process holds the write lock longer than busyTimeoutMs; retry or raise it.',
  },
  STORE_FULL: { retryable: true, hint: 'Free disk space, then retry; nothing was written.' },
  STORE_CORRUPT: {
    retryable: false,
    hint: 'The file is damaged or is not a SQLiteVector database; restore a snapshot or sync a new file from a peer.',
  },
  STORE_IO: {
    retryable: false,
    hint: 'The file cannot be read or written; check the path, the permissions and the disk.',
  },
  STORE_READ_ONLY: { retryable: false, hint: 'Open the file with write permission.' },
  STORE_SCHEMA_TOO_NEW: {
    retryable: false,
    hint: 'The file was written by a newer release; upgrade this one.',
  },
  STORE_SHARD_UNKNOWN: { retryable: false, hint: 'Create the shard first with createShard().' },
  STORE_SHARD_MISMATCH: {
    retryable: false,
    hint: 'The shard exists with another dimension, metric or model; open it with those, or choose another name.',
  },
  STORE_DIMENSION_MISMATCH: {
    retryable: false,
    hint: "Pass a vector whose length is the shard's dimension.",
  },
  STORE_QUERY_TOO_COSTLY: {
    retryable: false,
    hint: 'Ask for fewer records, without vectors, or in several calls; see docs/reference/limits.md.',
  },
  STORE_RECORD_EXISTS: { retryable: false, hint: 'Use upsert() to replace a record.' },
  STORE_RECORD_UNKNOWN: { retryable: false, hint: 'Use insert() or upsert() for a new record.' },
  STORE_QUARANTINE_FULL: {
    retryable: true,
    hint: 'Look at what the peer sends (quarantine), then retry or discard it; the peer is read again once there is room.',
  },
  STORE_QUARANTINE_UNKNOWN: {
    retryable: false,
    hint: 'The entry was applied, discarded or never existed; list the quarantine again.',
  },
  STORE_CONFLICT_UNKNOWN: {
    retryable: false,
    hint: 'The conflict is already resolved or the sibling is gone; list the siblings again.',
  },
  STORE_CHANGE_INVALID: {
    retryable: false,
    hint: 'A peer sent a change that no release writes; its whole batch was refused. Upgrade or check that peer.',
  },
  EMBEDDER_FAILED: {
    retryable: true,
    hint: 'Check that the embedding service runs and accepts requests; the message names its answer.',
  },
  EMBEDDER_REFUSED: {
    retryable: false,
    hint: 'Correct the model name, the API key or the text that the message names.',
  },
  EMBEDDER_INVALID: {
    retryable: false,
    hint: 'The service answered with something other than one finite vector per text; check URL and model.',
  },
  SYNC_FRAME_CORRUPT: {
    retryable: true,
    hint: 'The bytes were altered on the way or the peer is faulty; the transfer resumes from its cursor.',
  },
  SYNC_FRAME_TOO_LARGE: {
    retryable: false,
    hint: 'The peer exceeds the frame limit; see docs/reference/limits.md.',
  },
  SYNC_PROTOCOL_VERSION: {
    retryable: false,
    hint: 'Run releases with the same protocol version on both peers.',
  },
  SYNC_PROTOCOL_VIOLATION: {
    retryable: false,
    hint: 'The peer sent a message that its state does not allow.',
  },
  SYNC_SHARD_UNKNOWN: {
    retryable: true,
    hint: 'Neither side has a shard of that name; create it here or there, or wait until another node brings it.',
  },
  SYNC_SHARD_MISMATCH: {
    retryable: false,
    hint: 'Create the shard with the same dimension, metric and model on both peers.',
  },
  SYNC_DIVERGED: {
    retryable: false,
    hint: 'Version vectors are equal but rows differ; run verify, then repair.',
  },
  SYNC_ALREADY_LIVE: {
    retryable: true,
    hint: 'The shard is kept in sync with this peer by a session that the peer began; nothing to do.',
  },
  SYNC_REMOTE_FAILED: {
    retryable: true,
    hint: 'The peer reported a failure of its own; see the message.',
  },
  SYNC_IDENTITY_RENEWED: {
    retryable: true,
    hint: 'The file was restored or cloned and now writes under a new actor; sync again.',
  },
  SEALED_KEYS_INVALID: {
    retryable: false,
    hint: 'Pass the file that ShardKeys.write() made, readable by its owner only.',
  },
  SYNC_DELETIONS_REFUSED: {
    retryable: true,
    hint: 'If so much was really deleted while this node was away, confirm it with acceptDeletions(shard, peer); else distrust the peer.',
  },
  SYNC_FAULT: {
    retryable: true,
    hint: 'A bug in this library ended one session; everything else goes on. Report it with the cause.',
  },
  SYNC_SESSION_LIMIT: {
    retryable: true,
    hint: 'The peer has as many sessions on the shard as it may have; it tries again when some have ended.',
  },
  SYNC_IDENTITY_DOUBTED: {
    retryable: true,
    hint: 'A peer claims writes of this node that are not here: the node asks it for them and goes on. If the file was restored or cloned, sync again.',
  },
  SYNC_FORBIDDEN: {
    retryable: false,
    hint: 'Grant the access on the node that refuses it: sqlite-vector grant.',
  },
  SYNC_PERMISSIONS_INVALID: {
    retryable: false,
    hint: 'Repair or remove permissions.json beside the database; every peer is refused until then.',
  },
  SYNC_SELF: {
    retryable: false,
    hint: 'Pass the address of another node. A copy of a node needs its own key: remove its -node folder.',
  },
  SYNC_COMPARE_LIMIT: {
    retryable: true,
    hint: 'The peer has used up its comparisons for now; it retries by itself.',
  },
  SYNC_CLOSED: { retryable: false, hint: 'This sync was closed; create a new one.' },
  TRANSPORT_CLOSED: { retryable: true, hint: 'The connection ended; dial again.' },
  TRANSPORT_ABORTED: {
    retryable: true,
    hint: 'The peer or the caller aborted the channel; try again.',
  },
  TRANSPORT_DIAL_FAILED: {
    retryable: true,
    hint: 'Check that the peer listens at that address and that UDP is open.',
  },
  TRANSPORT_HANDSHAKE_TIMEOUT: { retryable: true, hint: 'Check that UDP to the peer is open.' },
  TRANSPORT_PEER_UNTRUSTED: {
    retryable: false,
    hint: 'Pin the certificate with the fingerprint in the message, if you know its owner.',
  },
  TRANSPORT_PEER_CHANGED: {
    retryable: true,
    hint: 'Dial again to reach the node that answers now, if you trust the fingerprint in the message.',
  },
  TRANSPORT_REFUSED_BY_PEER: {
    retryable: false,
    hint: 'Have our certificate pinned on the peer; the message names our fingerprint.',
  },
  TRANSPORT_TOKEN_INVALID: {
    retryable: false,
    hint: 'Ask for a new token: sqlite-vector cluster token, on the node that made the cluster.',
  },
  TRANSPORT_JOIN_REFUSED: {
    retryable: false,
    hint: 'See the reason in the message; a token works once, before it expires, and a name belongs to one node.',
  },
  TRANSPORT_ALPN_MISMATCH: {
    retryable: false,
    hint: 'Run the same protocol version on both sides.',
  },
  TRANSPORT_FRAME_TOO_LARGE: {
    retryable: false,
    hint: 'The frame exceeds the limit; see docs/reference/limits.md.',
  },
  TRANSPORT_LIMIT_EXCEEDED: {
    retryable: true,
    hint: 'One side has reached its connection limit; close some, or raise maxConnections.',
  },
  TRANSPORT_ADDRESS_IN_USE: {
    retryable: true,
    hint: 'Another process listens there; choose another port.',
  },
  TRANSPORT_UNSUPPORTED_PLATFORM: {
    retryable: false,
    hint: 'No QUIC binary is published for this platform; see docs/reference/limits.md.',
  },
  TRANSPORT_IDENTITY_INVALID: {
    retryable: false,
    hint: 'The key or certificate beside the database is damaged or readable by others; see the message.',
  },
} as const

/** A stable name of an operating error; codes change only with a major version. */
export type ErrorCode = keyof typeof ERRORS

/** True when `value` is one of {@link ERRORS}: a peer may send any string. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERRORS, value)
}

/** An operating error with a stable {@link ErrorCode}; `cause` holds the underlying error. */
export class SqliteVectorError extends Error {
  override readonly name = 'SqliteVectorError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  /** True when the same call may succeed later without any change by the caller. */
  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }

  /** The remedy, one sentence. */
  get hint(): string {
    return ERRORS[this.code].hint
  }
}
