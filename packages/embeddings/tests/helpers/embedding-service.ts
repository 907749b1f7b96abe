/**
 * A deterministic embedding service over HTTP, for tests and for trying `ingest` without a model: words hashed into
 * 256 buckets. Speaks the part of the OpenAI interface that `httpEmbedder` uses. Its faults are given by the test.
 *
 *   node --conditions=source packages/embeddings/tests/helpers/embedding-service.ts 11500
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { contentWords } from '../../src/words.ts'

export const DIMENSION = 256
export const MODEL = 'hashed-words-256'

/** An answer in place of the vectors. */
export interface Fault {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Never answers. */
  readonly hangs?: true
  /** Closes the connection without an answer. */
  readonly drops?: true
}

export interface EmbeddingService extends AsyncDisposable {
  readonly url: string
  /** Texts of each request that was answered with vectors. */
  readonly answered: readonly (readonly string[])[]
  /** Requests that came, the faulty ones included. */
  readonly requests: number
  /** Most requests that were open at the same time. */
  readonly openMax: number
}

/** Starts it; `faultOf` is asked about each request, by its number from 1 and its texts. */
export async function startEmbeddingService(
  faultOf: (request: number, texts: readonly string[]) => Fault | null = () => null,
  { port = 0, isReversed = false }: { readonly port?: number; readonly isReversed?: boolean } = {},
): Promise<EmbeddingService> {
  const answered: (readonly string[])[] = []
  let requests = 0
  let open = 0
  let openMax = 0
  const server: Server = createServer((request, response) => {
    requests += 1
    const number = requests
    open += 1
    openMax = Math.max(openMax, open)
    response.on('close', () => (open -= 1))
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { input } = JSON.parse(Buffer.concat(chunks).toString()) as { input: string[] }
      const fault = faultOf(number, input)
      if (fault?.hangs === true) return
      if (fault?.drops === true) {
        request.socket.destroy()
        return
      }
      response.writeHead(fault?.status ?? 200, {
        'content-type': 'application/json',
        ...fault?.headers,
      })
      if (fault === null) {
        answered.push(input)
        const data = input.map((text, index) => ({ index, embedding: hashedWords(text) }))
        // Services may answer in any order; `index` says which text a vector belongs to.
        if (isReversed) data.reverse()
        response.end(JSON.stringify({ object: 'list', model: MODEL, data }))
      } else response.end(fault.body ?? '{"error":{"message":"as the test asked"}}')
    })
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
  return {
    url,
    answered,
    get requests() {
      return requests
    },
    get openMax() {
      return openMax
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A unit vector of a text's words. */
export function hashedWords(text: string): number[] {
  const vector = Array.from({ length: DIMENSION }, () => 0)
  for (const word of contentWords(text)) {
    let hash = 0x811c9dc5
    for (const character of word)
      hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193)
    hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> 0
    const bucket = hash % DIMENSION
    vector[bucket] = (vector[bucket] ?? 0) + (hash >>> 31 === 0 ? 1 : -1)
  }
  const length = Math.hypot(...vector)
  if (length === 0) vector[0] = 1
  return vector.map((component) => (length === 0 ? component : component / length))
}

if (process.argv[1] === import.meta.filename) {
  const service = await startEmbeddingService(() => null, { port: Number(process.argv[2] ?? 0) })
  process.stdout.write(`${service.url} ${MODEL}\n`)
}
