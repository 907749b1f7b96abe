/**
 * Keeps a second node off a database that one serves already. Other commands may open the file
 * beside a node; two nodes would answer for one identity.
 *
 * The lock is a local socket named by the file's real path: the operating system releases it with
 * the process, however that ends. It answers with the number of the process that holds it.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { realpathSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Longest wait for the holder to name itself, in milliseconds. */
const ANSWER_MS = 1_000

/** A node cannot start; the code and the hint say why and what to do. */
export class NodeError extends Error {
  override readonly name = 'NodeError'
  readonly code: 'NODE_ALREADY_RUNNING'
  readonly hint: string

  constructor(code: 'NODE_ALREADY_RUNNING', message: string, hint: string) {
    super(message)
    this.code = code
    this.hint = hint
  }
}

export class NodeLock {
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /**
   * Takes the lock of an existing database. @throws NodeError `NODE_ALREADY_RUNNING` naming the
   * process
   */
  static async take(database: string): Promise<NodeLock> {
    const path = socketPath(database)
    const server = await listening(path)
    if (server !== null) return new NodeLock(server)
    const holder = await holderOf(path)
    if (holder === null && process.platform !== 'linux' && process.platform !== 'win32') {
      // The socket file of a process that was killed.
      rmSync(path, { force: true })
      const again = await listening(path)
      if (again !== null) return new NodeLock(again)
    }
    throw new NodeError(
      'NODE_ALREADY_RUNNING',
      `${database} is served by ${holder === null ? 'another process' : `process ${holder}`}`,
      'Stop that node first, or use another database: one node serves one file.',
    )
  }

  release(): void {
    this.#server.close()
  }
}

/** The process that serves a database of this machine; null when none does. */
export async function holderOfDatabase(database: string): Promise<string | null> {
  return holderOf(socketPath(database))
}

function socketPath(database: string): string {
  const name = createHash('sha256').update(realpathSync(database)).digest('hex').slice(0, 32)
  if (process.platform === 'linux') return `\0sqlite-vector-${name}`
  if (process.platform === 'win32') return `\\\\.\\pipe\\sqlite-vector-${name}`
  return join(tmpdir(), `sqlite-vector-${name}.sock`)
}

/** Null when the name is taken. */
async function listening(path: string): Promise<Server | null> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.end(String(process.pid))
  })
  server.unref()
  try {
    server.listen(path)
    await once(server, 'listening')
    return server
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return null
    throw error
  }
}

async function holderOf(path: string): Promise<string | null> {
  const socket = connect(path)
  try {
    const [first] = (await once(socket, 'data', {
      signal: AbortSignal.timeout(ANSWER_MS),
    })) as [Buffer]
    const text = first.toString('utf8')
    return /^\d{1,10}$/.test(text) ? text : null
  } catch {
    // A holder that does not answer is not named.
    return null
  } finally {
    socket.destroy()
  }
}
