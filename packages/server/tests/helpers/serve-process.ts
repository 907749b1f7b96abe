/**
 * The program that NodeProcess runs: `serve()` with the flags of its argument, and one line when the node is ready.
 */
import { serve, type Flags } from '../../src/index.ts'

const flags = JSON.parse(process.argv[2] ?? '{}') as Flags

process.exitCode = await serve({
  flags,
  onReady: ({ url, syncAddress, fingerprint, coordinator }) => {
    const { certificatePem } = coordinator.sync
    const line = JSON.stringify({ url, syncAddress, fingerprint, certificatePem })
    process.stdout.write(`${line}\n`)
  },
})
