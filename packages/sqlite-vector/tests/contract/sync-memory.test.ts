/**
 * The sync contract over the memory network.
 */
import { createVectorSync } from '../../src/sync/index.ts'
import { MemoryNetwork } from '../../src/transport/memory/network.ts'
import { syncContract } from './sync-contract.ts'

syncContract('memory', async ([a, b], [configA, configB]) => {
  const network = new MemoryNetwork()
  return [
    createVectorSync(a, 'node-a', { ...configA, transport: network.transport('a'.repeat(64)) }),
    createVectorSync(b, 'node-b', { ...configB, transport: network.transport('b'.repeat(64)) }),
  ]
})
