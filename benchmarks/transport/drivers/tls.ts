/**
 * TLS 1.3 over TCP with mutual certificates: length-prefixed messages on one connection, as small as a
 * protocol on node:tls can be.
 *
 *   u32 length (big-endian), u8 kind (0 request, 1 upload chunk, 2 end of upload), payload
 */
import { createServer, connect, type TLSSocket } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import type { Driver, DriverClient, Keys } from '../messages.ts'

const KIND = { request: 0, chunk: 1, end: 2 } as const
const HEADER_BYTES = 5

export const tlsDriver: Driver = {
  async serve(keys, host) {
    const server = createServer(
      { ...secrets(keys), requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' },
      serveSocket,
    )
    server.listen(0, host)
    await once(server, 'listening')
    return `${host}:${(server.address() as AddressInfo).port}`
  },
  async client(keys, address) {
    const [socket] = await open(keys, address, undefined)
    return tlsClient(socket, keys, address)
  },
}

function secrets(keys: Keys): { key: string; cert: string; ca: string } {
  return { key: keys.keyPem, cert: keys.certificatePem, ca: keys.peerPem }
}

async function open(
  keys: Keys,
  address: string,
  session: Buffer | undefined,
): Promise<[TLSSocket]> {
  const [host = '', port = ''] = address.split(':')
  const socket = connect({
    ...secrets(keys),
    host,
    port: Number(port),
    minVersion: 'TLSv1.3',
    checkServerIdentity: () => undefined,
    ...(session === undefined ? {} : { session }),
  })
  await once(socket, 'secureConnect')
  socket.setNoDelay(true)
  return [socket]
}

function serveSocket(socket: TLSSocket): void {
  socket.setNoDelay(true)
  // A client that goes away has its measurements already.
  socket.on('error', () => {})
  let uploaded = 0
  readMessages(socket, (kind, payload) => {
    if (kind === KIND.request) writeMessage(socket, KIND.request, payload)
    else if (kind === KIND.chunk) uploaded += payload.length
    else {
      const count = Buffer.alloc(8)
      count.writeBigUInt64LE(BigInt(uploaded))
      uploaded = 0
      writeMessage(socket, KIND.end, count)
    }
  })
}

function writeMessage(socket: TLSSocket, kind: number, payload: Uint8Array): boolean {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt32BE(payload.length)
  header[4] = kind
  socket.cork()
  socket.write(header)
  const goOn = socket.write(payload)
  socket.uncork()
  return goOn
}

function readMessages(socket: TLSSocket, onMessage: (kind: number, payload: Buffer) => void): void {
  let parts: Buffer[] = []
  let held = 0
  socket.on('data', (data: Buffer) => {
    parts.push(data)
    held += data.length
    while (held >= HEADER_BYTES) {
      const first = parts[0] as Buffer
      const start = first.length >= HEADER_BYTES ? first : Buffer.concat(parts)
      const length = start.readUInt32BE() + HEADER_BYTES
      if (held < length) {
        return
      }
      const all = parts.length === 1 ? first : Buffer.concat(parts)
      const rest = all.subarray(length)
      parts = rest.length === 0 ? [] : [rest]
      held = rest.length
      onMessage(all[4] ?? 0, all.subarray(HEADER_BYTES, length))
    }
  })
}

function tlsClient(socket: TLSSocket, keys: Keys, address: string): DriverClient {
  const waiting: ((payload: Buffer) => void)[] = []
  readMessages(socket, (_, payload) => waiting.shift()?.(payload))
  const answer = (): Promise<Buffer> => new Promise((resolve) => waiting.push(resolve))
  let session: Buffer | undefined
  socket.on('session', (ticket: Buffer) => {
    session = ticket
  })
  return {
    async request(bytes) {
      const answered = answer()
      writeMessage(socket, KIND.request, bytes)
      return (await answered).length
    },
    async upload(chunk, total) {
      const answered = answer()
      for (let sent = 0; sent < total; sent += chunk.length) {
        if (!writeMessage(socket, KIND.chunk, chunk)) await once(socket, 'drain')
      }
      writeMessage(socket, KIND.end, new Uint8Array())
      return Number((await answered).readBigUInt64LE())
    },
    async firstAnswer(how) {
      if (how === 'early') return null
      const startedMs = performance.now()
      const [fresh] = await open(keys, address, how === 'resumed' ? session : undefined)
      const answered = new Promise<void>((resolve) => readMessages(fresh, () => resolve()))
      writeMessage(fresh, KIND.request, new Uint8Array(64))
      await answered
      const tookMs = performance.now() - startedMs
      fresh.destroy()
      return tookMs
    },
    churn: () => Promise.resolve(null),
    async close() {
      socket.destroy()
    },
  }
}
