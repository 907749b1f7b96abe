/**
 * What may go wrong in a world, one function each: machines, clocks, networks, and the people who copy
 * files. After each the oracle looks again, and everything it knew must still be there.
 */
import { DatabaseSync } from 'node:sqlite'

import { unreachable } from '../../src/assert.ts'
import { shardViewOf, Violation } from './history.ts'
import { observe, observeShard } from './inspect.ts'
import { SimChannel } from './network.ts'
import type { Backup, RestoreWay, SimNode } from './node.ts'
import { STRATEGIES } from './profile.ts'
import { isCode, OPERATION_WEIGHTS, work } from './workload.ts'
import { pairName, type World } from './world.ts'

/** The channel is torn at whatever frame it is. */
export function tear(world: World): void {
  const channel = world.random.pick(world.channels)
  world.trace(`${channel.name}: torn`)
  world.counts.torn += 1
  channel.abort()
  world.recorded = channel.haunted ? world.recorded : channel
  // What a side was about to do, it does, or it does not come to it.
  if (channel.haunted || world.random.chance(0.5)) world.forget(channel)
}

/** Somebody on the path repeats what a puller once sent; nobody hears the answer. */
export function replay(world: World): void {
  const original = world.recorded
  if (original === null) return
  const channel = new SimChannel(original.subscription, 1)
  const { recorded } = original
  const count = world.random.between(1, Math.max(1, recorded.length))
  world.trace(`${channel.name}: ${count} frames replayed`)
  channel.haunt(recorded.slice(0, count))
  world.channels.push(channel)
}

/** A bit of a frame flips, or the frame is cut: it must be refused, and nothing of it applied. */
export function damage(world: World): void {
  const channel = world.random.pick(world.channels)
  const cut = world.random.chance(0.3)
  if (!channel.damage(world.random.below(100_000), cut)) return
  world.counts.damaged += 1
  world.trace(`${channel.name}: a frame is ${cut ? 'cut' : 'damaged'}`)
}

export function partition(world: World): void {
  const [a, b] = world.random.pick(world.edges)
  const pair = pairName(a, b)
  if (world.partitioned.delete(pair)) {
    world.trace(`${pair}: together again`)
  } else {
    world.partitioned.add(pair)
    world.trace(`${pair}: apart`)
  }
}

export async function crash(world: World): Promise<void> {
  const node = world.random.pick(world.nodes)
  const reboot = world.random.chance(0.3)
  world.trace(`${node.name}: ${reboot ? 'machine goes down' : 'killed'}`)
  world.counts.crashes += 1
  world.disconnect(node)
  await node.crash(reboot)
  observe(world.history, node)
}

export async function restart(world: World): Promise<void> {
  const node = world.random.pick(world.nodes)
  world.trace(`${node.name}: closed and opened`)
  world.disconnect(node)
  await node.restart()
  observe(world.history, node)
}

export function disturbClock(world: World): void {
  const node = world.random.pick(world.nodes)
  const change = world.random.pick(['skew', 'jump', 'stop', 'resume', 'right'] as const)
  const sign = world.random.chance(0.5) ? 1 : -1
  switch (change) {
    case 'skew':
      node.clock.skewMs = sign * world.random.below(5_000)
      break
    case 'jump':
      node.clock.skewMs = sign * world.random.pick([60_000, 3_600_000, 864_000_000])
      break
    case 'stop':
      node.clock.stop()
      break
    case 'resume':
      node.clock.resume()
      break
    case 'right':
      node.clock.skewMs = 0
      break
    default:
      unreachable(change)
  }
  world.trace(`${node.name}: clock ${change} (${node.clock.skewMs} ms)`)
}

/** A node shows conflicts in another way for a while, or in its own way again. */
export function changeStrategy(world: World): void {
  const node = world.random.pick(world.nodes)
  const shards = node.db.shards()
  if (shards.length === 0) return
  const { shardId } = world.random.pick(shards)
  const own = world.strategyOf(node)
  const strategy = world.random.pick([own, own, ...STRATEGIES])
  node.show(shardId, strategy)
  observeShard(world.history, node, shardId, 'sync')
  world.trace(`${node.name}: shows ${shardId} by ${strategy}`)
}

/** A node forgets the deletes that every replica it waits for has. */
export function collect(world: World): void {
  const { history, random, counts } = world
  const node = random.pick(world.nodes)
  const shards = node.db.shards()
  if (shards.length === 0) return
  const { shardId } = random.pick(shards)
  const view = shardViewOf(node.view, shardId)
  const before = new Map(view.records)
  const retention = random.pick([20_000, 3_600_000, 30 * 86_400_000])
  const awaited = world.nodes.filter(
    (other) => other !== node && isAwaited(node, other, shardId, retention),
  )
  const count = node.store.collectTombstones(shardId, retention)
  node.moved.add(shardId)
  observeShard(history, node, shardId, 'sync')
  world.trace(`${node.name}: collects ${count} tombstones of ${shardId}`)
  const gone = [...before].filter(([id]) => !view.records.has(id))
  if (gone.length !== count) {
    throw new Violation('counts are earned', `${node.name} collected ${gone.length}, not ${count}`)
  }
  counts.collected += count
  for (const [, { siblings }] of gone) {
    for (const write of siblings) {
      for (const other of awaited) {
        // What it holds less than it once reported, it loses to the floor.
        if (other.wasSetBack) continue
        if (history.accounted(shardViewOf(other.view, shardId), write)) continue
        throw new Violation(
          'a tombstone goes only below the stable cut',
          `${node.name} forgot ${history.name(write)}, which ${other.name} does not have`,
        )
      }
    }
  }
}

