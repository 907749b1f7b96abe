/**
 * A seeded simulation of who answers at an address, over real QUIC on loopback: nodes swap addresses and
 * restart with their tickets kept, trust is given and taken back, certificates are revoked, and any node
 * dials any address, with and without early data.
 *
 * The oracle knows the node at each address and whom each node trusts. Invariants checked at every step:
 *   I1  the peer of a connection that answered is the node that really listens there, on both sides;
 *   I2  no frame is served, in either direction, where one side does not trust the other;
 *   I3  a dial between two nodes that trust each other and are reachable succeeds, tickets or not;
 *   I4  an open connection ends once either side takes its trust back.
 */
import assert from 'node:assert/strict'
import { ClusterAuthority } from '../../src/transport/identity/authority.ts'
import { NodeIdentity, createIdentity } from '../../src/transport/identity/identity.ts'
import { TrustList } from '../../src/transport/identity/trust.ts'
import { TicketStore } from '../../src/transport/quic/tickets.ts'
import { QuicTransport } from '../../src/transport/quic/transport.ts'
import { SqliteVectorError } from '../../src/errors.ts'
import type { Channel, Connection } from '../../src/transport/types.ts'
import { Random } from '../simulation/random.ts'

const NODES = 4
const ADDRESSES = 2
const STEPS = 40
const DEADLINE_MS = 15_000

/** Codes with which a dial between nodes that do not trust each other, or to no node, may end. */
const REFUSALS: ReadonlySet<string> = new Set([
  'TRANSPORT_PEER_UNTRUSTED',
  'TRANSPORT_REFUSED_BY_PEER',
  'TRANSPORT_PEER_CHANGED',
  'TRANSPORT_HANDSHAKE_TIMEOUT',
  'TRANSPORT_CLOSED',
])

/** Codes after which the same dial may succeed at once. */
const RETRIED: ReadonlySet<string> = new Set(['TRANSPORT_PEER_CHANGED', 'TRANSPORT_CLOSED'])

export interface AddressTally {
  dials: number
  answered: number
  refused: number
  changed: number
  resumed: number
}

interface Party {
  readonly name: string
  readonly isMember: boolean
  readonly identity: NodeIdentity
  readonly trust: TrustList
  readonly tickets: TicketStore
  transport: QuicTransport
  readonly open: Set<Connection>
}

/** Runs one history. @throws AssertionError naming the seed and the step */
export async function simulateAddresses(seed: number, folder: string): Promise<AddressTally> {
  const world = await AddressWorld.open(seed, folder)
  try {
    for (let step = 0; step < STEPS; step += 1) await world.step(step)
    return world.tally
  } finally {
    await world.close()
  }
}

class AddressWorld {
  readonly tally: AddressTally = { dials: 0, answered: 0, refused: 0, changed: 0, resumed: 0 }
  readonly #random: Random
  readonly #seed: number
  readonly #authority: ClusterAuthority
  readonly #parties: Party[] = []
  readonly #addresses: string[] = []
  /** The party that listens at each address; null where none does. */
  readonly #listening: (Party | null)[] = []
  readonly #faults: string[] = []
  #log: string[] = []

  private constructor(seed: number, authority: ClusterAuthority) {
    this.#seed = seed
    this.#random = new Random(seed)
    this.#authority = authority
  }

