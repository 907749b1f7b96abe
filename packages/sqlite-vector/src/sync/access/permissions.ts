/**
 * The grants of one node (../access.ts), kept as `permissions.json` in the folder beside the
 * database.
 *
 * Other processes change the file too (a command while a server runs), so every question rereads it
 * when it changed: a grant that was taken back holds from the next batch on. A file that cannot be
 * read allows nothing.
 */
import { files, paths } from '#platform'

import { SqliteVectorError } from '../../errors.ts'
import { GRANTS_MAX } from '../../limits.ts'
import { writeFileAtomic } from '../../private-files.ts'
import {
  type Access,
  accessOf,
  type AccessSubject,
  checkGrant,
  type Grant,
  withGrant,
} from './rules.ts'

const FILE = 'permissions.json'
const VERSION = 1

/** The grants of a node: which peer may do what with which shard. */
export class Permissions {
  readonly #path: string | null
  #grants: readonly Grant[] = []
  #stamp: string | null = null

  private constructor(path: string | null) {
    this.#path = path
  }

  /**
   * The grants kept in `folder`; none without a file.
   * @throws SqliteVectorError `SYNC_PERMISSIONS_INVALID`
   */
  static open(folder: string): Permissions {
    const permissions = new Permissions(paths.join(folder, FILE))
    permissions.#refresh()
    return permissions
  }

  /** Grants that live in memory only. */
  static inMemory(): Permissions {
    return new Permissions(null)
  }

  /** All grants, oldest first. @throws SqliteVectorError `SYNC_PERMISSIONS_INVALID` */
  list(): readonly Grant[] {
    this.#refresh()
    return this.#grants
  }

  /**
   * Decides what a peer may do from now on, in place of an older decision on the same peer and
   * pattern.
   * @throws TypeError, RangeError
   */
  grant(peer: string, shards: string, access: Access): void {
    this.#refresh()
    const grants = withGrant(this.#grants, { peer, shards, access })
    if (grants.length > GRANTS_MAX)
      throw new RangeError(`a node holds at most ${GRANTS_MAX} grants`)
    this.#save(grants)
  }

  /** Takes a decision out; true when there was one. */
  remove(peer: string, shards: string): boolean {
    this.#refresh()
    const left = this.#grants.filter((grant) => grant.peer !== peer || grant.shards !== shards)
    if (left.length === this.#grants.length) return false
    this.#save(left)
    return true
  }

  /**
   * The peer's present access to the shard.
   * @throws SqliteVectorError `SYNC_PERMISSIONS_INVALID`
   */
  accessOf(peer: AccessSubject, shardId: string): Access {
    this.#refresh()
    return accessOf(this.#grants, peer, shardId)
  }

  #save(grants: readonly Grant[]): void {
    if (this.#path !== null) {
      files.makeFolder(paths.dirname(this.#path), 0o700)
      writeFileAtomic(
        this.#path,
        `${JSON.stringify({ version: VERSION, grants }, null, 2)}\n`,
        0o600,
      )
      this.#stamp = stampOf(this.#path)
    }
    this.#grants = grants
  }

  #refresh(): void {
    if (this.#path === null) return
    const stamp = stampOf(this.#path)
    if (stamp === this.#stamp) return
    // Kept as it was until the file can be read: the next question asks again.
    this.#grants = stamp === '' ? [] : readGrants(this.#path)
    this.#stamp = stamp
  }
}

function readGrants(path: string): readonly Grant[] {
  try {
    const file = JSON.parse(files.readText(path)) as { version?: unknown; grants?: unknown }
    if (file.version !== VERSION || !Array.isArray(file.grants)) {
      throw new TypeError(`expected version ${VERSION} and a list of grants`)
    }
    const grants = file.grants as Grant[]
    for (const grant of grants) checkGrant(grant)
    return grants
  } catch (error) {
    const message = `${path} holds no permissions: nobody is let in until it does`
    throw new SqliteVectorError('SYNC_PERMISSIONS_INVALID', message, { cause: error })
  }
}

/** Changes whenever the file is replaced; empty when there is none. */
function stampOf(path: string): string {
  const facts = files.facts(path)
  return facts === null ? '' : `${facts.inode}:${facts.modifiedNs}:${facts.bytes}`
}
