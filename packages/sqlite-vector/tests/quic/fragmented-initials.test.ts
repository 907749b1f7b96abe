/**
 * Initial packets with one-byte CRYPTO fragments and gaps between them: the engine keeps each fragment, so
 * bytes of unfinished handshakes are bounded; and a flood under another's address does not lock its owner out.
 */
import { createCipheriv, createHmac, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { expect, test } from 'vitest'
import { HandshakeBudget } from '../../src/transport/quic/handshake-budget.ts'
import {
  HANDSHAKE_BYTES_MAX,
  HANDSHAKE_BYTES_PER_ADDRESS_MAX,
  HANDSHAKE_BYTES_TOTAL_MAX,
} from '../../src/limits.ts'
import { introduce, openNode } from './quic-fixture.ts'

const PATIENCE = { timeout: 20_000 }
const SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex')

function expand(secret: Uint8Array, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0])])
  return createHmac('sha256', secret)
    .update(Buffer.concat([info, Buffer.from([1])]))
    .digest()
    .subarray(0, length)
}

function varint(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(0x8000_0000 + value)
  return bytes
}

/** A client's Initial (RFC 9001 §5): packet `number` of the connection `id`, with `frames` inside. */
function initialPacket(id: Buffer, number: number, frames: Buffer): Buffer {
  const secret = createHmac('sha256', SALT).update(id).digest()
  const client = expand(secret, 'client in', 32)
  const [key, iv, hp] = [
    expand(client, 'quic key', 16),
    expand(client, 'quic iv', 12),
    expand(client, 'quic hp', 16),
  ]
  const payload = Buffer.concat([frames, Buffer.alloc(Math.max(0, 1_162 - frames.length))])
  const length = Buffer.alloc(2)
  length.writeUInt16BE(0x4000 + 4 + payload.length + 16)
  const packetNumber = Buffer.alloc(4)
  packetNumber.writeUInt32BE(number)
  const header = Buffer.concat([
    Buffer.from([0xc3, 0, 0, 0, 1, id.length]),
    id,
    Buffer.from([0, 0]),
    length,
    packetNumber,
  ])
  const nonce = Buffer.from(iv)
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ number) >>> 0, 8)
  const cipher = createCipheriv('aes-128-gcm', key, nonce)
  cipher.setAAD(header)
  const sealed = Buffer.concat([cipher.update(payload), cipher.final(), cipher.getAuthTag()])
  const mask = createCipheriv('aes-128-ecb', hp, null).update(sealed.subarray(0, 16))
  header[0] = (header[0] ?? 0) ^ ((mask[0] ?? 0) & 0x0f)
  for (let index = 0; index < 4; index += 1) {
    const at = header.length - 4 + index
    header[at] = (header[at] ?? 0) ^ (mask[1 + index] ?? 0)
  }
  return Buffer.concat([header, sealed])
}

/** One-byte CRYPTO frames at every second offset from `first`. */
function fragments(first: number, count: number): Buffer {
  const frames: Buffer[] = []
  for (let index = 0; index < count; index += 1) {
    frames.push(Buffer.from([6]), varint(first + 2 * index), Buffer.from([1, 0]))
  }
  return Buffer.concat(frames)
}

test('fragments of handshakes that never end are held up to a bound, and an honest peer gets in', async () => {
  await using listener = await openNode({ handshakeTimeoutMs: 20_000 })
  await using honest = await openNode()
  introduce(listener, honest)
  const address = await listener.transport.listen('127.0.0.1:0')
  const port = Number(address.split(':')[1])
  const socket = createSocket('udp4')
  const before = process.memoryUsage().rss
  const ids = Array.from({ length: 12 }, () => randomBytes(20))

  for (let number = 0; number < 60; number += 1) {
    for (const id of ids)
      socket.send(initialPacket(id, number, fragments(2 + number * 290, 145)), port, '127.0.0.1')
    await new Promise((resolve) => setImmediate(resolve))
  }
  await expect
    .poll(() => listener.transport.getStats().handshakesDropped, PATIENCE)
    .toBeGreaterThan(5)
  const connection = await honest.transport.dial(address)
  const grownBytes = process.memoryUsage().rss - before
  await new Promise<void>((resolve) => socket.close(() => resolve()))

  expect(connection.peer.fingerprint).toBe(listener.identity.fingerprint)
  expect(grownBytes).toBeLessThan(200_000_000)
})

test('an address that others flood under proves itself and gets in', async () => {
  await using listener = await openNode()
  await using honest = await openNode({ handshakeTimeoutMs: 20_000 })
  introduce(listener, honest)
  const address = await listener.transport.listen('127.0.0.1:0')
  const socket = createSocket('udp4')
  const flood = (packets: number): void => {
    for (let count = 0; count < packets; count += 1) {
      const hello = initialPacket(randomBytes(20), 0, fragments(2, 1))
      socket.send(hello, Number(address.split(':')[1]), '127.0.0.1')
    }
  }
  flood(120)
  const timer = setInterval(() => flood(5), 50)
  await expect.poll(() => listener.transport.getStats().retriesSent, PATIENCE).toBeGreaterThan(10)

  const connection = await honest.transport.dial(address)
  clearInterval(timer)
  await new Promise<void>((resolve) => socket.close(() => resolve()))

  expect(connection.peer.fingerprint).toBe(listener.identity.fingerprint)
})

test('bytes are bounded for a handshake, an address and in all, and given back', () => {
  const budget = new HandshakeBudget<string>()
  budget.open('one', '192.0.2.1', false)
  expect(budget.take('one', HANDSHAKE_BYTES_MAX)).toBe(true)
  expect(budget.take('one', 1)).toBe(false)
  const perAddress = HANDSHAKE_BYTES_PER_ADDRESS_MAX / HANDSHAKE_BYTES_MAX
  for (let index = 1; index < perAddress; index += 1) {
    budget.open(`same ${index}`, '192.0.2.1', false)
    expect(budget.take(`same ${index}`, HANDSHAKE_BYTES_MAX)).toBe(true)
  }
  budget.open('too many', '192.0.2.1', false)
  budget.open('proven', '192.0.2.1', true)
  expect([budget.take('too many', 1), budget.take('proven', 1)]).toEqual([false, true])
  for (let index = 0; budget.total + HANDSHAKE_BYTES_MAX <= HANDSHAKE_BYTES_TOTAL_MAX; index += 1) {
    budget.open(`other ${index}`, `198.51.100.${index}`, false)
    budget.take(`other ${index}`, HANDSHAKE_BYTES_MAX)
  }
  budget.open('last', '203.0.113.1', false)
  expect(budget.take('last', HANDSHAKE_BYTES_MAX)).toBe(false)
  budget.close('one')
  expect(budget.take('last', HANDSHAKE_BYTES_MAX)).toBe(true)
})
