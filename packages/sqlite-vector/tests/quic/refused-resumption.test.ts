/**
 * A peer that was trusted once holds a session ticket: when it is not trusted any more, it is told so by name, with and
 * without early data, and does not wait for a handshake that nobody ends.
 */
import { expect, test } from 'vitest'
import { SqliteVectorError } from '../../src/errors.ts'
import { createIdentity, QuicTransport, TicketStore, TrustList } from '../../src/transport/index.ts'

test.each([false, true])(
  'a peer that comes back with a ticket is refused by name (early: %s)',
  async (early) => {
    const [ours, theirs] = [createIdentity({ nodeId: 'a' }), createIdentity({ nodeId: 'b' })]
    const [trust, theirTrust] = [TrustList.inMemory(), TrustList.inMemory()]
    trust.add(theirs.certificatePem, 'b')
    theirTrust.add(ours.certificatePem, 'a')
    await using a = await QuicTransport.create({ identity: ours, trust })
    const address = await a.listen('127.0.0.1:0')
    const tickets = TicketStore.inMemory()
    {
      await using b = await QuicTransport.create({ identity: theirs, trust: theirTrust, tickets })
      await b.dial(address)
      await expect.poll(() => tickets.get(address) !== null, { timeout: 20_000 }).toBe(true)
    }
    // Nobody is connected now, so the key that seals tickets stays as it is.
    await expect.poll(() => a.getStats().closed, { timeout: 20_000 }).toBe(1)
    trust.remove(theirs.fingerprint)
    await using b = await QuicTransport.create({
      identity: theirs,
      trust: theirTrust,
      tickets,
      handshakeTimeoutMs: 30_000,
    })

    const refused = await b
      .dial(address, { early })
      .then((connection) => connection.closed)
      .catch((error: unknown) => error as SqliteVectorError)

    expect(refused).toMatchObject({ code: 'TRANSPORT_REFUSED_BY_PEER' })
  },
  90_000,
)
