/**
 * The sync contract over real QUIC on loopback.
 */
import { createVectorSync } from '../../src/sync/index.ts'
import { syncContract } from './sync-contract.ts'

syncContract('QUIC', async ([a, b], [configA, configB]) => {
  const syncA = createVectorSync(a, 'node-a', configA)
  const syncB = createVectorSync(b, 'node-b', configB)
  syncA.trust.add(syncB.certificatePem, 'node-b')
  syncB.trust.add(syncA.certificatePem, 'node-a')
  return [syncA, syncB]
})
