/**
 * A topology, as the peers that one node dials. Pure.
 *
 * Only that: whatever the links, changes are relayed along them, and every node ends with
 * everything. Nodes are taken in the order of their ids, so all of them draw the same picture
 * without talking.
 */

/** How nodes are linked. */
export type Topology =
  /** Every pair of peers. */
  | { readonly type: 'mesh' }
  /** Each with the next; the last with the first. */
  | { readonly type: 'ring' }
  /** Every peer with one hub. */
  | { readonly type: 'star'; readonly hub: string }
  /**
   * A tree: each with its parent, which has at most `fanOut` children.
   * @defaultValue of fanOut: 3
   */
  | { readonly type: 'hierarchical'; readonly fanOut?: number }
  /** Exactly these pairs; the first of each dials the second. */
  | { readonly type: 'manual'; readonly links: readonly (readonly [string, string])[] }

/** The peers that `self` dials; `nodes` may but need not contain it. */
export function peersToDial(
  topology: Topology,
  nodes: readonly string[],
  self: string,
): readonly string[] {
  const all = [...new Set([...nodes, self])].toSorted()
  const others = all.filter((node) => node !== self)
  const at = all.indexOf(self)
  switch (topology.type) {
    case 'mesh':
      // One session serves both, so either side of a pair may dial.
      return others
    case 'ring': {
      const next = all[(at + 1) % all.length]
      return next === undefined || next === self ? [] : [next]
    }
    case 'star':
      return self === topology.hub ? [] : others.filter((node) => node === topology.hub)
    case 'hierarchical': {
      const parent = all[Math.floor((at - 1) / (topology.fanOut ?? 3))]
      return at === 0 || parent === undefined ? [] : [parent]
    }
    case 'manual': {
      const wanted = topology.links.filter(([from]) => from === self).map(([, to]) => to)
      return others.filter((node) => wanted.includes(node))
    }
    default:
      return topology satisfies never
  }
}
