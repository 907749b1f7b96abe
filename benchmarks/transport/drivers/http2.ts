/**
 * HTTP/2 over TLS 1.3 with mutual certificates: a stream for each request, one stream for an upload.
 */
import {
  connect,
  createSecureServer,
  type ClientHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import type { Driver, DriverClient, Keys } from '../messages.ts'

export const http2Driver: Driver = {
  async serve(keys, host) {
    const server = createSecureServer({
      ...secrets(keys),
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
    })
    server.on('stream', (stream, headers) => {
      // A client that goes away has its measurements already.
      stream.on('error', () => {})
      if (headers[':path'] === '/upload') countUpload(stream)
      else echo(stream)
    })
    server.listen(0, host)
    await once(server, 'listening')
    return `${host}:${(server.address() as AddressInfo).port}`
  },
  async client(keys, address) {
    return http2Client(await open(keys, address), keys, address)
  },
}

function secrets(keys: Keys): { key: string; cert: string; ca: string } {
  return { key: keys.keyPem, cert: keys.certificatePem, ca: keys.peerPem }
}

async function open(keys: Keys, address: string): Promise<ClientHttp2Session> {
  const session = connect(`https://${address}`, {
    ...secrets(keys),
    minVersion: 'TLSv1.3',
    checkServerIdentity: () => undefined,
  })
  await once(session, 'connect')
  return session
}

function echo(stream: ServerHttp2Stream): void {
  const parts: Buffer[] = []
  stream.on('data', (data: Buffer) => parts.push(data))
  stream.on('end', () => {
    stream.respond({ ':status': 200 })
    stream.end(Buffer.concat(parts))
  })
}

function countUpload(stream: ServerHttp2Stream): void {
  let bytes = 0
  stream.on('data', (data: Buffer) => {
    bytes += data.length
  })
  stream.on('end', () => {
    stream.respond({ ':status': 200 })
    stream.end(String(bytes))
  })
}

async function exchange(
  session: ClientHttp2Session,
  path: string,
  chunk: Uint8Array,
  total: number,
): Promise<Buffer> {
  const stream = session.request({ ':method': 'POST', ':path': path })
  const parts: Buffer[] = []
  stream.on('data', (data: Buffer) => parts.push(data))
  const ended = once(stream, 'end')
  for (let sent = 0; sent < total; sent += chunk.length) {
    if (!stream.write(chunk)) await once(stream, 'drain')
  }
  stream.end()
  await ended
  return Buffer.concat(parts)
}

function http2Client(session: ClientHttp2Session, keys: Keys, address: string): DriverClient {
  return {
    async request(bytes) {
      return (await exchange(session, '/echo', bytes, bytes.length)).length
    },
    async upload(chunk, total) {
      return Number((await exchange(session, '/upload', chunk, total)).toString())
    },
    async firstAnswer(how) {
      if (how !== 'full') return null
      const startedMs = performance.now()
      const fresh = await open(keys, address)
      await exchange(fresh, '/echo', new Uint8Array(64), 64)
      const tookMs = performance.now() - startedMs
      fresh.destroy()
      return tookMs
    },
    churn: () => Promise.resolve(null),
    async close() {
      session.destroy()
    },
  }
}