function isAwaited(node: SimNode, other: SimNode, shardId: string, retentionMs: number): boolean {
  const cursor = node.db.replica.peerCursor(shardId, other.fingerprint)
  return cursor !== null && node.clock.nowMs() - cursor.lastContactMs <= retentionMs
}

/** Another process holds the write lock: a write says so and changes nothing, a session ends. */
export async function lock(world: World): Promise<void> {
  const node = world.random.pick(world.nodes)
  const [shard] = node.db.shards()
  if (shard === undefined) return
  world.trace(`${node.name}: locked by another process`)
  world.counts.locked += 1
  using other = new DatabaseSync(node.path)
  other.exec('BEGIN IMMEDIATE')
  const operation = world.random.weighted(OPERATION_WEIGHTS)
  const { history, random } = world
  const before = node.moved.size
  try {
    world.trace(
      `${node.name}: ${await work({ history, node, db: node.db, shard, random }, operation)}`,
    )
  } catch (error) {
    if (!isCode(error, 'STORE_BUSY')) throw error
  }
  for (const channel of world.channels.filter((each) => each.touches(node))) {
    if (channel.moves(world.reachable(channel)).length > 0) world.move(channel)
  }
  if (node.moved.size > before) {
    throw new Violation(
      'a locked file is not written',
      `${node.name} moved ${[...node.moved].join()}`,
    )
  }
  other.exec('ROLLBACK')
}

/** Another process writes to the file beside the one that syncs it. */
export async function writeFromOutside(world: World): Promise<void> {
  const node = world.random.pick(world.nodes)
  const [shard] = node.db.shards()
  if (shard === undefined) return
  using db = await node.openTwin()
  const operation = world.random.weighted(OPERATION_WEIGHTS)
  const { history, random } = world
  const done = await work({ history, node, db, shard, random }, operation)
  world.trace(`${node.name}: ${done} by another process`)
  node.db.replica.poll()
}

export function backUp(world: World): void {
  const node = world.random.pick(world.nodes)
  const folder = world.random.chance(0.5)
  node.backups.push(node.backUp(folder))
  world.trace(`${node.name}: backed up${folder ? ' with its folder' : ''}`)
}

/** The product copies its file while it is in use. */
export async function snapshot(world: World): Promise<void> {
  const node = world.random.pick(world.nodes)
  node.backups.push(await node.snapshot())
  world.trace(`${node.name}: snapshot`)
}

/** A node goes on with an older copy of its file. */
export async function restore(world: World): Promise<void> {
  const node = world.random.pick(world.nodes.filter(({ backups }) => backups.length > 0))
  const backup = world.random.pick(node.backups)
  const over = world.random.chance(0.5) && node.canWriteOver(backup)
  await setBack(world, node, backup, over ? 'over' : 'elsewhere')
}

/** The same, with the whole disk: the file cannot tell that it is a copy. */
export async function rollBack(world: World): Promise<void> {
  const node = world.random.pick(world.nodes.filter(({ backups }) => backups.length > 0))
  await setBack(world, node, world.random.pick(node.backups), 'unnoticed')
}

async function setBack(
  world: World,
  node: SimNode,
  backup: Backup,
  way: RestoreWay,
): Promise<void> {
  const folder = backup.folder ? ' with its folder' : ''
  world.trace(`${node.name}: restored from a backup${folder}, ${way}`)
  world.counts.restored += 1
  world.disconnect(node)
  await node.restore(backup, way)
  observe(world.history, node)
}

/** A copy of a node's file is opened on another machine, and both go on. */
export async function clone(world: World): Promise<void> {
  const original = world.random.pick(world.nodes)
  const copy = world.addNode()
  const folder = world.random.chance(0.5)
  world.trace(`${copy.name}: a clone of ${original.name}${folder ? ' with its folder' : ''}`)
  world.counts.cloned += 1
  await copy.restore(original.backUp(folder), 'elsewhere')
  for (const [a, b] of world.edges.filter((edge) => edge.includes(original))) {
    world.edges.push([copy, a === original ? b : a])
  }
  world.edges.push([copy, original])
  observe(world.history, copy)
}

/** All are in reach of each other again, with clocks that run; who listened in is gone. */
export function heal(world: World): void {
  world.partitioned.clear()
  for (const node of world.nodes) node.clock.resume()
  world.trace('heals')
  for (const channel of world.channels) {
    if (channel.haunted) world.forget(channel)
  }
}

/** Live subscriptions end in good order. */
export function stopLive(world: World): void {
  for (const channel of world.channels) {
    if (channel.subscription.live) channel.stop()
  }
}
