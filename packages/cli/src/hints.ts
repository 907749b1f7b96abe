/**
 * Hints of the library's errors in the words of the command line: a person at a terminal calls
 * commands, not functions.
 */

const HINTS: Readonly<Record<string, string>> = {
  STORE_BUSY: 'Another process holds the write lock. Try again when it has finished.',
  STORE_SHARD_UNKNOWN:
    'Create the shard first: sqlite-vector shards create SHARD --dimension COUNT. `shards` lists those that exist.',
  STORE_RECORD_EXISTS: 'Use --mode upsert to replace records.',
  STORE_RECORD_UNKNOWN: 'List the records with: sqlite-vector export SHARD - --format jsonl.',
  STORE_CORRUPT:
    'Check the path. A damaged database is replaced by a snapshot (sqlite-vector restore --replace) or by a new file that syncs from a peer.',
  SEALED_KEYS_INVALID: 'Give a shard key file that only its owner can read.',
  TRANSPORT_LIMIT_EXCEEDED: 'One side has too many connections open. Close some, and try again.',
}

/** The hint for a person at a terminal. */
export function hintOf(error: {
  readonly code: string
  readonly hint?: string | undefined
}): string | undefined {
  return HINTS[error.code] ?? error.hint
}
