/**
 * Topologies: who dials whom.
 */
import { describe, expect, test } from 'vitest'

import { peersToDial, type Topology } from '../../../../src/sync/coordination/topology.ts'

const NODES = ['a', 'b', 'c', 'd', 'e', 'f', 'g']

/** Whether everybody is linked with everybody, over any number of links. */
function isConnected(topology: Topology): boolean {
  const links = new Map<string, Set<string>>(NODES.map((node) => [node, new Set()]))
  for (const node of NODES) {
    for (const peer of peersToDial(topology, NODES, node)) {
      links.get(node)?.add(peer)
      links.get(peer)?.add(node)
    }
  }
  const reached = new Set(['a'])
  for (const node of reached) for (const peer of links.get(node) ?? []) reached.add(peer)
  return reached.size === NODES.length
}

describe('who dials whom', () => {
  test.each<[string, Topology, string, readonly string[]]>([
    ['a mesh: everybody', { type: 'mesh' }, 'c', ['a', 'b', 'd', 'e', 'f', 'g']],
    ['a ring: the next', { type: 'ring' }, 'c', ['d']],
    ['a ring: the last dials the first', { type: 'ring' }, 'g', ['a']],
    ['a star: the hub', { type: 'star', hub: 'b' }, 'c', ['b']],
    ['a star: the hub dials nobody', { type: 'star', hub: 'b' }, 'b', []],
    ['a tree: the parent', { type: 'hierarchical', fanOut: 2 }, 'f', ['c']],
    ['a tree: the root dials nobody', { type: 'hierarchical' }, 'a', []],
    [
      'by hand',
      {
        type: 'manual',
        links: [
          ['c', 'a'],
          ['b', 'c'],
        ],
      },
      'c',
      ['a'],
    ],
  ])('%s', (_, topology, self, peers) => {
    expect(peersToDial(topology, NODES, self)).toEqual(peers)
  })

  test.each<Topology>([
    { type: 'mesh' },
    { type: 'ring' },
    { type: 'star', hub: 'd' },
    { type: 'hierarchical', fanOut: 2 },
    { type: 'hierarchical' },
  ])('$type links everybody', (topology) => {
    expect(isConnected(topology)).toBe(true)
  })

  test('one node alone dials nobody', () => {
    expect(peersToDial({ type: 'ring' }, [], 'a')).toEqual([])
  })
})
