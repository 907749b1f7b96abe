/**
 * Reads server-sent events as a browser would: fields by line, an event at each empty line.
 */
import type { Client } from './node.ts'

export interface ReadEvent {
  readonly event: string
  readonly id: string
  readonly data: unknown
}

export class EventReader implements AsyncDisposable {
  readonly #reader: ReadableStreamDefaultReader<string>
  readonly #leave: AbortController
  #rest = ''
  #id = ''

  private constructor(reader: ReadableStreamDefaultReader<string>, leave: AbortController) {
    this.#reader = reader
    this.#leave = leave
  }

  static async open(client: Client, path: string, lastEventId?: string): Promise<EventReader> {
    const leave = new AbortController()
    const response = await client.raw(path, {
      headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId },
      signal: leave.signal,
    })
    if (response.status !== 200 || response.body === null) {
      throw new Error(`${path}: ${response.status} ${await response.text()}`)
    }
    const type = response.headers.get('content-type') ?? ''
    if (!type.startsWith('text/event-stream')) throw new Error(`${path}: ${type}`)
    const text = response.body.pipeThrough(new TextDecoderStream() as never)
    return new EventReader((text as ReadableStream<string>).getReader(), leave)
  }

  /** The next event of a type; others are passed over. */
  async next(type: string): Promise<ReadEvent> {
    for (;;) {
      const event = await this.#read()
      if (event === null) throw new Error(`the stream ended before an event ${type}`)
      if (event.event === type) return event
    }
  }

  /** True when nothing but the end comes. */
  async ended(): Promise<boolean> {
    try {
      return (await this.#read()) === null
    } catch {
      return true
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leave.abort()
    await this.#reader.cancel().catch(() => {})
  }

  async #read(): Promise<ReadEvent | null> {
    for (;;) {
      const end = this.#rest.indexOf('\n\n')
      if (end >= 0) {
        const lines = this.#rest.slice(0, end).split('\n')
        this.#rest = this.#rest.slice(end + 2)
        const field = (name: string): string | undefined =>
          lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
        this.#id = field('id') ?? this.#id
        const data = field('data')
        if (data === undefined) continue
        return { event: field('event') ?? 'message', id: this.#id, data: JSON.parse(data) }
      }
      const { value, done } = await this.#reader.read()
      if (done) return null
      this.#rest += value
    }
  }
}
