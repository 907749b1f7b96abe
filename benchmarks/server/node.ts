/**
 * The program of one node of this benchmark: `serve()` with the flags of its argument; one line when it is ready.
 */
import { type Flags, serve } from '../../packages/server/src/index.ts'

const flags = JSON.parse(process.argv[2] ?? '{}') as Flags
process.exitCode = await serve({
  flags,
  onReady: ({ url, syncAddress }) => {
    process.stdout.write(`${JSON.stringify({ url, syncAddress })}\n`)
  },
})
