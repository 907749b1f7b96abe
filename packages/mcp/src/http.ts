/**
 * The server over streamable HTTP: one MCP server per session, a bounded number of sessions. Takes
 * and gives the web's
 * `Request` and `Response`.
 *
 * Host and Origin are checked first, so that a web page cannot reach a node on loopback by a name
 * of its own (DNS rebinding). Not here: who may call (the HTTP server in front), and the tools
 * (server.ts).
 */
import { randomUUID } from 'node:crypto'
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js'
import { MCP_SESSIONS_MAX } from '@agentic-flow/sqlite-vector/limits'

export interface McpHttpOptions {
  /** Makes the server of a new session for a caller. */
  readonly createServer: (owner: string) => McpServer
  /**
   * Names that Host and Origin may have besides loopback, without port; null: checked before.
   * @defaultValue none
   */
  readonly hosts?: readonly string[] | null
}

interface Session {
  readonly server: McpServer
  readonly transport: WebStandardStreamableHTTPServerTransport
  readonly owner: string
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

/** Handles the requests to one path. */
export class McpHttpHandler {
  readonly #options: McpHttpOptions
  readonly #sessions = new Map<string, Session>()

  constructor(options: McpHttpOptions) {
    this.#options = options
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  /** `owner` names the caller's key; a session answers the caller that opened it alone. */
  async handle(request: Request, owner = ''): Promise<Response> {
    const refusal = this.#refusalOf(request)
    if (refusal !== null) return refusal
    const sessionId = request.headers.get('mcp-session-id')
    if (sessionId === null) return this.#open(request, owner)
    const session = this.#sessions.get(sessionId)
    if (session === undefined || session.owner !== owner) {
      return failure(404, 'There is no such session. Send initialize without a session id.')
    }
    // Used again: sessions that were not used for longest are at the front of the map.
    this.#sessions.delete(sessionId)
    this.#sessions.set(sessionId, session)
    return session.transport.handleRequest(request)
  }

  /** Ends all sessions. */
  async close(): Promise<void> {
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    for (const { server } of sessions) await server.close()
  }

  async #open(request: Request, owner: string): Promise<Response> {
    const server = this.#options.createServer(owner)
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (sessionId) => {
        this.#sessions.set(sessionId, { server, transport, owner })
        void this.#makeRoom()
      },
      onsessionclosed: (sessionId) => void this.#sessions.delete(sessionId),
    })
    await server.connect(transport)
    const response = await transport.handleRequest(request)
    // A request that opened no session leaves nothing behind.
    if (transport.sessionId === undefined) await server.close()
    return response
  }

  async #makeRoom(): Promise<void> {
    while (this.#sessions.size > MCP_SESSIONS_MAX) {
      const [oldest] = this.#sessions
      if (oldest === undefined) return
      this.#sessions.delete(oldest[0])
      await oldest[1].server.close()
    }
  }

  #refusalOf({ headers }: Request): Response | null {
    if (this.#options.hosts === null) return null
    const host = headers.get('host')
    if (host === null || !this.#isOurs(host))
      return failure(403, 'The Host header does not name this server.')
    const origin = headers.get('origin')
    if (origin === null) return null
    const named = URL.canParse(origin) ? new URL(origin).host : ''
    return this.#isOurs(named) ? null : failure(403, 'The Origin header names another site.')
  }

  #isOurs(host: string): boolean {
    const name = host.toLowerCase().replace(/:\d{1,5}$/, '')
    return LOOPBACK.has(name) || (this.#options.hosts ?? []).includes(name)
  }
}

function failure(status: number, message: string): Response {
  const body = { jsonrpc: '2.0', error: { code: -32_000, message }, id: null }
  return Response.json(body, { status })
}
