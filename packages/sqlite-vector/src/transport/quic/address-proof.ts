/**
 * Tokens and resets of an endpoint: the two things it can say to an address without keeping state
 * for it.
 *
 * A token, sent in a Retry packet, comes back from a sender that reads what is sent to its address
 * (RFC 9000 §8.1.2). A stateless reset tells a peer that a connection is gone, for example after a
 * restart (§10.3); its token is derived from the node's key, so the next process can make it again.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../clock/types.ts'
import { formatAddress } from '../address.ts'
import type { HostPort } from '../address.ts'

const TOKEN_MAC_BYTES = 16
const TOKEN_TIME_BYTES = 8
const TOKEN_MS_MAX = 10_000
const RESET_TOKEN_BYTES = 16
/**
 * The smallest stateless reset (RFC 9000 §10.3), and one that looks like any other short packet.
 */
const RESET_BYTES_MIN = 21
const RESET_BYTES = 60

export class AddressProof {
  readonly #clock: Clock
  readonly #tokenKey = randomBytes(32)
  readonly #resetKey: Uint8Array

  /** `resetKey` must be the same in every process of the node. */
  constructor(clock: Clock, resetKey: Uint8Array) {
    this.#clock = clock
    this.#resetKey = resetKey
  }

  /** mac ‖ time ‖ original id: its bearer can read what is sent to that address. */
  token(originalId: Buffer, from: HostPort): Buffer {
    const body = Buffer.alloc(TOKEN_TIME_BYTES + originalId.length)
    body.writeDoubleBE(this.#clock.nowMs())
    originalId.copy(body, TOKEN_TIME_BYTES)
    return Buffer.concat([this.#mac(body, from), body])
  }

  /** The original id in a token of ours for that address; null when it is not one, or too old. */
  checkToken(given: Uint8Array | undefined, from: HostPort): Buffer | null {
    if (given === undefined || given.length <= TOKEN_MAC_BYTES + TOKEN_TIME_BYTES) return null
    const token = Buffer.from(given)
    const body = token.subarray(TOKEN_MAC_BYTES)
    if (!timingSafeEqual(token.subarray(0, TOKEN_MAC_BYTES), this.#mac(body, from))) return null
    const ageMs = this.#clock.nowMs() - body.readDoubleBE()
    return Math.abs(ageMs) <= TOKEN_MS_MAX ? body.subarray(TOKEN_TIME_BYTES) : null
  }

  /** Proves, also after a restart, that we gave out this connection id. */
  resetToken(id: Uint8Array): bigint {
    return BigInt(`0x${this.#resetTokenBytes(id).toString('hex')}`)
  }

  /**
   * The stateless reset for a packet under `id`, `datagramBytes` long; null when that is too short.
   * It is smaller than the packet, so that two nodes without memory do not answer each other
   * without end.
   */
  reset(id: Uint8Array, datagramBytes: number): Buffer | null {
    const length = Math.min(RESET_BYTES, datagramBytes - 1)
    if (length < RESET_BYTES_MIN) return null
    const answer = randomBytes(length)
    answer[0] = 0x40 | ((answer[0] ?? 0) & 0x3f)
    this.#resetTokenBytes(id).copy(answer, length - RESET_TOKEN_BYTES)
    return answer
  }

  #resetTokenBytes(id: Uint8Array): Buffer {
    const mac = createHmac('sha256', this.#resetKey).update(id).digest()
    return mac.subarray(0, RESET_TOKEN_BYTES)
  }

  #mac(body: Buffer, from: HostPort): Buffer {
    const mac = createHmac('sha256', this.#tokenKey).update(formatAddress(from)).update(body)
    return mac.digest().subarray(0, TOKEN_MAC_BYTES)
  }
}
