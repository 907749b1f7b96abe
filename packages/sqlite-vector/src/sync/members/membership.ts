/**
 * How nodes introduce one another: signed peer records, exchanged over the connections that there
 * are, so that a new node needs one address.
 *
 *   a connection opens    the smaller fingerprint gives all its records and asks for the rest
 *   a record is new       it is passed on to every other connection, some records in one go
 *   every five minutes    and when our address or shards change, our record is renewed and given
 *   close, leave          our own record says `offline`, `left`
 *
 * Introductions create no trust and open no connection: the coordinator decides which peers to
 * dial. A record counts when its certificate is that of its fingerprint and its holder signed it,
 * with a larger sequence than the one before; anything else ends the channel and is told, and
 * nothing of its frame is taken. Invariants: memory is that of the book; a connection brings at
 * most PEER_RECORDS_PER_MINUTE_MAX records a minute.
 */
import type { Clock } from '../../clock/types.ts'
import {
  MEMBER_REFRESH_MS,
  PEER_RECORD_SHARDS_MAX,
  PEER_RECORDS_PER_MINUTE_MAX,
} from '../../limits.ts'
import { isLoopback, parseAddress } from '../../transport/address.ts'
import { statementSigner } from '../../transport/identity/signed-statement.ts'
import type { Channel, Connection, Credentials, PeerAddress } from '../../transport/types.ts'
import {
  decodeMembers,
  encodeMembers,
  isMembersFrame,
  type MembersFrame,
} from '../wire/members-frame.ts'
import {
  decodeRecord,
  decodeStatement,
  encodeRecord,
  encodeStatement,
  PEER_RECORD_CONTEXT,
  type PeerRecordStatus,
  shardTag,
} from '../wire/peer-record.ts'
import { decodeFrame, frameToError } from '../wire/control-frames.ts'
import { faultOf, violationError } from '../session/endings.ts'
import { RetryBudget } from '../../clock/backoff.ts'
import type { CheckedRecord, Member, MemberBook } from './member-book.ts'
import { type ReplicaStore } from '../../store/replica/types.ts'

/** Wait before the records of a new connection are exchanged: what it was opened for goes first. */
const GREET_DELAY_MS = 100

/** Wait before news is passed on: what comes together goes together. */
const PASS_ON_DELAY_MS = 50

/** How long a node that closes waits until peers have heard of it. */
const FAREWELL_MS = 500

const EXCHANGE_MS = 10_000

/** The parts of a membership. */
export interface MembershipSetup {
  readonly store: ReplicaStore
  readonly clock: Clock
  readonly nodeId: string
  readonly fingerprint: string
  readonly credentials: Credentials
  readonly book: MemberBook
  /** The address that peers can dial; null for none. */
  readonly address: () => PeerAddress | null
  /**
   * True while some peer may not see every shard: records reach all peers, so ours names none then.
   */
  readonly hidesShards: () => boolean
  /** Ends with the node. */
  readonly signal: AbortSignal
  /** Called when something about a node changed, also only whether it is trusted. */
  readonly onMember: (member: Member) => void
  /** Called with a peer's fault or a failure here that no caller waits for. */
  readonly onError: (error: Error, address: PeerAddress | null) => void
}

interface Link {
  readonly connection: Connection
  readonly budget: RetryBudget
  /** True once records were exchanged: only then is a farewell worth sending. */
  greeted: boolean
  /** Nodes whose records it is to be given. */
  readonly news: Set<string>
}

/** See the head of this file. */
export class Membership {
  readonly #setup: MembershipSetup
  readonly #links = new Map<Connection, Link>()
  readonly #cancels = new Set<() => void>()
  readonly #stopWatching: () => void
  #own: CheckedRecord | null = null
  #ownContent = ''
  #status: PeerRecordStatus = 'online'
  #announcing = false
  #passing = false
  #refreshing = false

