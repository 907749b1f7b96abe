/**
 * `npm run liars -- --frames N --seed S --access read|write|both`: runs the liars of liars.ts and prints what they came to;
 * ends with 1 when an invariant did not hold.
 */
import { parseArgs } from 'node:util'
import { runLiars } from './liars.ts'

const { values } = parseArgs({
  options: {
    frames: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    access: { type: 'string', default: 'both' },
  },
})
const accesses = values.access === 'both' ? (['read', 'write'] as const) : [values.access]
let isBroken = false
for (const access of accesses) {
  if (access !== 'read' && access !== 'write') throw new RangeError(`--access is ${access}`)
  const frames = Math.ceil(Number(values.frames) / accesses.length)
  const result = await runLiars({ access, frames, seed: Number(values.seed) })
  process.stdout.write(`${access}: ${JSON.stringify(result, null, 2)}\n`)
  isBroken ||= result.violations.length > 0 || result.faults > 0
}
process.exitCode = isBroken ? 1 : 0
