/**
 * QUIC nodes on loopback for tests: real sockets, real TLS, identities made on the spot.
 */
import { createIdentity } from '../../src/transport/identity/identity.ts'
import type { NodeIdentity } from '../../src/transport/identity/identity.ts'
import type { QuicTransportOptions, RefusedAttempt } from '../../src/transport/quic/options.ts'
import { QuicTransport } from '../../src/transport/quic/transport.ts'
import { TrustList } from '../../src/transport/identity/trust.ts'
import { SqliteVectorError } from '../../src/errors.ts'
import type { TransportFixture } from '../../src/testing/index.ts'

export type NodeOptions = Partial<QuicTransportOptions>

export interface TestNode extends AsyncDisposable {
  readonly identity: NodeIdentity
  readonly trust: TrustList
  readonly transport: QuicTransport
  readonly refused: RefusedAttempt[]
}

/** Making a key and a certificate costs about a millisecond: tests that need no new one share these. */
const shared: NodeIdentity[] = [createIdentity({ nodeId: 'a' }), createIdentity({ nodeId: 'b' })]

export async function openNode(options: NodeOptions = {}): Promise<TestNode> {
  const identity = options.identity ?? createIdentity({ nodeId: 'test' })
  const trust = options.trust ?? TrustList.inMemory()
  const refused: RefusedAttempt[] = []
  const transport = await QuicTransport.create({
    onRefused: (attempt) => refused.push(attempt),
    ...options,
    identity,
    trust,
  })
  return {
    identity,
    trust,
    transport,
    refused,
    [Symbol.asyncDispose]: () => transport.close(),
  }
}

/** Makes two nodes trust each other. */
export function introduce(a: TestNode, b: TestNode): void {
  a.trust.add(b.identity.certificatePem)
  b.trust.add(a.identity.certificatePem)
}

export async function openQuicFixture(
  both: NodeOptions = {},
  listenerOnly: NodeOptions = {},
): Promise<TransportFixture & { readonly nodes: readonly [TestNode, TestNode] }> {
  const [first, second] = shared as [NodeIdentity, NodeIdentity]
  const dialler = await openNode({ identity: first, ...both })
  const listener = await openNode({ identity: second, ...both, ...listenerOnly })
  introduce(dialler, listener)
  const address = await listener.transport.listen('127.0.0.1:0')
  return {
    dialler: dialler.transport,
    listener: listener.transport,
    address,
    nodes: [dialler, listener],
    async [Symbol.asyncDispose]() {
      await Promise.all([dialler.transport.close(), listener.transport.close()])
    },
  }
}

/** The error of `promise`. */
export async function errorOf(promise: Promise<unknown>): Promise<SqliteVectorError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof SqliteVectorError) return error
    throw error
  }
  throw new Error('expected a rejection')
}
