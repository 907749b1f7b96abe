/**
 * Messages between nodes: a resolved send() was received by somebody, and a request has its answer.
 */
import { expect, test } from 'vitest'
import { INBOX_MESSAGES_MAX } from '../../src/limits.ts'
import { pattern } from '../../src/testing/connection-pair.ts'
import { errorOf, introduce, openNode } from './quic-fixture.ts'

test('send() resolves when the peer has received the message, not before', async () => {
  await using a = await openNode()
  await using b = await openNode()
  introduce(a, b)
  const address = await b.transport.listen('127.0.0.1:0')
  let isSent = false
  const sending = a.transport.send(address, Uint8Array.of(1, 2, 3)).finally(() => {
    isSent = true
  })

  await new Promise((resolve) => setTimeout(resolve, 50))
  const early = isSent
  const incoming = await b.transport.receive()
  await sending

  expect(early).toBe(false)
  expect(incoming?.message).toEqual(Uint8Array.of(1, 2, 3))
  expect(incoming?.peer.fingerprint).toBe(a.identity.fingerprint)
  expect(incoming?.isRequest).toBe(false)
  await expect(incoming?.answer(Uint8Array.of(1))).rejects.toThrow(TypeError)
})

test('request() resolves with the answer of the peer', async () => {
  await using a = await openNode()
  await using b = await openNode()
  introduce(a, b)
  const address = await b.transport.listen('127.0.0.1:0')
  const serving = (async () => {
    for (let count = 0; count < 3; count += 1) {
      const incoming = await b.transport.receive()
      await incoming?.answer(Uint8Array.from(incoming.message, (byte) => byte * 2))
    }
  })()

  const answers = await Promise.all(
    [1, 2, 3].map((value) => a.transport.request(address, Uint8Array.of(value))),
  )
  await serving

  expect(answers.map((answer) => answer[0])).toEqual([2, 4, 6])
  expect(a.transport.getStats().created).toBe(1)
})

test('sendBatch() delivers all messages in order', async () => {
  await using a = await openNode()
  await using b = await openNode()
  introduce(a, b)
  const address = await b.transport.listen('127.0.0.1:0')
  const messages = Array.from({ length: 200 }, (_, index) => pattern(1_000, index))
  const received: Uint8Array[] = []
  const receiving = (async () => {
    while (received.length < messages.length) {
      const incoming = await b.transport.receive()
      // Null ends it: asking on would keep the process from everything else.
      if (incoming === null) throw new Error(`closed after ${received.length} messages`)
      received.push(incoming.message)
    }
  })()

  await a.transport.sendBatch(address, messages)
  await receiving

  expect(
    received.every((bytes, index) => Buffer.compare(bytes, messages[index] as Uint8Array) === 0),
  ).toBe(true)
})

test('a sendBatch() that is cut short says how many messages were received', async () => {
  await using a = await openNode()
  await using b = await openNode()
  introduce(a, b)
  const address = await b.transport.listen('127.0.0.1:0')
  const sending = errorOf(
    a.transport.sendBatch(address, [Uint8Array.of(1), Uint8Array.of(2), Uint8Array.of(3)]),
  )

  await b.transport.receive()
  const second = await b.transport.receive()
  await new Promise((resolve) => setTimeout(resolve, 50))
  await b.transport.close()

  const error = await sending
  expect(second?.message).toEqual(Uint8Array.of(2))
  expect(error.message).toContain('confirmed 2 of 3 messages')
})

test('a peer that receives nothing makes senders wait, and a signal ends the wait', async () => {
  await using a = await openNode()
  await using b = await openNode()
  introduce(a, b)
  const address = await b.transport.listen('127.0.0.1:0')
  const controller = new AbortController()
  let settled = 0
  const sends = Array.from({ length: INBOX_MESSAGES_MAX + 20 }, () =>
    errorOf(a.transport.send(address, Uint8Array.of(1), { signal: controller.signal })).finally(
      () => {
        settled += 1
      },
    ),
  )

  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(settled).toBe(0)
  controller.abort()

  for (const error of await Promise.all(sends)) expect(error.code).toBe('TRANSPORT_ABORTED')
})

test('receive() ends with null when the transport closes', async () => {
  const node = await openNode()
  const waiting = node.transport.receive()

  await node.transport.close()

  expect(await waiting).toBeNull()
  expect(await node.transport.receive()).toBeNull()
})

test('an unanswered request ends with its signal; an answer too late is dropped and costs the connection nothing', async () => {
  await using a = await openNode()
  await using b = await openNode()
  introduce(a, b)
  const address = await b.transport.listen('127.0.0.1:0')
  const controller = new AbortController()
  const asking = errorOf(
    a.transport.request(address, Uint8Array.of(1), { signal: controller.signal }),
  )
  const incoming = await b.transport.receive()

  controller.abort()
  const error = await asking
  await new Promise((resolve) => setTimeout(resolve, 50))

  expect(error.code).toBe('TRANSPORT_ABORTED')
  await incoming?.answer(new Uint8Array(10))
  const again = a.transport.request(address, Uint8Array.of(2))
  const next = await b.transport.receive()
  await next?.answer(Uint8Array.of(4))
  expect(await again).toEqual(Uint8Array.of(4))
  expect(a.transport.getStats().created).toBe(1)
})
