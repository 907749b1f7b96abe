/**
 * The server over stdin and stdout, for a client that starts it as a process.
 */
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { createMcpServer } from './server.ts'
import type { McpServerOptions } from './types.ts'

/** Serves until the client closes the pipe or `signal` aborts. */
export async function serveStdio(options: McpServerOptions, signal: AbortSignal): Promise<void> {
  const server = createMcpServer(options)
  const transport = new StdioServerTransport()
  const closed = new Promise<void>((resolve) => {
    // The SDK does not end with its input.
    process.stdin.once('end', resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
  await server.connect(transport)
  await closed
  await server.close()
}
