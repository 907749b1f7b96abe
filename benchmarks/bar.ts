/**
 * What a benchmark suite hands to the runner: measured values, each beside its goal.
 *
 * Not the runner (bench.ts) and not a timer. Whether a bar holds is computed here from value and goal
 * and nowhere else, so that no suite can call its own figure good.
 */

/** One measured value and the goal it is held against. */
export interface Bar {
  /** What was measured, with workload and aggregation: `'encode 100 changes of 384-d, median'`. */
  readonly name: string
  readonly value: number
  /** `'<= 0.2'`, `'>= 0.8'` or `'= 1'`; `'none'` for a figure that is reported without a goal. */
  readonly goal: string
  readonly unit: string
  /** True when the value meets the goal, or there is none. */
  readonly ok: boolean
}

/** What the runner passes to a suite. */
export interface BenchOptions {
  /** Fewer repetitions, to see that the suite runs; its figures are no results. */
  readonly quick: boolean
  /** How long the parts last whose length is a choice; null for their own. */
  readonly minutes: number | null
  /** Says what is being measured, on stderr. */
  readonly log: (line: string) => void
}

/** What `benchmarks/<suite>/bench.ts` exports. */
export interface BenchSuite {
  /** One line: what this suite measures. */
  readonly title: string
  bars(options: BenchOptions): Promise<readonly Bar[]>
}

/** A bar whose `ok` follows from value and goal. @throws RangeError when the goal cannot be read */
export function bar(name: string, value: number, goal: string, unit: string): Bar {
  return { name, value, goal, unit, ok: meets(value, goal) }
}

/** The middle value; the mean of the two middle ones for an even count. @throws RangeError when empty */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  if (upper === undefined) throw new RangeError('median: no values')
  if (sorted.length % 2 === 1) return upper
  return ((sorted[middle - 1] ?? upper) + upper) / 2
}

function meets(value: number, goal: string): boolean {
  if (goal === 'none') return true
  const match = /^(<=|>=|=) (-?\d+(?:\.\d+)?)$/.exec(goal)
  if (match === null)
    throw new RangeError(`goal must be like "<= 0.2", got ${JSON.stringify(goal)}`)
  const bound = Number(match[2])
  // A value that is not a number meets nothing: every comparison with it is false.
  if (match[1] === '<=') return value <= bound
  return match[1] === '>=' ? value >= bound : value === bound
}
