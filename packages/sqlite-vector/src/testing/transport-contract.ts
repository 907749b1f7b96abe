/**
 * The transport contract: what sync relies on, as cases with names. A case opens a fixture of its own, throws when
 * the transport does not keep the contract, and leaves nothing open when the fixture's disposal does not.
 *
 * Knows no test runner and no transport: `for (const { name, run } of transportContract(bounds, open)) test(name, run)`.
 * Invariant: no case looks at elapsed time; one that waits for ever is ended by the runner's own limit.
 */
import type { Transport } from '../transport/types.ts'
import { endCases } from './end-cases.ts'
import { flowCases } from './flow-cases.ts'
import { frameCases } from './frame-cases.ts'
import { signalCases } from './signal-cases.ts'
import { volumeCases } from './volume-cases.ts'

/** Two parties that trust each other; one listens. Its disposal closes both. */
export interface TransportFixture extends AsyncDisposable {
  readonly dialler: Transport
  readonly listener: Transport
  /** Where the listener can be dialled, as `host:port`. */
  readonly address: string
}

/** What a case asks of a fixture; what is left out is up to the transport. */
export interface FixtureOptions {
  /** Largest frame that the listener sends or takes, in bytes. */
  readonly listenerFrameBytesMax?: number
  /** Channels that a party may have open at once on one connection. */
  readonly channelsMax?: number
}

/** Opens the two parties of one case. */
export type OpenFixture = (options?: FixtureOptions) => Promise<TransportFixture>

/** What may differ between transports. */
export interface ContractBounds {
  /** Largest frame by default, in bytes. */
  readonly frameBytesMax: number
  /** Most bytes that sends may have been taken over while the other side reads nothing. */
  readonly unreadBytesMax: number
  /** Channels opened one after the other over one connection. @defaultValue 300 */
  readonly channelsInSequence?: number
  /** Bytes that flow each way at once, rounded up to whole frames of 512 KiB. @defaultValue 8 MiB */
  readonly bytesBothWays?: number
}

/** One thing that a transport must do. */
export interface ContractCase {
  readonly name: string
  /** Rejects with an `AssertionError` that says what differs when the transport does not do it. */
  readonly run: () => Promise<void>
}

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
