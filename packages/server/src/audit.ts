/**
 * The audit log: one JSON line for each write over HTTP and each refused caller, in a file of its
 * own. Reads are not recorded, and neither are the contents of records.
 *
 * The file is opened again at a reload, so that it can be rotated by renaming. Each line is
 * appended before its answer counts as sent; a full disk is reported once and does not stop the
 * node.
 */
import { appendFileSync, closeSync, openSync } from 'node:fs'
import type { Log } from './log.ts'

export interface AuditEntry {
  /** Operation id of the route. */
  readonly operation: string
  readonly shard: string | null
  /** The record, peer or entry that the path names. */
  readonly target?: string
  /** Name of the API key; null without a valid one. */
  readonly key: string | null
  readonly address: string
  readonly requestId: string
  readonly status: number
  /** Code of the error; null when the operation succeeded. */
  readonly code: string | null
}

/** Records one operation. */
export type Audit = (entry: AuditEntry) => void

export class AuditFile {
  readonly #path: string
  readonly #log: Log
  #file: number
  #hasFailed = false

  /** @throws Error of the file system when the file cannot be opened */
  constructor(path: string, log: Log) {
    this.#path = path
    this.#log = log
    this.#file = openSync(path, 'a', 0o600)
  }

  record(entry: AuditEntry): void {
    const line = `${JSON.stringify({ at: new Date(Date.now()).toISOString(), ...entry })}\n`
    try {
      appendFileSync(this.#file, line)
      this.#hasFailed = false
    } catch (error) {
      if (!this.#hasFailed) this.#log('error', 'audit-failed', { error })
      this.#hasFailed = true
    }
  }

  /** Opens the path again; a file that was renamed away is closed. */
  reopen(): void {
    const before = this.#file
    this.#file = openSync(this.#path, 'a', 0o600)
    closeSync(before)
  }

  close(): void {
    closeSync(this.#file)
  }
}