  constructor(setup: MembershipSetup) {
    this.#setup = setup
    const { book, credentials } = setup
    const judge = (): void => {
      const changed = book.judge((certificate) => credentials.isTrusted(certificate))
      for (const peer of changed) this.#tell(peer)
    }
    this.#stopWatching = credentials.onTrustChange(judge)
    judge()
  }

  /** A connection opened or ended. */
  connected(connection: Connection, isOpen: boolean): void {
    const { fingerprint } = connection.peer
    this.#setup.book.heard(fingerprint)
    if (!isOpen) {
      this.#links.delete(connection)
      return
    }
    const { clock } = this.#setup
    const budget = new RetryBudget(
      PEER_RECORDS_PER_MINUTE_MAX,
      60_000 / PEER_RECORDS_PER_MINUTE_MAX,
      clock.monotonicMs(),
    )
    this.#links.set(connection, { connection, budget, greeted: false, news: new Set() })
    if (this.#setup.fingerprint < fingerprint) {
      this.#later(GREET_DELAY_MS, () => this.#greet(connection), connection.remoteAddress)
    }
    this.#refreshSoon()
  }

  /** Our address or shards may have changed: if so, all peers are told once things settle. */
  announceSoon(): void {
    if (this.#announcing) return
    this.#announcing = true
    this.#later(PASS_ON_DELAY_MS, () => {
      this.#announcing = false
      const before = this.#own
      const own = this.#ownRecord(false)
      if (before !== null && own !== before) this.#passOn(own.peer, null)
    })
  }

  /** Serves a channel on which a peer sends records; `first` is its first frame. */
  async serve(channel: Channel, connection: Connection, first: Uint8Array): Promise<void> {
    try {
      await this.#serve(channel, connection, first)
    } catch (error) {
      this.#failed(error, connection.remoteAddress)
      throw error
    }
  }

  async #serve(channel: Channel, connection: Connection, first: Uint8Array): Promise<void> {
    const wait = { signal: this.#setup.signal }
    const given = new Map<string, number>()
    let isAsked = false
    for (let bytes: Uint8Array | null = first; bytes !== null;) {
      const { records, asks } = openMembers(bytes)
      for (const { peer, statement } of this.#take(records, connection)) {
        given.set(peer, statement.sequence)
      }
      isAsked ||= asks
      bytes = await channel.receive(wait)
    }
    const link = this.#links.get(connection)
    if (link !== undefined) link.greeted = true
    if (isAsked) {
      const lacking = this.#all().filter(
        ({ peer, statement }) => (given.get(peer) ?? -1) < statement.sequence,
      )
      await sendAll(
        channel,
        encodeMembers(
          lacking.map(({ bytes }) => bytes),
          false,
        ),
        wait.signal,
      )
    }
    await channel.finish()
  }

  /**
   * Tells connected peers that we close, or leave for good, and waits briefly for them to hear it.
   */
  async farewell(status: 'offline' | 'left'): Promise<void> {
    if (this.#status === 'left') return
    this.#status = status
    const links = [...this.#links.values()].filter(({ greeted }) => greeted)
    if (links.length === 0) return
    try {
      const { bytes } = this.#ownRecord(true)
      await Promise.all(links.map((link) => this.#give(link.connection, [bytes], FAREWELL_MS)))
    } catch (error) {
      // The file may be closed already: then peers notice by themselves.
      this.#failed(error, null)
    }
  }

  close(): void {
    this.#stopWatching()
    for (const cancel of this.#cancels) cancel()
    this.#cancels.clear()
    this.#links.clear()
  }

  /** Gives all we have and takes what we lack. */
  async #greet(connection: Connection): Promise<void> {
    if (!this.#links.has(connection)) return
    const wait = { signal: this.#deadline(EXCHANGE_MS) }
    const channel = await connection.openChannel(wait)
    const records = this.#all().map(({ bytes }) => bytes)
    await sendAll(channel, encodeMembers(records, true), wait.signal)
    await channel.finish()
    for (;;) {
      const bytes = await channel.receive(wait)
      if (bytes === null) break
      try {
        this.#take(openMembers(bytes).records, connection)
      } catch (error) {
        channel.abort('a record that is none')
        throw error
      }
    }
    const link = this.#links.get(connection)
    if (link !== undefined) link.greeted = true
  }

  /**
   * Checks every record, then takes those that are new; all of them, old ones too.
   * @throws for any that is none
   */
  #take(records: readonly Uint8Array[], connection: Connection): readonly CheckedRecord[] {
    const { book, clock, fingerprint } = this.#setup
    const link = this.#links.get(connection)
    for (const _ of records) {
      if ((link?.budget.take(clock.monotonicMs()) ?? 0) === 0) continue
      throw violationError(`more than ${PEER_RECORDS_PER_MINUTE_MAX} peer records in a minute`)
    }
    const from = connection.peer.fingerprint
    const checked = records.map((bytes) => this.#checked(bytes))
    for (const record of checked) {
      if (record.peer === fingerprint) {
        // From a file that was set back since: ours goes above it.
        if (!book.raiseSequence(record.statement.sequence) || this.#own === null) continue
        if (record.statement.sequence <= this.#own.statement.sequence) continue
        this.#passOn(this.#ownRecord(true).peer, null)
      } else if (book.put(record, from)) {
        this.#tell(record.peer)
        this.#passOn(record.peer, connection)
      }
    }
    return checked
  }

  #checked(bytes: Uint8Array): CheckedRecord {
    const { statement, certificate, signature } = decodeRecord(bytes)
    const peer = statementSigner(certificate, PEER_RECORD_CONTEXT, statement, signature)
    if (peer === null) throw violationError('a peer record that its node did not sign')
    const said = decodeStatement(statement)
    if (said.address !== null) assertAddress(said.address)
    const trusted = this.#setup.credentials.isTrusted(certificate)
    return { peer, bytes, statement: said, trusted }
  }

  /** Every record, our own among them. */
  #all(): readonly CheckedRecord[] {
    return [this.#ownRecord(false), ...this.#setup.book.records()]
  }

  /** Our own record: renewed when its content changed, or when `isDue`. */
  #ownRecord(isDue: boolean): CheckedRecord {
    const { store, nodeId, fingerprint, credentials, book, address } = this.#setup
    const names = store.shards().map(({ shardId }) => shardId)
    const isSilent = names.length > PEER_RECORD_SHARDS_MAX || this.#setup.hidesShards()
    const shards = isSilent ? null : names.map(shardTag).toSorted()
    const place = this.#dialable(address())
    const content = JSON.stringify([place, shards, this.#status])
    if (this.#own !== null && content === this.#ownContent && !isDue) return this.#own
    const statement = {
      nodeId,
      address: place,
      status: this.#status,
      sequence: book.nextSequence(),
      shards,
    }
    const bytes = encodeStatement(statement)
    const signature = credentials.sign(PEER_RECORD_CONTEXT, bytes)
    const record = { statement: bytes, certificate: credentials.certificate, signature }
    this.#own = { peer: fingerprint, bytes: encodeRecord(record), statement, trusted: true }
    this.#ownContent = content
    return this.#own
  }

  /** The address as peers may be told it: null for one that leads another machine to itself. */
  #dialable(place: PeerAddress | null): PeerAddress | null {
    if (place === null || isWildcard(place)) return null
    if (!isLoopback(parseAddress(place).host)) return place
    for (const { connection } of this.#links.values()) {
      if (isElsewhere(parseAddress(connection.remoteAddress).host)) return null
    }
    return place
  }

  #passOn(peer: string, from: Connection | null): void {
    for (const link of this.#links.values()) {
      const isTheirs = link.connection.peer.fingerprint === peer
      if (link.connection !== from && !isTheirs) link.news.add(peer)
    }
    if (this.#passing) return
    this.#passing = true
    this.#later(PASS_ON_DELAY_MS, async () => {
      this.#passing = false
      await Promise.all([...this.#links.values()].map((link) => this.#giveNews(link)))
    })
  }

  async #giveNews({ connection, news }: Link): Promise<void> {
    const { book, fingerprint } = this.#setup
    const records: Uint8Array[] = []
    for (const peer of news) {
      const record = peer === fingerprint ? this.#own : book.record(peer)
      if (record !== null) records.push(record.bytes)
    }
    news.clear()
    if (records.length > 0) await this.#give(connection, records, EXCHANGE_MS)
  }

  /** Gives records to a peer and waits until it has taken them; what hinders that is told. */
  async #give(connection: Connection, records: Uint8Array[], deadlineMs: number): Promise<void> {
    const wait = { signal: this.#deadline(deadlineMs) }
    try {
      const channel = await connection.openChannel(wait)
      await sendAll(channel, encodeMembers(records, false), wait.signal)
      await channel.finish()
      for (;;) {
        const answer = await channel.receive(wait)
        if (answer === null) break
        openMembers(answer)
      }
    } catch (error) {
      this.#failed(error, connection.remoteAddress)
    }
  }

  /** The end of a connection is not a failure; a peer's fault is told. */
  #failed(error: unknown, address: PeerAddress | null): void {
    const fault = faultOf(error)
    if (!fault.code.startsWith('TRANSPORT_')) this.#setup.onError(fault, address)
  }

  #refreshSoon(): void {
    if (this.#refreshing) return
    this.#refreshing = true
    this.#later(MEMBER_REFRESH_MS, () => {
      this.#refreshing = false
      if (this.#links.size === 0) return
      for (const { connection } of this.#links.values()) {
        this.#setup.book.heard(connection.peer.fingerprint)
      }
      this.#passOn(this.#ownRecord(true).peer, null)
      this.#refreshSoon()
    })
  }

  #tell(peer: string): void {
    const member = this.#setup.book.get(peer)
    if (member !== null) this.#setup.onMember(member)
  }

  #deadline(deadlineMs: number): AbortSignal {
    const ending = new AbortController()
    this.#setup.clock.schedule(deadlineMs, () => ending.abort())
    return AbortSignal.any([ending.signal, this.#setup.signal])
  }

  #later(
    delayMs: number,
    task: () => void | Promise<void>,
    address: PeerAddress | null = null,
  ): void {
    const cancel = this.#setup.clock.schedule(delayMs, () => {
      this.#cancels.delete(cancel)
      void this.#attempt(task, address)
    })
    this.#cancels.add(cancel)
  }

  async #attempt(task: () => void | Promise<void>, address: PeerAddress | null): Promise<void> {
    try {
      await task()
    } catch (error) {
      this.#failed(error, address)
    }
  }
}

async function sendAll(
  channel: Channel,
  frames: readonly Uint8Array[],
  signal: AbortSignal,
): Promise<void> {
  for (const frame of frames) await channel.send(frame, { signal })
}

/** @throws what the peer says went wrong, or what is wrong with the frame */
function openMembers(bytes: Uint8Array): MembersFrame {
  if (isMembersFrame(bytes)) return decodeMembers(bytes)
  const frame = decodeFrame(bytes)
  throw frame.type === 'error' ? frameToError(frame) : violationError(`${frame.type} for MEMBERS`)
}

/**
 * True for an address that cannot be dialled: a node that listens everywhere has no such address.
 */
function isWildcard(address: PeerAddress): boolean {
  const { host, port } = parseAddress(address)
  return host === '0.0.0.0' || host === '::' || port === 0
}

function assertAddress(address: PeerAddress): void {
  try {
    parseAddress(address)
  } catch {
    throw violationError('a peer record whose address is none')
  }
}

/** True for an IP address that is not one of this machine's loopback. */
function isElsewhere(host: string): boolean {
  return /^[\d.]+$|:/.test(host) && host.includes('.') !== host.includes(':') && !isLoopback(host)
}
