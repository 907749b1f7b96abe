/**
 * Which peer may do what with which shard: the rule, pure. Trust decides which peers may connect
 * (transport/identity/trust.ts); permissions.ts keeps grants, and
 * guarded-store.ts asks.
 *
 * A grant names a peer (by the name under which it is trusted, by its fingerprint, or `*`), a
 * pattern of shards (`*` stands for any characters) and an {@link Access}.
 *   - A peer that no grant names, not even `*`, may write everywhere: trust alone decides.
 *   - Grants that name the peer count alone; where there are none, those of `*` do.
 *   - Of those that match the shard, the newest holds. Without a match the peer has no access.
 *
 * `write` includes `read`: a node that takes changes has to be told what it holds.
 */
import { NODE_ID_BYTES_MAX, SHARD_ID_BYTES_MAX } from '../../limits.ts'
import { nameGiven, oneOf } from '../../options.ts'

/** A peer's access to a shard. `none`: the peer cannot tell that the shard exists. */
export type Access = 'none' | 'read' | 'write'

export const ACCESSES: readonly Access[] = ['none', 'read', 'write']

/** One decision of the operator. */
export interface Grant {
  /** Name or fingerprint of the peer, or `*`. */
  readonly peer: string
  /** Shards, with `*` for any characters. */
  readonly shards: string
  readonly access: Access
}

/** The peer in question, as its connection proved it. */
export interface AccessSubject {
  readonly fingerprint: string
  readonly nodeId?: string
}

/** The access that `grants`, oldest first, give the peer. */
export function accessOf(grants: readonly Grant[], peer: AccessSubject, shardId: string): Access {
  if (grants.length === 0) return 'write'
  const own = grants.filter(
    (grant) => grant.peer === peer.fingerprint || grant.peer === peer.nodeId,
  )
  const rules = own.length > 0 ? own : grants.filter((grant) => grant.peer === '*')
  if (rules.length === 0) return 'write'
  return rules.findLast((grant) => matches(grant.shards, shardId))?.access ?? 'none'
}

/** True when `have` includes `want`. */
export function allows(have: Access, want: 'read' | 'write'): boolean {
  return have === 'write' || have === want
}

/**
 * The grants after one more: an older one for the same peer and pattern goes.
 * @throws TypeError, RangeError
 */
export function withGrant(grants: readonly Grant[], grant: Grant): readonly Grant[] {
  checkGrant(grant)
  return [
    ...grants.filter(({ peer, shards }) => peer !== grant.peer || shards !== grant.shards),
    Object.freeze({ peer: grant.peer, shards: grant.shards, access: grant.access }),
  ]
}

/** @throws TypeError, RangeError */
export function checkGrant({ peer, shards, access }: Grant): void {
  nameGiven('peer', peer, NODE_ID_BYTES_MAX)
  nameGiven('shards', shards, SHARD_ID_BYTES_MAX)
  oneOf('access', access, ACCESSES)
}

/** Time in proportion to pattern and name: a pattern of many stars must not cost more. */
function matches(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*')
  if (rest.length === 0) return pattern === name
  if (!name.startsWith(first)) return false
  const last = rest.pop() ?? ''
  let at = first.length
  for (const part of rest) {
    const found = name.indexOf(part, at)
    if (found === -1) return false
    at = found + part.length
  }
  return name.length - last.length >= at && name.endsWith(last)
}