  static async open(seed: number, folder: string): Promise<AddressWorld> {
    const world = new AddressWorld(seed, ClusterAuthority.create(folder, 'simulated'))
    for (let index = 0; index < NODES; index += 1) await world.#addParty(index)
    for (const party of world.#parties) {
      party.trust.addAuthority(world.#authority.certificatePem)
      for (const other of world.#parties) {
        if (party !== other && !other.isMember) party.trust.add(other.identity.certificatePem)
      }
    }
    for (let index = 0; index < ADDRESSES; index += 1) {
      const party = world.#party(index)
      world.#addresses.push(await party.transport.listen('127.0.0.1:0'))
      world.#listening.push(party)
    }
    return world
  }

  async step(step: number): Promise<void> {
    const kind = this.#random.below(10)
    if (kind < 7) await this.#dial(step)
    else if (kind < 8) await this.#swap(step)
    else await this.#changeTrust(step)
    assert.deepEqual(this.#faults, [], this.#where(step))
  }

  async close(): Promise<void> {
    await Promise.all(this.#parties.map(({ transport }) => transport.close()))
  }

  async #addParty(index: number): Promise<void> {
    const isMember = index === 0 || index === 2
    const identity = createIdentity({ nodeId: `n${index}` })
    if (isMember) {
      const pem = this.#authority.issue(identity.certificatePem, { nodeId: `n${index}` })
      identity.adopt(pem)
    }
    const party = {
      name: `n${index}`,
      isMember,
      identity,
      trust: TrustList.inMemory(),
      tickets: TicketStore.inMemory(),
      open: new Set<Connection>(),
    }
    this.#parties.push(await this.#start(party))
  }

  async #start(party: Omit<Party, 'transport'>): Promise<Party> {
    const { identity, trust, tickets } = party
    const transport = await QuicTransport.create({
      identity,
      trust,
      tickets,
      handshakeTimeoutMs: DEADLINE_MS,
    })
    const started = Object.assign(party, { transport })
    void this.#serve(started, transport)
    return started
  }

  async #serve(party: Party, transport: QuicTransport): Promise<void> {
    for await (const connection of transport.accept()) void this.#serveConnection(party, connection)
  }

