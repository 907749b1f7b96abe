/**
 * Session tickets: they let a dialler resume a session with a peer (and send in the first
 * datagram), and the key with which a listener seals the tickets it hands out.
 *
 * Kept in a folder as `tickets.json`, mode 0600: a ticket is as good as the session's keys. Losing
 * any of it costs one round trip and nothing else, so a file that cannot be read is replaced.
 * Tickets of peers that are trusted no more are of no use to them: the leaf is judged on resumed
 * connections too.
 *
 * A ticket is bound to the address that was dialled and to the fingerprint that answered there.
 * Reference: RFC 8446 §4.6.1; RFC 9001 §4.5–4.6.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../clock/system-clock.ts'
import type { Clock } from '../../clock/types.ts'
import { TICKET_MS_MAX, TICKETS_MAX } from '../../limits.ts'
import { checkPrivateFile, fileExists, writeFileAtomic } from '../../private-files.ts'

const TICKETS_FILE = 'tickets.json'
const TICKETS_VERSION = 1
const SEALING_KEY_BYTES = 48

/** A session that can be resumed. */
export interface Ticket {
  readonly fingerprint: string
  readonly session: Uint8Array
}

interface Kept {
  readonly fingerprint: string
  readonly session: string
  readonly savedMs: number
}

interface TicketFile {
  readonly version: number
  readonly sealingKey: string
  readonly sealingKeyMs: number
  readonly tickets: Readonly<Record<string, Kept>>
}

/** The tickets of one node. */
export class TicketStore {
  readonly #path: string | null
  readonly #clock: Clock
  readonly #tickets = new Map<string, Kept>()
  #sealingKey: Buffer
  #sealingKeyMs: number
  #savePlanned = false

  private constructor(path: string | null, clock: Clock) {
    this.#path = path
    this.#clock = clock
    this.#sealingKey = randomBytes(SEALING_KEY_BYTES)
    this.#sealingKeyMs = clock.nowMs()
  }

  /**
   * The tickets kept in `folder`.
   * @throws SqliteVectorError `TRANSPORT_IDENTITY_INVALID` when others may read them
   */
  static open(folder: string, clock: Clock = systemClock): TicketStore {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const store = new TicketStore(join(folder, TICKETS_FILE), clock)
    store.#load()
    store.save()
    return store
  }

  /** Tickets that live in memory only. */
  static inMemory(clock: Clock = systemClock): TicketStore {
    return new TicketStore(null, clock)
  }

  /** The key that seals the tickets we hand out, 48 bytes; replaced when it is old. */
  sealingKey(): Uint8Array {
    if (this.#clock.nowMs() - this.#sealingKeyMs > TICKET_MS_MAX) this.rotate()
    return this.#sealingKey
  }

  /**
   * Makes every ticket that we handed out worthless: called after trust in a peer was withdrawn.
   */
  rotate(): void {
    this.#sealingKey = randomBytes(SEALING_KEY_BYTES)
    this.#sealingKeyMs = this.#clock.nowMs()
    this.#planSave()
  }

  /** The ticket for a dialled address; null when there is none or it is too old. */
  get(address: string): Ticket | null {
    const kept = this.#tickets.get(address)
    if (kept === undefined) return null
    if (this.#clock.nowMs() - kept.savedMs > TICKET_MS_MAX) {
      this.forget(address)
      return null
    }
    return { fingerprint: kept.fingerprint, session: Buffer.from(kept.session, 'base64') }
  }

  put(address: string, ticket: Ticket): void {
    this.#tickets.delete(address)
    this.#tickets.set(address, {
      fingerprint: ticket.fingerprint,
      session: Buffer.from(ticket.session).toString('base64'),
      savedMs: this.#clock.nowMs(),
    })
    for (const oldest of this.#tickets.keys()) {
      if (this.#tickets.size <= TICKETS_MAX) break
      this.#tickets.delete(oldest)
    }
    this.#planSave()
  }

  forget(address: string): void {
    if (this.#tickets.delete(address)) this.#planSave()
  }

  /**
   * Drops every ticket that peers gave us: a resumed session shows the certificate of the one
   * before.
   */
  forgetAll(): void {
    if (this.#tickets.size === 0) return
    this.#tickets.clear()
    this.#planSave()
  }

  /** Writes changes; the transport calls it when it closes. */
  save(): void {
    this.#savePlanned = false
    if (this.#path === null) return
    const file: TicketFile = {
      version: TICKETS_VERSION,
      sealingKey: this.#sealingKey.toString('base64'),
      sealingKeyMs: this.#sealingKeyMs,
      tickets: Object.fromEntries(this.#tickets),
    }
    writeFileAtomic(this.#path, `${JSON.stringify(file)}\n`, 0o600)
  }

  /** Handshakes come in bursts: one write for all of them, off their path. */
  #planSave(): void {
    if (this.#savePlanned || this.#path === null) return
    this.#savePlanned = true
    this.#clock.schedule(SAVE_DELAY_MS, () => {
      if (!this.#savePlanned) return
      try {
        this.save()
      } catch {
        // A full disk, say: tickets cost a round trip, not a process. The final save reports the
        // error.
      }
    })
  }

  #load(): void {
    if (this.#path === null || !fileExists(this.#path)) return
    checkPrivateFile(this.#path)
    let file: Partial<TicketFile>
    try {
      file = JSON.parse(readFileSync(this.#path, 'utf8')) as Partial<TicketFile>
    } catch {
      // Half a file cannot be (it is renamed into place); new tickets replace it.
      return
    }
    const key = Buffer.from(String(file.sealingKey), 'base64')
    if (file.version !== TICKETS_VERSION || key.length !== SEALING_KEY_BYTES) return
    this.#sealingKey = key
    this.#sealingKeyMs = Number(file.sealingKeyMs)
    for (const [address, kept] of Object.entries(file.tickets ?? {})) {
      this.#tickets.set(address, kept)
    }
  }
}

const SAVE_DELAY_MS = 100
