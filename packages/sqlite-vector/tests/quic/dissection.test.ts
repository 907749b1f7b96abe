/**
 * Proof that it is QUIC: an independent dissector (Wireshark's tshark) reads a capture of our packets.
 * Version, ALPN and transport parameters lie in the handshake; with the key log also streams and early data.
 *
 * Needs tshark and the right to capture on loopback; where either is missing the test says that it
 * was skipped.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ALPN } from '../../src/transport/quic/options.ts'
import { next, readAll } from '../../src/testing/connection-pair.ts'
import { introduce, openNode } from './quic-fixture.ts'

const tried = spawnSync('tshark', ['-i', 'lo', '-a', 'duration:0', '-c', '1'], { timeout: 10_000 })
const isMissing = tried.status !== 0
if (isMissing) process.stderr.write('skipped: tshark cannot capture on the loopback here\n')

/** What tshark shows of the fields in a capture, one row for each packet. */
function fields(file: string, port: string, keyLog: string, names: readonly string[]): string[][] {
  const printed = execFileSync(
    'tshark',
    [
      '-r',
      file,
      '-d',
      `udp.port==${port},quic`,
      '-o',
      `tls.keylog_file:${keyLog}`,
      '-T',
      'fields',
      ...names.flatMap((name) => ['-e', name]),
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  )
  return printed.split('\n').map((line) => line.split('\t'))
}

/** The values of one field in all packets, each once. */
function valuesOf(rows: readonly string[][], column: number): Set<string> {
  return new Set(
    rows.flatMap((row) => (row[column] ?? '').split(',')).filter((value) => value !== ''),
  )
}

test.skipIf(isMissing)(
  'a dissector sees QUIC version 1, our ALPN, streams and early data, and no TCP',
  async () => {
    const root = mkdtempSync(join(tmpdir(), 'dissection-'))
    const [file, keyLog] = [join(root, 'capture.pcapng'), join(root, 'keys.log')]
    await using listener = await openNode()
    await using dialler = await openNode({ keyLogFile: keyLog })
    introduce(listener, dialler)
    const address = await listener.transport.listen('127.0.0.1:0')
    const port = address.split(':')[1] ?? ''
    const capture = spawn('tshark', ['-i', 'lo', '-f', `port ${port}`, '-w', file], {
      stdio: 'ignore',
    })
    while (!existsSync(file) || statSync(file).size === 0) await pause(20)

    const accepted = listener.transport.accept()[Symbol.asyncIterator]()
    for (const early of [false, true]) {
      const connection = await dialler.transport.dial(address, { early })
      const channel = await connection.openChannel({ early })
      await channel.send(new Uint8Array(3_000).fill(early ? 2 : 1))
      await channel.finish()
      const there = await next((await next(accepted)).channels()[Symbol.asyncIterator]())
      expect((await readAll(there))[0]?.[0]).toBe(early ? 2 : 1)
      await connection.accepted
      await connection.close()
    }
    await pause(300)
    capture.kill('SIGINT')
    await once(capture, 'exit')

    const rows = fields(file, port, keyLog, [
      'ip.proto',
      'quic.version',
      'tls.handshake.extensions_alpn_str',
      'tls.quic.parameter.type',
      'quic.frame_type',
      'quic.long.packet_type',
      'quic.stream.stream_id',
    ])
    const logged = readFileSync(keyLog, 'utf8')
    const left = readdirSync(root).toSorted()
    rmSync(root, { recursive: true })

    expect([...valuesOf(rows, 0)]).toEqual(['17'])
    expect([...valuesOf(rows, 1)]).toEqual(['0x00000001'])
    expect([...valuesOf(rows, 2)]).toEqual([ALPN])
    // initial_max_data, initial_max_streams_bidi, max_idle_timeout, initial_source_connection_id
    for (const parameter of ['0x04', '0x08', '0x01', '0x0f']) {
      expect([...valuesOf(rows, 3)].map(Number)).toContain(Number(parameter))
    }
    const frameTypes = [...valuesOf(rows, 4)].map(Number)
    // CRYPTO, and STREAM in one of its forms.
    expect(frameTypes).toContain(0x06)
    expect(frameTypes.some((type) => type >= 0x08 && type <= 0x0f)).toBe(true)
    // Initial, 0-RTT and Handshake packets.
    expect([...valuesOf(rows, 5)].toSorted()).toEqual(['0', '1', '2'])
    // The secrets of both connections, and no file beside.
    expect(logged.match(/^CLIENT_TRAFFIC_SECRET_0 /gm)?.length).toBe(2)
    expect(left).toEqual(['capture.pcapng', 'keys.log'])
    // The dialler's first channel, and both control streams.
    expect([...valuesOf(rows, 6)].toSorted()).toEqual(expect.arrayContaining(['0', '2', '3']))
  },
)