  async #serveConnection(party: Party, connection: Connection): Promise<void> {
    if (party.open.has(connection)) return
    party.open.add(connection)
    void connection.closed.then(() => party.open.delete(connection))
    for await (const channel of connection.channels()) {
      this.#answer(party, connection, channel).catch((error: unknown) => {
        if (!(error instanceof SqliteVectorError)) this.#faults.push(String(error))
      })
    }
  }

  /** Answers with our own fingerprint; the question names that of the dialler. */
  async #answer(party: Party, connection: Connection, channel: Channel): Promise<void> {
    const question = await channel.receive()
    const dialler = Buffer.from(question ?? []).toString()
    if (dialler !== connection.peer.fingerprint) {
      this.#faults.push(`${party.name} took ${dialler} for ${connection.peer.fingerprint}`)
    }
    const from = this.#parties.find(({ identity }) => identity.fingerprint === dialler)
    if (from === undefined || !this.#trusts(party, from)) {
      this.#faults.push(`${party.name} served ${from?.name ?? 'a stranger'} without trust`)
    }
    await channel.send(Buffer.from(party.identity.fingerprint))
    await channel.finish()
  }

  async #dial(step: number): Promise<void> {
    const dialler = this.#random.pick(this.#parties)
    const at = this.#random.below(ADDRESSES)
    const early = this.#random.chance(0.7)
    const target = this.#listening[at] ?? null
    this.#log.push(
      `${dialler.name} dials ${at} (${target?.name ?? 'no node'})${early ? ' early' : ''}`,
    )
    if (target === null || target === dialler) return
    this.tally.dials += 1
    const isAllowed = this.#trusts(dialler, target) && this.#trusts(target, dialler)
    const address = this.#addresses[at] as string
    let outcome = await this.#ask(dialler, address, early)
    // A connection that the other side is just closing may be handed out once.
    for (let again = 0; again < 2 && RETRIED.has(outcome); again += 1) {
      if (outcome === 'TRANSPORT_PEER_CHANGED') this.tally.changed += 1
      outcome = await this.#ask(dialler, address, early)
    }
    if (isAllowed) {
      assert.equal(outcome, target.identity.fingerprint, this.#where(step))
      this.tally.answered += 1
    } else {
      assert.ok(REFUSALS.has(outcome), `${outcome}\n${this.#where(step)}`)
      this.tally.refused += 1
    }
  }

  /** The fingerprint in the answer, or the code of the error. */
  async #ask(dialler: Party, address: string, early: boolean): Promise<string> {
    const signal = AbortSignal.timeout(DEADLINE_MS)
    try {
      const connection = await dialler.transport.dial(address, { early, signal })
      // The peer may open channels on it, too.
      void this.#serveConnection(dialler, connection)
      const channel = await connection.openChannel({ early: true, signal })
      await channel.send(Buffer.from(dialler.identity.fingerprint), { signal })
      await channel.finish()
      const answer = Buffer.from((await channel.receive({ signal })) ?? []).toString()
      if (answer !== connection.peer.fingerprint) {
        this.#faults.push(`${dialler.name} took ${answer} for ${connection.peer.fingerprint}`)
      }
      if (connection.stats().channelsOpen > 0) await channel.receive({ signal }).catch(() => null)
      if (connection.stats().resumed) this.tally.resumed += 1
      if (this.#random.chance(0.6)) await connection.close()
      return answer
    } catch (error) {
      if (error instanceof SqliteVectorError) return error.code
      throw error
    }
  }

  /** Another node, or none, listens at an address from now on; tickets of all nodes stay. */
  async #swap(step: number): Promise<void> {
    const at = this.#random.below(ADDRESSES)
    const before = this.#listening[at] ?? null
    const idle = this.#parties.filter((party) => !this.#listening.includes(party))
    const next = this.#random.chance(0.15) ? before : this.#random.pick(idle)
    this.#log.push(`${at}: ${before?.name ?? '-'} -> ${next?.name ?? '-'}`)
    if (before !== null) {
      await before.transport.close()
      await this.#start(before)
    }
    this.#listening[at] = next
    if (next === null) return
    if (next !== before) {
      await next.transport.close()
      await this.#start(next)
    }
    const bound = await next.transport.listen(this.#addresses[at] as string)
    assert.equal(bound, this.#addresses[at], this.#where(step))
  }

  async #changeTrust(step: number): Promise<void> {
    const party = this.#random.pick(this.#parties)
    const other = this.#random.pick(this.#parties)
    if (party === other) return
    const { fingerprint, certificatePem } = other.identity
    if (this.#random.chance(0.1) && other.isMember && this.#authority.revoke(fingerprint)) {
      this.#log.push(`${other.name} is revoked`)
      for (const { trust } of this.#parties) {
        if (trust.authorities().length > 0)
          trust.addRevocations(this.#authority.revocations() ?? '')
      }
    } else if (other.isMember && party.trust.authorities().length > 0) {
      if (this.#random.chance(0.6)) return
      this.#log.push(`${party.name} trusts the authority no more`)
      party.trust.remove(this.#authority.fingerprint)
    } else if (party.trust.authorities().length === 0) {
      this.#log.push(`${party.name} trusts the authority`)
      party.trust.addAuthority(this.#authority.certificatePem)
      const list = this.#authority.revocations()
      if (list !== null) party.trust.addRevocations(list)
    } else if (other.isMember) {
      assert.throws(() => party.trust.add(certificatePem), TypeError)
    } else if (party.trust.get(fingerprint) === undefined || this.#random.chance(0.3)) {
      this.#log.push(`${party.name} pins ${other.name}`)
      party.trust.add(certificatePem)
    } else {
      this.#log.push(`${party.name} unpins ${other.name}`)
      party.trust.remove(fingerprint)
    }
    await this.#checkOpen(step)
  }

  /** I4: what is open rests on trust in both directions, once the news of an end has arrived. */
  async #checkOpen(step: number): Promise<void> {
    for (const party of this.#parties) {
      for (const connection of party.open) {
        const peer = this.#parties.find(
          ({ identity }) => identity.fingerprint === connection.peer.fingerprint,
        )
        assert.ok(peer !== undefined, this.#where(step))
        if (this.#trusts(party, peer) && this.#trusts(peer, party)) continue
        const timeout = AbortSignal.timeout(DEADLINE_MS)
        const late = new Promise((_, reject) => {
          timeout.addEventListener('abort', () => {
            reject(new Error(`${party.name} kept ${peer.name}\n${this.#where(step)}`))
          })
        })
        await Promise.race([connection.closed, late])
      }
    }
  }

  /** Asked of the oracle's own books, not of the code under test. */
  #trusts(party: Party, other: Party): boolean {
    const { fingerprint } = other.identity
    const byAuthority = party.trust.authorities().length > 0 && other.isMember
    const isRevoked = party.trust.authorities().length > 0 && this.#isRevoked(fingerprint)
    return (
      !isRevoked &&
      (byAuthority || party.trust.list().some((pin) => pin.fingerprint === fingerprint))
    )
  }

  #isRevoked(fingerprint: string): boolean {
    const list = this.#authority.revocations()
    return list !== null && list.includes(fingerprint)
  }

  #party(index: number): Party {
    return this.#parties[index] as Party
  }

  #where(step: number): string {
    return `seed ${this.#seed}, step ${step}:\n${this.#log.slice(-30).join('\n')}`
  }
}
