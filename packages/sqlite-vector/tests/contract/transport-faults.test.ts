/**
 * A check of the checker: transports with one planted fault each, and the case of the contract that must notice it.
 */
import { AssertionError } from 'node:assert'
import { expect, test } from 'vitest'

import { FRAME_BYTES_MAX } from '../../src/limits.ts'
import { type ContractCase, type OpenFixture, transportContract } from '../../src/testing/index.ts'
import { openMemoryFixture } from './memory-fixture.ts'
import { type Changes, wrappedTransport } from './wrapped-transport.ts'

const FAULTS: Readonly<Record<string, Changes & { readonly noticedBy: RegExp }>> = {
  'a frame of a channel is swallowed, and its sender told that all is well': {
    noticedBy: /flow both ways at once/,
    channel(channel) {
      let sent = 0
      return {
        async send(frame, options) {
          sent += 1
          if (sent !== 7) await channel.send(frame, options)
        },
      }
    },
  },
  'two frames change places': {
    noticedBy: /in the order they were sent/,
    channel(channel) {
      const held: Uint8Array[] = []
      return {
        async receive(options) {
          const kept = held.pop()
          if (kept !== undefined) return kept
          const first = await channel.receive(options)
          if (first === null || first.byteLength !== 7) return first
          held.push(first)
          return channel.receive(options)
        },
      }
    },
  },
  'a bit is flipped': {
    noticedBy: /frames arrive whole/,
    channel: (channel) => ({
      async receive(options) {
        const frame = await channel.receive(options)
        if (frame !== null && frame.byteLength > 1_000) frame[999] = (frame[999] ?? 0) ^ 1
        return frame
      },
    }),
  },
  'sends are taken over however slowly the peer reads': {
    noticedBy: /a writer stops when the reader stalls/,
    channel(channel) {
      let sending = Promise.resolve()
      return {
        send(frame, options) {
          sending = sending.then(() => channel.send(frame, options))
          return Promise.resolve()
        },
        finish: () => sending.then(() => channel.finish()),
      }
    },
  },
  'frames are lent, not given': {
    noticedBy: /the caller’s to keep/,
    channel(channel) {
      const memory = new Uint8Array(FRAME_BYTES_MAX)
      return {
        async receive(options) {
          const frame = await channel.receive(options)
          if (frame === null) return null
          memory.set(frame)
          return memory.subarray(0, frame.byteLength)
        },
      }
    },
  },
  'everybody is somebody else': {
    noticedBy: /knows the other by its fingerprint/,
    connection: () => ({ peer: { fingerprint: 'f'.repeat(64) } }),
  },
  'bytes are counted that were not sent': {
    noticedBy: /is counted/,
    connection: (connection) => ({
      stats() {
        const stats = connection.stats()
        return { ...stats, channelBytesSent: stats.channelBytesSent * 2 }
      },
    }),
  },
}

test.each(Object.entries(FAULTS))('%s: noticed', async (_, { noticedBy, ...fault }) => {
  const sound = caseNamed(noticedBy, (options) => openMemoryFixture({}, options))
  const faulty = caseNamed(noticedBy, (options) =>
    openMemoryFixture({}, options, (transport) => wrappedTransport(transport, fault)),
  )

  await sound.run()

  await expect(faulty.run()).rejects.toBeInstanceOf(AssertionError)
})

function caseNamed(name: RegExp, open: OpenFixture): ContractCase {
  const bounds = { frameBytesMax: FRAME_BYTES_MAX, unreadBytesMax: FRAME_BYTES_MAX }
  const [found, ...others] = transportContract(bounds, open).filter((one) => name.test(one.name))
  if (found === undefined || others.length > 0) throw new Error(`${name.source}: not one case`)
  return found
}
