/**
 * Introductions over real QUIC, with the nodes' own keys and trust files.
 */
import { expect, test } from 'vitest'

import { LiveNodes } from './live-nodes.ts'

const PATIENCE = { timeout: 30_000, interval: 20 }

test('nodes that share a peer learn of each other; one that is not trusted is shown as such', async () => {
  await using nodes = await LiveNodes.of('quic', 3)
  const [a, b, c] = [nodes.get(0), nodes.get(1), nodes.get(2)]
  c.sync.trust.remove(b.sync.fingerprint)
  await b.sync.ping(a.address)
  await c.sync.ping(a.address)

  const seenBy = (node: typeof a, peer: string) =>
    node.sync.getMembers().find((member) => member.peer === peer)
  await expect
    .poll(() => seenBy(c, b.sync.fingerprint), PATIENCE)
    .toMatchObject({
      nodeId: b.name,
      address: b.address,
      trusted: false,
      introducedBy: a.sync.fingerprint,
      status: 'online',
    })
  await expect.poll(() => seenBy(b, c.sync.fingerprint)?.trusted, PATIENCE).toBe(true)

  c.sync.trust.add(b.sync.certificatePem, b.name)
  expect(seenBy(c, b.sync.fingerprint)?.trusted).toBe(true)
})

test('a node says where it is to be dialled, when that is not where it listens', async () => {
  await using nodes = await LiveNodes.of('quic', 1)
  const a = nodes.get(0)
  const b = await nodes.add({ advertise: 'node-b.example:4433' })
  await b.sync.ping(a.address)

  await expect.poll(() => a.sync.getMembers()[0]?.address, PATIENCE).toBe('node-b.example:4433')
})
