/**
 * Input and form of the cases of the transport contract. Types only.
 */
import { type Transport } from '../transport/types.ts'

/** Two parties that trust each other; one listens. Its disposal closes both. */
export interface TransportFixture extends AsyncDisposable {
  readonly dialler: Transport
  readonly listener: Transport
  /** Address of the listener, as `host:port`. */
  readonly address: string
}

/** Demands of a case on its fixture; absent fields are up to the transport. */
export interface FixtureOptions {
  /** Largest frame that the listener sends or takes, in bytes. */
  readonly listenerFrameBytesMax?: number
  /** Channels that a party may have open at once on one connection. */
  readonly channelsMax?: number
}

/** Opens the two parties of one case. */
export type OpenFixture = (options?: FixtureOptions) => Promise<TransportFixture>

/** Bounds that differ between transports. */
export interface ContractBounds {
  /** Largest frame by default, in bytes. */
  readonly frameBytesMax: number
  /** Most bytes that sends may have been taken over while the other side reads nothing. */
  readonly unreadBytesMax: number
  /** Channels opened one after the other over one connection. @defaultValue 300 */
  readonly channelsInSequence?: number
  /**
   * Bytes that flow each way at once, rounded up to whole frames of 512 KiB.
   * @defaultValue 8 MiB
   */
  readonly bytesBothWays?: number
}

/** One thing that a transport must do. */
export interface ContractCase {
  readonly name: string
  /** Rejects with an `AssertionError` that says what differs when the transport does not do it. */
  readonly run: () => Promise<void>
}
