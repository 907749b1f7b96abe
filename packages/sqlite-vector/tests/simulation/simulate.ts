/**
 * `npm run simulate`: runs seeds, and replays one.
 *
 *   npm run simulate -- --seeds 1000 --from 1      many seeds; stops at the first that fails
 *   npm run simulate -- --seed 17 --trace          one seed, every step told
 *   --steps K        so many steps instead of what the seed draws
 *   --fault NAME     with a fault planted (faults.ts), to see that it is found
 *   --with LIST      features that are off by default, separated by commas
 *   --keep-going     all seeds, also after one failed
 *   --for SECONDS    no new seed after that long; the last line says how many were run
 *
 * Exit code 1 when a seed broke an invariant.
 */
import { parseArgs } from 'node:util'

import { type FaultName, FAULTS } from './faults.ts'
import { simulate } from './simulation.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    steps: { type: 'string' },
    fault: { type: 'string' },
    trace: { type: 'boolean', default: false },
    with: { type: 'string', default: '' },
    'keep-going': { type: 'boolean', default: false },
    for: { type: 'string', default: '0' },
  },
})

function integer(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`--${name} must be a number from 0, got ${text}`)
  }
  return value
}

function faultGiven(name: string | undefined): FaultName | null {
  if (name === undefined) return null
  if (Object.hasOwn(FAULTS, name)) return name as FaultName
  throw new RangeError(`--fault must be one of ${Object.keys(FAULTS).join(', ')}`)
}

const from = integer('from', values.seed ?? values.from)
const count = values.seed === undefined ? integer('seeds', values.seeds) : 1
const steps = values.steps === undefined ? null : integer('steps', values.steps)
const fault = faultGiven(values.fault)
const features = Object.fromEntries(
  values.with
    .split(',')
    .filter((name) => name !== '')
    .map((name) => [name, true]),
)
const totals = new Map<string, number>()
const failed: number[] = []
const secondsMax = integer('for', values.for)
let run = 0
const startedMs = performance.now()

for (let seed = from; seed < from + count; seed += 1) {
  if (secondsMax > 0 && performance.now() - startedMs > secondsMax * 1_000) break
  run += 1
  try {
    const result = await simulate({
      seed,
      steps,
      fault,
      features,
      ...(values.trace ? { onTrace: (line: string) => console.log(line) } : {}),
    })
    for (const [key, value] of Object.entries(result)) {
      if (key !== 'seed') totals.set(key, (totals.get(key) ?? 0) + Number(value))
    }
  } catch (error) {
    failed.push(seed)
    console.log(error instanceof Error ? error.message : error)
    if (values.trace && error instanceof Error) console.log(error.cause)
    if (!values['keep-going']) break
  }
}

const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1)
const list = [...totals].map(([key, value]) => `${value} ${key}`)
console.log(`${run} seeds from ${from} in ${seconds} s: ${list.join(', ')}`)
console.log(failed.length === 0 ? 'every invariant held' : `failed: ${failed.join(' ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
