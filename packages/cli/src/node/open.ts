/**
 * Opens the node of a call: the server of `--url`, or the file of `--database`.
 */
import { type Call, existingDatabase, nameOfFile } from '../command.ts'
import type { NodeClient } from './types.ts'

/** Opens the node. A missing file is a usage error: commands on a node never create one. */
export async function openNode(call: Call): Promise<NodeClient> {
  const url = call.text('url')
  if (url !== undefined) {
    const { openRemoteNode } = await import('./remote.ts')
    const key = process.env['SQLITE_VECTOR_API_KEY']
    return openRemoteNode({ url, keyFile: call.text('key-file'), key })
  }
  const { openLocalNode } = await import('./local.ts')
  const path = existingDatabase(call)
  return openLocalNode(path, call.text('node') ?? nameOfFile(path))
}

/** Runs `work` on the node of the call and closes the node in any case. */
export async function withNode<T>(call: Call, work: (node: NodeClient) => Promise<T>): Promise<T> {
  const node = await openNode(call)
  try {
    return await work(node)
  } finally {
    await node.close()
  }
}
