/**
 * What the parent of the sync benchmark asks of its two processes, and what they answer.
 */

/** The process that has the records. */
export interface SenderCalls {
  readonly open: {
    request: { readonly folder: string; readonly count: number; readonly batchSize: number }
    answer: { readonly certificatePem: string; readonly address: string; readonly port: number }
  }
  readonly trust: { request: { readonly certificatePem: string }; answer: null }
}

/** The process that gets them; each run into a file of its own. */
export interface ReceiverCalls {
  readonly prepare: {
    request: { readonly path: string; readonly trusted: string }
    answer: { readonly certificatePem: string }
  }
  readonly quic: { request: { readonly address: string }; answer: RunAnswer }
  readonly tcp: { request: { readonly path: string; readonly port: number }; answer: RunAnswer }
}

/** One transfer. */
export interface RunAnswer {
  readonly count: number
  readonly ms: number
  /** Bytes of frames (QUIC) or of the stream (TCP) that were received. */
  readonly bytes: number
  /** UDP payload both ways; the same as `bytes` for TCP. */
  readonly wireBytes: number
}

/** A request on its way to a process. */
export interface Request {
  readonly number: number
  readonly call: string
  readonly request: unknown
}

/** Its answer. */
export interface Response {
  readonly number: number
  readonly answer?: unknown
  readonly failure?: string
}

/** Answers requests of the parent with `handlers`, until the parent is gone. */
export function serveCalls(handlers: Readonly<Record<string, (request: never) => unknown>>): void {
  process.on('disconnect', () => process.exit(0))
  process.on('message', (message) => {
    const { number, call, request } = message as Request
    const answer = async (): Promise<Response> => {
      try {
        return { number, answer: await handlers[call]?.(request as never) }
      } catch (error) {
        return { number, failure: error instanceof Error ? (error.stack ?? '') : String(error) }
      }
    }
    void answer().then((response) => process.send?.(response))
  })
}
