/**
 * What kind of world a seed is: how many nodes, how they are wired, how bad their network, clocks and
 * machines are. Drawn first, so that seeds differ in kind and not only in order.
 */
import { unreachable } from '../../src/assert.ts'
import type { Random } from './random.ts'
import type { SimStrategy } from './reference-view.ts'
import { type Metric } from '../../src/model/records.ts'

export interface Profile {
  readonly nodeCount: number
  readonly shardCount: number
  readonly metric: Metric
  readonly dimension: number
  /** What nodes show conflicts by, in turn; mostly one for all. */
  readonly strategies: readonly SimStrategy[]
  /** Pairs of nodes that talk to each other; connected. */
  readonly edges: readonly (readonly [number, number])[]
  readonly steps: number
  /** Relative frequencies of what may happen at a step. */
  readonly weights: Weights
  /** Whether subscriptions go on after they caught up. */
  readonly liveChance: number
  /** Whether rows are damaged at the end. */
  readonly damaged: boolean
  readonly batchSizeMax: number
}

/** What the product claims to survive, and a seed may therefore do. */
export interface Features {
  /** Nodes forget deletes that all others have. */
  readonly collect: boolean
  /** A node goes on with an older copy of its file. */
  readonly restore: boolean
  /** A copy of a node's file becomes a node beside it. */
  readonly clone: boolean
  /** A whole disk is set back: nothing tells the file that it is a copy. Not promised to be survived. */
  readonly rollback: boolean
  /** A node writes what others cannot take, as a later release might; somebody decides what becomes of it. */
  readonly quarantine: boolean
  /** At the end rows are lost, or as they were earlier, behind the back of a node, and must be found and mended. */
  readonly damage: boolean
}

export interface Weights {
  readonly write: number
  readonly move: number
  readonly subscribe: number
  readonly tear: number
  readonly replay: number
  readonly crash: number
  readonly restart: number
  readonly clock: number
  readonly partition: number
  /** A frame is damaged on its way. */
  readonly damage: number
  /** Another process holds the file's write lock for a while. */
  readonly lock: number
  /** Another process writes to the file. */
  readonly foreign: number
  /** A node forgets deletes. */
  readonly collect: number
  readonly backup: number
  readonly snapshot: number
  readonly restore: number
  readonly rollback: number
  readonly clone: number
  /** A node writes what others cannot take. */
  readonly strange: number
  /** Somebody looks after what could not be taken. */
  readonly tidy: number
  /** A node changes how it shows conflicts. */
  readonly strategy: number
  readonly audit: number
}

export function drawProfile(random: Random, steps: number | null, features: Features): Profile {
  const nodeCount = random.weighted([
    [3, 2],
    [4, 3],
    [2, 4],
    [1, 5],
  ])
  const calm = random.chance(0.2)
  const often = (weight: number): number => (calm || random.chance(0.4) ? 0 : weight)
  return {
    nodeCount,
    shardCount: random.chance(0.8) ? 1 : 2,
    metric: random.pick(['cosine', 'l2', 'dot'] as const),
    dimension: random.between(1, 4),
    strategies: drawStrategies(random),
    edges: drawEdges(random, nodeCount),
    steps: steps ?? random.between(80, 360),
    weights: {
      write: random.between(10, 40),
      move: random.between(40, 120),
      subscribe: random.between(4, 12),
      tear: often(random.between(1, 6)),
      replay: often(1),
      crash: often(random.between(1, 3)),
      restart: often(1),
      clock: often(random.between(1, 6)),
      partition: often(random.between(1, 4)),
      damage: often(1),
      lock: often(1),
      foreign: often(1),
      collect: features.collect ? often(random.between(1, 4)) : 0,
      backup: often(features.restore || features.rollback ? 2 : 0),
      snapshot: often(features.restore ? 0.5 : 0),
      restore: features.restore ? 1 : 0,
      rollback: features.rollback ? 1 : 0,
      clone: features.clone ? 0.3 : 0,
      strange: features.quarantine ? often(1) : 0,
      tidy: features.quarantine ? 1 : 0,
      strategy: often(1),
      audit: 1,
    },
    liveChance: random.pick([0, 0.3, 0.8]),
    damaged: random.chance(0.3) && features.damage,
    batchSizeMax: random.pick([1, 2, 3, 8]),
  }
}

export const STRATEGIES: readonly SimStrategy[] = [
  'last-write-wins',
  'first-write-wins',
  'merge',
  'manual',
  'function',
]

function drawStrategies(random: Random): readonly SimStrategy[] {
  if (random.chance(0.8)) return [random.pick(STRATEGIES)]
  return [random.pick(STRATEGIES), random.pick(STRATEGIES)]
}

function drawEdges(random: Random, nodeCount: number): readonly (readonly [number, number])[] {
  const nodes = Array.from({ length: nodeCount }, (_, index) => index)
  const shape = random.pick(['mesh', 'mesh', 'chain', 'ring', 'star'] as const)
  switch (shape) {
    case 'mesh':
      return nodes.flatMap((a) => nodes.filter((b) => b > a).map((b) => [a, b] as const))
    case 'star':
      return nodes.slice(1).map((leaf) => [0, leaf] as const)
    case 'chain':
    case 'ring': {
      const chain = nodes.slice(1).map((node) => [node - 1, node] as const)
      return shape === 'ring' && nodeCount > 2 ? [...chain, [0, nodeCount - 1] as const] : chain
    }
    default:
      return unreachable(shape)
  }
}
