/**
 * The MCP server of SQLiteVector: memory for agents, over stdio or HTTP.
 */
export { createMcpServer } from './server.ts'
export { localMemoryNode } from './local-node.ts'
export { serveStdio } from './stdio.ts'
export { McpHttpHandler, type McpHttpOptions } from './http.ts'
export type * from './types.ts'
