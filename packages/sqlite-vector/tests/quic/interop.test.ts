/**
 * Another implementation of QUIC and TLS (ngtcp2 with GnuTLS) against ours, both ways: the handshake
 * completes with mutual certificates, and a foreign protocol or an unknown certificate is refused.
 *
 * Needs the programs gtlsclient and gtlsserver (Debian: ngtcp2-client, ngtcp2-server); where they are missing
 * the tests say that they were skipped. They speak HTTP/3, so our side takes the name `h3` for it.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ALPN } from '../../src/transport/quic/options.ts'
import { createIdentity } from '../../src/transport/identity/identity.ts'
import { errorOf, openNode } from './quic-fixture.ts'

function hasProgram(name: string): boolean {
  return spawnSync(name, ['--help']).error === undefined
}

const server = ['/usr/sbin/gtlsserver', 'gtlsserver'].find(hasProgram)
const isMissing = !hasProgram('gtlsclient') || server === undefined
if (isMissing) process.stderr.write('skipped: gtlsclient or gtlsserver (ngtcp2) is not installed\n')

const foreign = createIdentity({ nodeId: 'foreign' })
let root: string
let files: { readonly key: string; readonly certificate: string }
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'interop-'))
  files = { key: join(root, 'key.pem'), certificate: join(root, 'certificate.pem') }
  writeFileSync(files.key, foreign.privateKeyPem(), { mode: 0o600 })
  writeFileSync(files.certificate, foreign.certificatePem)
})
afterAll(() => rmSync(root, { recursive: true }))

/** Everything a program printed until it ended. */
async function transcript(program: ChildProcessWithoutNullStreams): Promise<string> {
  let text = ''
  program.stdout.on('data', (data: Buffer) => (text += data.toString('latin1')))
  program.stderr.on('data', (data: Buffer) => (text += data.toString('latin1')))
  await new Promise<void>((resolve) => program.on('close', () => resolve()))
  return text
}

function runClient(address: string): Promise<string> {
  const { key, certificate } = files
  const options = [
    `--key=${key}`,
    `--cert=${certificate}`,
    '--timeout=2s',
    '--handshake-timeout=2s',
  ]
  const [host = '', port = ''] = address.split(':')
  return transcript(
    spawn('gtlsclient', [...options, '--no-quic-dump', '--no-http-dump', host, port]),
  )
}

test.skipIf(isMissing)(
  'a foreign client with a pinned certificate completes the handshake',
  async () => {
    await using listener = await openNode({ alpn: 'h3' })
    listener.trust.add(foreign.certificatePem)
    const address = await listener.transport.listen('127.0.0.1:0')

    const said = await runClient(address)

    expect(said).toContain('QUIC handshake has completed')
    expect(said).toContain('Negotiated ALPN is h3')
    expect(listener.transport.getStats()).toMatchObject({ accepted: 1, refused: 0 })
  },
)

test.skipIf(isMissing)(
  'a foreign client with an unknown certificate is refused by TLS',
  async () => {
    await using listener = await openNode({ alpn: 'h3' })
    const address = await listener.transport.listen('127.0.0.1:0')

    const said = await runClient(address)

    // CRYPTO_ERROR 0x100 + alert 48, unknown_ca.
    expect(said).toContain('0x130')
    expect(listener.refused.map(({ fingerprint }) => fingerprint)).toEqual([foreign.fingerprint])
    expect(listener.transport.getStats()).toMatchObject({ accepted: 0, refused: 1 })
  },
)

test.skipIf(isMissing)(
  'a foreign client that speaks another protocol is refused by ALPN',
  async () => {
    await using listener = await openNode()
    listener.trust.add(foreign.certificatePem)
    const address = await listener.transport.listen('127.0.0.1:0')

    const said = await runClient(address)

    // CRYPTO_ERROR 0x100 + alert 120, no_application_protocol.
    expect(said).toContain('0x178')
    expect(listener.transport.getStats()).toMatchObject({ accepted: 0, alpnMismatches: 1 })
  },
)

test.skipIf(isMissing)(
  'our dialler completes the handshake with a foreign server, or refuses it',
  async () => {
    const { key, certificate } = files
    const port = 20_000 + (process.pid % 20_000)
    const foreignServer = spawn(server ?? '', [
      '--verify-client',
      '--no-quic-dump',
      '127.0.0.1',
      String(port),
      key,
      certificate,
    ])
    const over = transcript(foreignServer)
    await using trusting = await openNode({ alpn: 'h3', handshakeTimeoutMs: 3_000 })
    await using distrusting = await openNode({ alpn: 'h3' })
    await using other = await openNode({ alpn: ALPN })
    for (const node of [trusting, other]) node.trust.add(foreign.certificatePem)
    const address = `127.0.0.1:${port}`

    const connection = await trusting.transport.dial(address, { early: true })
    const unknown = await errorOf(distrusting.transport.dial(address))
    const protocol = await errorOf(other.transport.dial(address))
    foreignServer.kill()
    await over

    expect(connection.peer.fingerprint).toBe(foreign.fingerprint)
    expect(unknown.code).toBe('TRANSPORT_PEER_UNTRUSTED')
    expect(unknown.message).toContain(foreign.fingerprint)
    expect(protocol.code).toBe('TRANSPORT_ALPN_MISMATCH')
  },
)
