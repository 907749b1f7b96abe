/**
 * Metrics of the node's surroundings: free disk space, and the expiry of its certificates.
 */
import { X509Certificate } from 'node:crypto'
import { statfsSync } from 'node:fs'
import { Gauge, type Registry } from 'prom-client'
import type { MetricSource } from './source.ts'

/** See the head of this file. */
export class HostMetrics {
  readonly #free: Gauge
  readonly #size: Gauge
  readonly #expiry: Gauge<'certificate'>
  #source: MetricSource | null = null

  constructor(registry: Registry) {
    const registers = [registry]
    this.#free = new Gauge({
      name: 'sqlite_vector_disk_free_bytes',
      help: 'Bytes that this process may still write to the file system of the database.',
      registers,
    })
    this.#size = new Gauge({
      name: 'sqlite_vector_disk_size_bytes',
      help: 'Size of the file system of the database, in bytes.',
      registers,
    })
    this.#expiry = new Gauge({
      name: 'sqlite_vector_certificate_expiry_timestamp_seconds',
      help: 'End of the validity of a certificate of this node, in seconds since 1970: node, http.',
      labelNames: ['certificate'],
      registers,
    })
  }

  attach(source: MetricSource): void {
    this.#source = source
  }

  /** Reads the gauges. */
  collect(): void {
    if (this.#source === null) return
    const { db, coordinator, httpCertificate } = this.#source
    const { path } = db.stats()
    const place = statfsOf(path)
    if (place !== null) {
      this.#free.set(place.freeBytes)
      this.#size.set(place.sizeBytes)
    }
    this.#expiry.set({ certificate: 'node' }, expirySeconds(coordinator.sync.certificatePem))
    const pem = httpCertificate?.() ?? null
    if (pem !== null) this.#expiry.set({ certificate: 'http' }, expirySeconds(pem))
  }
}

/** Null where the file system does not tell, such as for a database in memory. */
function statfsOf(path: string): { readonly freeBytes: number; readonly sizeBytes: number } | null {
  try {
    const { bavail, blocks, bsize } = statfsSync(path)
    return { freeBytes: bavail * bsize, sizeBytes: blocks * bsize }
  } catch {
    return null
  }
}

function expirySeconds(pem: string): number {
  return new X509Certificate(pem).validToDate.getTime() / 1_000
}
