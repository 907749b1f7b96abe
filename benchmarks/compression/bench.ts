/**
 * What compressing batches gains and costs: frames as the wire carries them, per kind of data and codec.
 *
 * Not here: what it does to a whole sync (the suites sync and network). See the README beside this file.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { codecs } from '../../packages/sqlite-vector/src/sync/wire/codecs.ts'
import {
  type Compression,
  expandFrame,
  FrameCompressor,
  offeredCodecs,
} from '../../packages/sqlite-vector/src/sync/wire/compression.ts'
import { encodeDelta } from '../../packages/sqlite-vector/src/sync/delta.ts'
import type { Change } from '../../packages/sqlite-vector/src/model/types.ts'
import { type Bar, bar, type BenchOptions, median } from '../bar.ts'

export const title = 'what compressing batches gains and costs'

const RECORDS = 256
const ACTOR = 'a1'.repeat(16)
const DATA = join(import.meta.dirname, '../../../shared/data')

/** Vectors of one kind, and the metadata of the records that carry them. */
interface Dataset {
  readonly name: string
  readonly vectors: readonly Float32Array[]
  readonly metadata: (index: number) => string
}

/** Normally distributed components, made unit length: what text models give, as far as a codec can tell. */
function gaussian(count: number, dimension: number): Float32Array[] {
  let state = 1
  const random = (): number => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
  return Array.from({ length: count }, () => {
    const vector = Float32Array.from(
      { length: dimension },
      () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random()),
    )
    const norm = Math.hypot(...vector)
    return vector.map((component) => component / norm)
  })
}

/** Ten real sentence embeddings (all-MiniLM-L6-v2, 384-d) and their questions: a small frame, but no invented data. */
function miniLm(): Dataset | null {
  const file = join(DATA, 'quiz10-minilm384.json')
  if (!existsSync(file)) return null
  const rows = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>[]
  const vectors = rows.map(({ vector }) => Float32Array.from(vector as number[]))
  const metadata = (index: number): string => {
    const { vector: _, ...rest } = rows[index] ?? {}
    return JSON.stringify(rest)
  }
  return { name: 'ten of all-MiniLM-L6-v2, quiz metadata', vectors, metadata }
}

/** SIFT descriptors: small whole numbers as float32. */
function sift(): Dataset | null {
  const file = join(DATA, 'bigann10k_base.bvecs')
  if (!existsSync(file)) return null
  const bytes = readFileSync(file)
  const dimension = bytes.readInt32LE(0)
  const vectors = Array.from({ length: RECORDS }, (_, index) => {
    const at = index * (4 + dimension) + 4
    return Float32Array.from(bytes.subarray(at, at + dimension))
  })
  return { name: 'BIGANN (SIFT), small metadata', vectors, metadata: small }
}

function small(index: number): string {
  return JSON.stringify({ page: index, source: `file-${index % 20}.md` })
}

function datasets(): readonly Dataset[] {
  const words = 'a paragraph of a longer document, quoted so that a reader can judge the answer'
  const long = (index: number): string =>
    JSON.stringify({
      title: `${words}, number ${index}`,
      url: `/documents/${index % 7}/page/${index}`,
    })
  const made = [
    { name: 'gaussian 384-d, small metadata', vectors: gaussian(RECORDS, 384), metadata: small },
    { name: 'gaussian 384-d, 150 B of metadata', vectors: gaussian(RECORDS, 384), metadata: long },
    miniLm(),
    sift(),
  ]
  return made.filter((dataset) => dataset !== null)
}

function frameOf({ vectors, metadata }: Dataset): Uint8Array {
  const changes = vectors.map((embedding, index): Change => {
    const dot = { actor: ACTOR, counter: index + 1 }
    const value = { embedding, embeddingDot: dot, metadata: metadata(index), text: null }
    const stamp = { ms: 1_700_000_000_000 + index, logical: 0 }
    return { id: `record-${index}`, siblings: [{ dot, stamp, value }], context: null }
  })
  return encodeDelta({ through: RECORDS, changes }, vectors[0]?.length ?? 0)
}

/** Milliseconds of `fn`, the median of many calls. */
function timed(calls: number, fn: () => void): number {
  const times: number[] = []
  for (let call = 0; call < calls; call += 1) {
    const startedMs = performance.now()
    fn()
    times.push(performance.now() - startedMs)
  }
  return median(times)
}

export async function bars({ quick, log }: BenchOptions): Promise<readonly Bar[]> {
  const calls = quick ? 5 : 201
  const rows: Bar[] = []
  const names: readonly Compression[] = codecs().map(({ name }) => name)
  for (const dataset of datasets()) {
    log(dataset.name)
    const plain = frameOf(dataset)
    const mebibytes = plain.byteLength / 2 ** 20
    for (const name of names) {
      const compressor = FrameCompressor.for(name, offeredCodecs())
      if (compressor === null) continue
      const sent = compressor.compress(plain)
      if (Buffer.compare(expandFrame(sent), plain) !== 0)
        throw new Error('a frame came back changed')
      const label = `${dataset.name}: ${name}`
      rows.push(
        bar(`${label}, bytes / plain`, sent.byteLength / plain.byteLength, 'none', 'ratio'),
        bar(
          `${label}, compress`,
          timed(calls, () => void compressor.compress(plain)) / mebibytes,
          'none',
          'ms/MiB',
        ),
        bar(
          `${label}, expand`,
          timed(calls, () => void expandFrame(sent)) / mebibytes,
          'none',
          'ms/MiB',
        ),
      )
    }
  }
  return Promise.resolve(rows)
}
