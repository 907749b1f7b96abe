/**
 * The transport contract: the guarantees that sync relies on, as named cases. A case opens a
 * fixture of its own, throws when the transport does not keep the contract, and leaves nothing open
 * when the fixture's disposal does not.
 *
 * Knows no test runner and no transport: `for (const { name, run } of transportContract(bounds,
 * open)) test(name, run)`. Invariant: no case looks at elapsed time; one that never ends is ended
 * by the runner's own limit.
 */
import { endCases } from './end-cases.ts'
import { flowCases } from './flow-cases.ts'
import { frameCases } from './frame-cases.ts'
import { signalCases } from './signal-cases.ts'
import { volumeCases } from './volume-cases.ts'
import { type ContractBounds, type ContractCase, type OpenFixture } from './types.ts'

/** Every case of the contract, for the transport that `open` gives. */
export function transportContract(
  bounds: ContractBounds,
  open: OpenFixture,
): readonly ContractCase[] {
  return [
    ...frameCases(bounds, open),
    ...flowCases(bounds, open),
    ...endCases(open),
    ...signalCases(open),
    ...volumeCases(bounds, open),
  ]
}
