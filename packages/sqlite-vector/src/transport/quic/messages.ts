/**
 * Messages between nodes: one-way with a receipt, or a request with an answer, without a protocol
 * of their own above the transport. Sync does not use them; its channels are quic/channel.ts.
 *
 * On a channel of the type `messages` the opener sends one frame with the mode (one byte: 0
 * one-way, 1 request), then each message as a frame, then finishes. Back comes a frame for each
 * message: an empty one as receipt, given when `receive()` returned it, or the answer.
 *
 * A node keeps at most {@link INBOX_MESSAGES_MAX} messages that were not received yet; beyond that
 * it stops reading, and senders wait.
 */
import { SqliteVectorError } from '../../errors.ts'
import { INBOX_MESSAGES_MAX } from '../../limits.ts'
import { abortable, throwIfAborted } from '../abortable.ts'
import type { Channel, PeerIdentity, WaitOptions } from '../types.ts'

const MODE = { oneWay: 0, request: 1 } as const

/** A message that a peer sent to us. */
export interface IncomingMessage {
  readonly peer: PeerIdentity
  readonly message: Uint8Array
  /** True when the peer waits for {@link answer}. */
  readonly isRequest: boolean
  /**
   * Answers a request, once.
   * @throws TypeError when it is none or was answered; `TRANSPORT_` codes
   */
  answer(message: Uint8Array, options?: WaitOptions): Promise<void>
}

/** Sends messages on a channel and waits for their receipts. */
export async function sendMessages(
  channel: Channel,
  messages: readonly Uint8Array[],
  options: WaitOptions,
): Promise<void> {
  let received = 0
  const receipts = async (): Promise<void> => {
    for (; received < messages.length; received += 1) {
      if ((await channel.receive(options)) === null) throw unanswered('receipt')
    }
  }
  try {
    await Promise.all([sendAll(channel, MODE.oneWay, messages, options), receipts()])
  } catch (cause) {
    channel.abort('the messages were given up')
    if (!(cause instanceof SqliteVectorError)) throw cause
    const message = `the peer confirmed ${received} of ${messages.length} messages: ${cause.message}`
    throw new SqliteVectorError(cause.code, message, { cause })
  }
}

/** Sends one message on a channel and waits for its answer. */
export async function requestAnswer(
  channel: Channel,
  message: Uint8Array,
  options: WaitOptions,
): Promise<Uint8Array> {
  try {
    const [answer] = await Promise.all([
      channel.receive(options),
      sendAll(channel, MODE.request, [message], options),
    ])
    if (answer === null) throw unanswered('answer')
    return answer
  } finally {
    // After success both directions have ended, and this does nothing.
    channel.abort('the request is over')
  }
}

/** Messages from peers that were not received yet. */
export class Inbox {
  readonly #ready: IncomingMessage[] = []
  readonly #takers: ((message: IncomingMessage | null) => void)[] = []
  readonly #waitingForRoom: (() => void)[] = []
  readonly #taken = new Map<IncomingMessage, () => void>()
  readonly #ending = Promise.withResolvers<'ended'>()
  #reserved = 0
  #isEnded = false

  /** Reads a channel of messages to its end. Never rejects: the sender learns of failures. */
  async serve(peer: PeerIdentity, channel: Channel): Promise<void> {
    try {
      const mode = (await channel.receive())?.[0]
      if (mode !== MODE.oneWay && mode !== MODE.request) throw unanswered('mode')
      while (await this.#takeOne(peer, channel, mode === MODE.request));
      await channel.finish()
    } catch (error) {
      if (!(error instanceof SqliteVectorError)) throw error
      channel.abort('the messages cannot be taken')
    }
  }

  /** The next message; null once the transport is closed. */
  receive(options: WaitOptions): Promise<IncomingMessage | null> {
    return abortable<IncomingMessage | null>(options.signal, (resolve) => {
      this.#takers.push(resolve)
      this.#serveTakers()
      return () => this.#takers.splice(this.#takers.indexOf(resolve), 1)
    })
  }

  end(): void {
    this.#isEnded = true
    this.#ending.resolve('ended')
    this.#serveTakers()
    for (const goOn of this.#waitingForRoom.splice(0)) goOn()
  }

  /** False at the end of the channel. */
  async #takeOne(peer: PeerIdentity, channel: Channel, isRequest: boolean): Promise<boolean> {
    await this.#room()
    try {
      const message = await channel.receive()
      if (message === null) return false
      const answered = Promise.withResolvers<void>()
      const incoming = incomingMessage(peer, message, isRequest, channel, answered.resolve)
      const taken = new Promise<void>((resolve) => {
        this.#taken.set(incoming, resolve)
        this.#ready.push(incoming)
        this.#serveTakers()
      })
      const goal = isRequest ? answered.promise : taken
      if ((await Promise.race([goal, this.#ending.promise])) === 'ended') throw unanswered('end')
      if (isRequest) return false
      await channel.send(new Uint8Array())
      return true
    } finally {
      this.#reserved -= 1
      this.#waitingForRoom.shift()?.()
    }
  }

  async #room(): Promise<void> {
    while (this.#reserved >= INBOX_MESSAGES_MAX && !this.#isEnded) {
      await new Promise<void>((resolve) => this.#waitingForRoom.push(resolve))
    }
    this.#reserved += 1
  }

  #serveTakers(): void {
    while (this.#takers.length > 0) {
      const message = this.#ready.shift()
      if (message === undefined && !this.#isEnded) return
      this.#takers.shift()?.(message ?? null)
      if (message === undefined) continue
      this.#taken.get(message)?.()
      this.#taken.delete(message)
    }
  }
}

async function sendAll(
  channel: Channel,
  mode: number,
  messages: readonly Uint8Array[],
  options: WaitOptions,
): Promise<void> {
  throwIfAborted(options.signal)
  await channel.send(Uint8Array.of(mode), options)
  for (const message of messages) await channel.send(message, options)
  await channel.finish()
}

function incomingMessage(
  peer: PeerIdentity,
  message: Uint8Array,
  isRequest: boolean,
  channel: Channel,
  onAnswered: () => void,
): IncomingMessage {
  let isAnswered = false
  return {
    peer,
    message,
    isRequest,
    async answer(bytes, options = {}) {
      if (!isRequest) throw new TypeError('answer: the peer waits for no answer')
      if (isAnswered) throw new TypeError('answer: the request was answered already')
      isAnswered = true
      try {
        await channel.send(bytes, options)
      } finally {
        onAnswered()
      }
    },
  }
}

function unanswered(what: string): SqliteVectorError {
  return new SqliteVectorError('TRANSPORT_ABORTED', `the peer ended the channel without ${what}`)
}
