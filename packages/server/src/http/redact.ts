/**
 * Takes the machine's paths out of messages that leave the node: a caller learns the name of a
 * file, never the folders above it. Pure.
 */
import { basename } from 'node:path'

/**
 * An absolute path of two or more names, where a message names a file. Ids and shards are quoted in
 * messages and keep their slashes; paths of errors stand bare or in single quotes.
 */
const PATH = /(?<![\w"/.:])(?:[A-Za-z]:)?(?:[\\/][^\s\\/:'",;()]+){2,}/g

export function redactPaths(message: string): string {
  return message.replaceAll(PATH, (path) => basename(path.replaceAll('\\', '/')))
}
