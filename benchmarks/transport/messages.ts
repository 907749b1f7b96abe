/**
 * What the benchmark and its two processes per driver say to each other. Types only.
 */

export type DriverName = 'quic' | 'quic-1350' | 'quic-cubic' | 'quic-worker' | 'tls' | 'http2'

/** One workload for a client. */
export type Work =
  | { readonly type: 'requests'; readonly bytes: number; readonly count: number }
  | { readonly type: 'upload'; readonly bytes: number; readonly timeoutMs?: number }
  | { readonly type: 'first-answer'; readonly how: 'full' | 'resumed' | 'early' }
  | { readonly type: 'churn'; readonly connections: number; readonly channels: number }
  | { readonly type: 'usage' }

/** What a client answers. */
export interface Result {
  /** Milliseconds of each request, or of the whole. */
  readonly times: readonly number[]
  readonly usage: Usage
}

export interface Usage {
  readonly cpuSeconds: number
  /** Milliseconds that the main thread was busy. */
  readonly mainBusyMs: number
  readonly peakRssBytes: number
  readonly rssBytes: number
}

/** What both processes of a driver are started with. */
export interface Keys {
  readonly keyPem: string
  readonly certificatePem: string
  readonly peerPem: string
}

/** A protocol under test. */
export interface Driver {
  /** Echoes requests and counts uploads; resolves with its address. */
  serve(keys: Keys, host: string): Promise<string>
  client(keys: Keys, address: string): Promise<DriverClient>
}

export interface DriverClient {
  /** Sends a request and resolves with the number of bytes that came back. */
  request(bytes: Uint8Array): Promise<number>
  /** Sends `total` bytes in chunks on one stream; resolves with the number that the server counted. */
  upload(chunk: Uint8Array, total: number): Promise<number>
  /** A connection of its own and one request of 64 bytes; null where the protocol cannot do it. */
  firstAnswer(how: 'full' | 'resumed' | 'early'): Promise<number | null>
  /** Opens and closes connections with a number of requests on each; null where that is not measured. */
  churn(connections: number, channels: number): Promise<null | void>
  close(): Promise<void>
}
