/**
 * The wire: bytes by peer, round-trip times, loss, early data, migrations, handshakes.
 *
 * Each connection keeps its own counts. Those of an ended connection come with its last event,
 * those of open ones are read at each scrape, so the sums never fall.
 */
import type { SyncEvent, SyncSession } from '@agentic-flow/sqlite-vector/sync'
import { Counter, Gauge, type Registry } from 'prom-client'
import { type BoundedLabel, peerLabel } from './labels.ts'

type PeerEvent = Extract<SyncEvent, { type: 'peer' }>
type Transport = NonNullable<SyncSession['transport']>

interface Bytes {
  sent: number
  received: number
}

/** Sums of the transport that become counters. */
const SUMS: readonly (readonly [keyof Transport, string, string])[] = [
  ['datagramsSent', 'sqlite_vector_quic_datagrams_sent_total', 'Datagrams sent.'],
  ['datagramsReceived', 'sqlite_vector_quic_datagrams_received_total', 'Datagrams received.'],
  ['datagramsLost', 'sqlite_vector_quic_datagrams_lost_total', 'Datagrams sent and declared lost.'],
  ['created', 'sqlite_vector_quic_handshakes_total', 'Handshakes completed, both directions.'],
  ['resumed', 'sqlite_vector_quic_resumptions_total', 'Handshakes that resumed a session.'],
  [
    'earlyDataTaken',
    'sqlite_vector_quic_early_data_taken_total',
    'Connections with 0-RTT data taken.',
  ],
  [
    'earlyDataRefused',
    'sqlite_vector_quic_early_data_refused_total',
    'Connections with 0-RTT data refused.',
  ],
  [
    'pathChanges',
    'sqlite_vector_quic_migrations_total',
    'Address changes that connections survived.',
  ],
  [
    'timedOut',
    'sqlite_vector_quic_timeouts_total',
    'Connections ended because the peer fell silent.',
  ],
  [
    'handshakesTimedOut',
    'sqlite_vector_quic_handshake_timeouts_total',
    'Handshakes that timed out.',
  ],
]

export class QuicMetrics {
  readonly #peers: BoundedLabel
  readonly #bytes: Counter<'peer' | 'direction'>
  readonly #roundTrip: Gauge<'peer'>
  readonly #connections: Gauge
  readonly #sums: readonly (readonly [keyof Transport, Counter])[]
  /** Bytes of connections that ended, by label. */
  readonly #ended = new Map<string, Bytes>()
  /** Last value of each sum. The transport's sums only grow, so counters take the difference. */
  readonly #shown = new Map<string, number>()

  constructor(registry: Registry, peers: BoundedLabel) {
    const registers = [registry]
    this.#peers = peers
    this.#bytes = new Counter({
      name: 'sqlite_vector_sync_bytes_total',
      help: 'Bytes of UDP payload, by peer and direction.',
      labelNames: ['peer', 'direction'],
      registers,
    })
    this.#roundTrip = new Gauge({
      name: 'sqlite_vector_quic_round_trip_seconds',
      help: 'Smoothed round-trip time; the largest where a peer has several connections.',
      labelNames: ['peer'],
      registers,
    })
    this.#connections = new Gauge({
      name: 'sqlite_vector_quic_connections',
      help: 'Connections open now.',
      registers,
    })
    this.#sums = SUMS.map(([field, name, help]) => [field, new Counter({ name, help, registers })])
  }

  onPeer({ peer, status, wire }: PeerEvent): void {
    if (status !== 'disconnected') return
    const ended = bytesOf(this.#ended, this.#peers.of(peerLabel(peer)))
    ended.sent += wire.bytesSent
    ended.received += wire.bytesReceived
  }

  collect({ connections, transport }: SyncSession): void {
    const now = new Map([...this.#ended].map(([peer, bytes]) => [peer, { ...bytes }]))
    const roundTrips = new Map<string, number>()
    for (const { peer: fingerprint, stats } of connections) {
      const peer = this.#peers.of(peerLabel(fingerprint))
      const bytes = bytesOf(now, peer)
      bytes.sent += stats.wireBytesSent
      bytes.received += stats.wireBytesReceived
      if (stats.rttMs === null) continue
      roundTrips.set(peer, Math.max(stats.rttMs / 1_000, roundTrips.get(peer) ?? 0))
    }
    for (const [peer, { sent, received }] of now) {
      this.#bytes.inc({ peer, direction: 'push' }, this.#since(`${peer} sent`, sent))
      this.#bytes.inc({ peer, direction: 'pull' }, this.#since(`${peer} received`, received))
    }
    this.#roundTrip.reset()
    for (const [peer, seconds] of roundTrips) this.#roundTrip.set({ peer }, seconds)
    this.#connections.set(connections.length)
    if (transport === null) return
    for (const [field, counter] of this.#sums) counter.inc(this.#since(field, transport[field]))
  }

  /** Growth of a sum since the last scrape. */
  #since(name: string, sum: number): number {
    const before = this.#shown.get(name) ?? 0
    this.#shown.set(name, Math.max(before, sum))
    return Math.max(0, sum - before)
  }
}

function bytesOf(all: Map<string, Bytes>, peer: string): Bytes {
  let bytes = all.get(peer)
  if (bytes === undefined) {
    bytes = { sent: 0, received: 0 }
    all.set(peer, bytes)
  }
  return bytes
}
