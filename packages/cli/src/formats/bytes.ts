/**
 * Bytes in and out of files and pipes, without holding more than a chunk: sinks with back-pressure,
 * files that appear under their name only when they are whole, and readers of exact lengths and of
 * lines.
 */
import { once } from 'node:events'
import { createReadStream, lstatSync, rmSync } from 'node:fs'
import { addAbortSignal, type Readable } from 'node:stream'
import { open, rename, type FileHandle } from 'node:fs/promises'
import { type ByteSink, type Source } from './types.ts'
import { InputError } from './input-error.ts'

/** Longest line of a text file, in bytes: the largest record there may be takes a tenth of it. */
const LINE_BYTES_MAX = 16_777_216
const READ_CHUNK_BYTES = 262_144
const WRITE_CHUNK_BYTES = 262_144

/**
 * A file that gets its name when it is finished. @throws InputError when there is one and it is not
 * to be replaced
 */
export async function fileSink(path: string, isReplaced: boolean): Promise<ByteSink> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found !== undefined && !found.isFile()) {
    throw new InputError(`${path} is not a regular file; give another name, or - for stdout`)
  }
  if (!isReplaced && found !== undefined) {
    throw new InputError(`${path} exists; --force replaces it`)
  }
  const partial = `${path}.partial`
  // A link that waits under this name is removed and never followed.
  rmSync(partial, { force: true })
  const file: FileHandle = await open(partial, 'wx', 0o600)
  const buffer = new WriteBuffer(async (bytes) => {
    await file.writeFile(bytes)
  })
  let state: 'open' | 'over' = 'open'
  return {
    write: (bytes) => buffer.write(bytes),
    async patch(offset, bytes) {
      await buffer.flush()
      await file.write(bytes, 0, bytes.byteLength, offset)
    },
    async finish() {
      await buffer.flush()
      await file.sync()
      await file.close()
      await rename(partial, path)
      state = 'over'
    },
    async abandon() {
      if (state === 'over') return
      state = 'over'
      await file.close()
      rmSync(partial, { force: true })
    },
  }
}

/** stdout. Bytes written cannot be taken back or patched. */
export function stdoutSink(): ByteSink {
  const buffer = new WriteBuffer(async (bytes) => {
    if (!process.stdout.write(bytes)) await once(process.stdout, 'drain')
  })
  return {
    write: (bytes) => buffer.write(bytes),
    patch: null,
    finish: () => buffer.flush(),
    abandon: () => Promise.resolve(),
  }
}

/** Hands small writes on as large ones: a record at a time would be a system call for each. */
class WriteBuffer {
  readonly #out: (bytes: Uint8Array) => Promise<void>
  #parts: Uint8Array[] = []
  #bytes = 0

  constructor(out: (bytes: Uint8Array) => Promise<void>) {
    this.#out = out
  }

  async write(bytes: Uint8Array | string): Promise<void> {
    const part = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    this.#parts.push(part)
    this.#bytes += part.byteLength
    if (this.#bytes >= WRITE_CHUNK_BYTES) await this.flush()
  }

  async flush(): Promise<void> {
    const parts = this.#parts
    this.#parts = []
    this.#bytes = 0
    if (parts.length > 0) await this.#out(Buffer.concat(parts))
  }
}

/** A file, or stdin for `-`. The signal ends a read that waits for more input. */
export function sourceOf(path: string, signal?: AbortSignal): Source {
  const abortable = <T extends Readable>(stream: T): T =>
    signal === undefined ? stream : addAbortSignal(signal, stream)
  if (path === '-') return { name: 'stdin', path: null, chunks: () => abortable(process.stdin) }
  const chunks = (): AsyncIterable<Uint8Array> =>
    abortable(createReadStream(path, { highWaterMark: READ_CHUNK_BYTES }))
  return { name: path, path, chunks }
}

/** Reads exact lengths from chunks of any length. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>
  #chunk: Uint8Array = new Uint8Array()
  #offset = 0
  #position = 0

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#position
  }

  /** The next `length` bytes, fewer at the end; a copy, aligned. */
  async read(length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length)
    let filled = 0
    while (filled < length) {
      if (this.#offset === this.#chunk.byteLength && !(await this.#more())) break
      const part = this.#chunk.subarray(this.#offset, this.#offset + length - filled)
      bytes.set(part, filled)
      filled += part.byteLength
      this.#offset += part.byteLength
    }
    this.#position += filled
    return filled === length ? bytes : bytes.subarray(0, filled)
  }

  async #more(): Promise<boolean> {
    const next = await this.#chunks.next()
    if (next.done === true) return false
    this.#chunk = next.value
    this.#offset = 0
    return true
  }
}

/**
 * The lines of a text in UTF-8, without their `\n`; a `\r` before it is kept, because it may belong
 * to a quoted field. An empty line at the very end is none.
 */
export async function* linesOf({ name, chunks }: Source): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let rest = ''
  let line = 1
  const decoded = (bytes?: Uint8Array): string => {
    try {
      return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true })
    } catch (error) {
      throw new InputError(`${name}: not UTF-8 at line ${line} or soon after`, { cause: error })
    }
  }
  for await (const chunk of chunks()) {
    const parts = (rest + decoded(chunk)).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      yield part
      line += 1
    }
    if (rest.length > LINE_BYTES_MAX) {
      throw new InputError(`${name}: line ${line} is longer than ${LINE_BYTES_MAX} bytes`)
    }
  }
  rest += decoded()
  if (rest !== '') yield rest
}
