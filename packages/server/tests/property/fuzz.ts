/**
 * `npm run fuzz:http`: random requests against a node, in numbers that a test run has no time for.
 *
 *   npm run fuzz:http -- --requests 100000 --seed 1 --blocked-ms 200
 *
 * Exit code 1 for a fault, which is printed with its request, and for an event loop that stood still
 * longer than the bound.
 */
import { parseArgs } from 'node:util'
import { fuzzHttp } from './fuzz-run.ts'

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    'blocked-ms': { type: 'string', default: '200' },
  },
})

const report = await fuzzHttp(Number(values.requests), Number(values.seed))
const { requests, statuses, faults, blockedMsMax, residentBytes } = report
const answers = [...statuses].toSorted(([a], [b]) => a - b).map(([status, n]) => `${n} x ${status}`)
process.stdout.write(
  `${requests} requests, seed ${values.seed}: ${answers.join(', ')}; ${faults.length} faults; ` +
    `event loop blocked at most ${Math.round(blockedMsMax)} ms; ` +
    `${Math.round(residentBytes / 1_048_576)} MiB resident\n`,
)
for (const fault of faults) process.stdout.write(`${fault}\n`)
process.exitCode = faults.length === 0 && blockedMsMax <= Number(values['blocked-ms']) ? 0 : 1
