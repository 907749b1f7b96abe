/**
 * The control stream: a process introduces itself to a peer, once for each connection.
 *
 * | bytes | field    | encoding                                                  |
 * | ----- | -------- | --------------------------------------------------------- |
 * | 16    | instance | random, names the process                                 |
 * | 1     | flags    | 1: the sender took early data; other bits are not looked at |
 *
 * Unidirectional, one from each side, behind its type ({@link STREAM_TYPE}). Its meaning for the
 * connection is decided in quic/connection.ts.
 */
import { SqliteVectorError } from '../../errors.ts'
import type { QuicStream } from './stream.ts'

/** Bytes of the name of a process. */
export const INSTANCE_BYTES = 16

const FLAG_EARLY_TAKEN = 1

export interface ControlMessage {
  /** Of the peer's process, in hexadecimal digits. */
  readonly instance: string
  readonly earlyTaken: boolean
}

export function controlParts(instance: Uint8Array, earlyTaken: boolean): readonly Uint8Array[] {
  return [instance, Uint8Array.of(earlyTaken ? FLAG_EARLY_TAKEN : 0)]
}

/** Calls `onMessage` once all of it is here; never where the peer gives the stream up. */
export function readControl(
  stream: QuicStream,
  onMessage: (message: ControlMessage) => void,
): void {
  const control = new Uint8Array(INSTANCE_BYTES + 1)
  let filled = 0
  stream.onReadable = () => {
    try {
      while (filled < control.length) {
        const count = stream.readInto(control.subarray(filled))
        if (count <= 0) return
        filled += count
      }
    } catch (error) {
      if (!(error instanceof SqliteVectorError)) throw error
      // The peer gave its control stream up: it never accepts us, and the handshake timer ends it.
      return
    }
    onMessage({
      instance: Buffer.from(control.subarray(0, INSTANCE_BYTES)).toString('hex'),
      earlyTaken: ((control[INSTANCE_BYTES] ?? 0) & FLAG_EARLY_TAKEN) !== 0,
    })
  }
  stream.onReadable()
}
