/**
 * The network of chance: subscriptions over channels that keep order within and none among each other,
 * and that may be slow, torn at any frame, held up by a partition, or repeated by somebody on the path.
 *
 * A channel is two queues of frames between two session drivers, the code that ships; every frame is
 * real bytes. Nothing moves by itself: the simulation picks what happens next ({@link moves}).
 */
import { unreachable } from '../../src/assert.ts'
import { SqliteVectorError } from '../../src/errors.ts'
import { SessionDriver } from '../../src/sync/session/driver.ts'
import { FRAME_TYPES } from '../../src/sync/wire/frame.ts'
import { createPuller } from '../../src/sync/session/puller.ts'
import { createSender } from '../../src/sync/session/sender.ts'
import type { PullSession, SendSession } from '../../src/sync/session/types.ts'
import type { SimNode } from './node.ts'
import { type Running } from '../../src/sync/session/types.ts'

/** A frame on its way, or null: the peer finished. */
type Parcel = Uint8Array | null

export interface Subscription {
  readonly puller: SimNode
  readonly sender: SimNode
  readonly shardId: string
  readonly live: boolean
  readonly batchSize: number
  /** Who opened the channel: the puller, or the sender, which invited it. */
  readonly opener: SimNode
}

/** Something that can happen on a channel now. */
export type Move = 'puller-works' | 'sender-works' | 'to-sender' | 'to-puller'

type SimDriver = SessionDriver<PullSession> | SessionDriver<SendSession>

export class SimChannel {
  readonly subscription: Subscription
  readonly pulling: SessionDriver<PullSession>
  readonly sending: SessionDriver<SendSession>
  /** How often its moves are picked, compared with others: slow peers have little. */
  readonly speed: number
  /** Every frame that the puller sent, for who may want to repeat them. */
  readonly recorded: Parcel[] = []
  batchFrames = 0
  /** What the last move was about, for the trace. */
  note = ''
  /** Nobody sits at the puller's end; see {@link haunt}. */
  haunted = false
  readonly #puller: Running
  readonly #sender: Running
  #toSender: Parcel[] = []
  #toPuller: Parcel[] = []

  constructor(subscription: Subscription, speed: number) {
    const { puller, sender, shardId, live, batchSize } = subscription
    this.subscription = subscription
    this.speed = speed
    this.pulling = new SessionDriver(createPuller({ peer: sender.fingerprint, shardId, live }), {
      store: puller.store,
      nodeId: puller.name,
      batchSize,
    })
    this.sending = new SessionDriver(createSender({ peer: puller.fingerprint, shardId: null }), {
      store: sender.store,
      nodeId: sender.name,
      batchSize,
    })
    const { opener } = subscription
    this.#puller = running(this.pulling, puller, opener === puller)
    this.#sender = running(this.sending, sender, opener === sender)
    this.pulling.start()
    this.#stepped(this.#puller)
  }

  get name(): string {
    const { puller, sender, shardId } = this.subscription
    return `${puller.name}<${sender.name}/${shardId}`
  }

  touches(node: SimNode): boolean {
    return this.subscription.puller === node || this.subscription.sender === node
  }

  /** What can happen now; `reachable` false holds frames up, not the work on either side. */
  moves(reachable: boolean): readonly Move[] {
    const moves: Move[] = []
    if (this.pulling.busy && !this.haunted) moves.push('puller-works')
    if (this.sending.busy) moves.push('sender-works')
    if (reachable && this.#toSender.length > 0 && this.sending.ready) moves.push('to-sender')
    if (reachable && this.#toPuller.length > 0 && this.pulling.ready && !this.haunted)
      moves.push('to-puller')
    return moves
  }

  /** True when nothing can come of it any more. */
  get over(): boolean {
    if (this.haunted) return this.moves(true).length === 0
    return (
      this.pulling.session.phase === 'closed' &&
      this.sending.session.phase === 'closed' &&
      !this.pulling.busy &&
      !this.sending.busy
    )
  }

  /** Makes the move; returns the node whose file it may have changed, or null. */
  move(move: Move): SimNode | null {
    const { puller, sender } = this.subscription
    switch (move) {
      case 'puller-works':
        return puller.hub.whileApplying(() => this.#carry(this.#puller, this.pulling))
          ? null
          : puller
      case 'sender-works':
        return this.#carry(this.#sender, this.sending) ? null : sender
      case 'to-sender':
        this.#deliver(this.#sender, this.sending, this.#toSender)
        return null
      case 'to-puller':
        this.#deliver(this.#puller, this.pulling, this.#toPuller)
        return null
      default:
        return unreachable(move)
    }
  }

  /** The puller wants no more. */
  stop(): void {
    this.#puller.tell({ type: 'stop' })
  }

  /** A live subscription that both hubs take for the one between the two. */
  get isCurrent(): boolean {
    const { puller, sender, shardId, live } = this.subscription
    return (
      live &&
      this.pulling.session.phase === 'live' &&
      puller.hub.find(shardId, sender.fingerprint, 'puller') === this.#puller &&
      sender.hub.find(shardId, puller.fingerprint, 'sender') === this.#sender
    )
  }

  /** Whoever still knows of the channel forgets it. */
  close(): void {
    const { puller, sender } = this.subscription
    if (puller.isUp) puller.hub.drop(this.#puller)
    if (sender.isUp) sender.hub.drop(this.#sender)
  }

  /** The channel is torn: what was on its way is lost, and both sides learn of it. */
  abort(): void {
    this.#toSender = []
    this.#toPuller = []
    const error = new SqliteVectorError('TRANSPORT_ABORTED', 'torn by the simulation')
    for (const side of [this.#puller, this.#sender]) side.tell({ type: 'failed', error })
  }

  /**
   * Turns the channel into a replay of another one's first frames, as somebody on the path can do with
   * early data: there is no puller, and nobody hears the answers.
   */
  haunt(frames: readonly Parcel[]): void {
    this.haunted = true
    this.subscription.puller.hub.drop(this.#puller)
    this.#toSender = [...frames]
  }

  /** Changes a bit of the next frame on its way, or cuts it. False when there is none. */
  damage(byte: number, cut: boolean): boolean {
    const [queue] = [this.#toPuller, this.#toSender].filter(
      ([frame]) => frame instanceof Uint8Array,
    )
    const frame = queue?.[0]
    if (queue === undefined || !(frame instanceof Uint8Array)) return false
    const at = byte % frame.length
    if (cut) queue[0] = frame.slice(0, at)
    else frame[at] = (frame[at] ?? 0) ^ (1 << (byte % 8))
    return true
  }

  #deliver(side: Running, driver: SimDriver, queue: Parcel[]): void {
    const parcel = queue.shift()
    if (parcel === undefined) throw new Error('nothing to deliver')
    this.note = nameOf(parcel)
    if (parcel === null) driver.tell({ type: 'finished' })
    else driver.take(parcel)
    this.#stepped(side)
  }

  /** Puts what a driver sends on the way. False when it worked on its store instead. */
  #carry(side: Running, driver: SimDriver): boolean {
    const byPuller = side === this.#puller
    const queue = byPuller ? this.#toSender : this.#toPuller
    const effect = driver.advance()
    this.#stepped(side)
    this.note = 'store'
    if (effect === null) return false
    this.note = effect.type === 'send' ? nameOf(effect.bytes) : effect.type
    if (effect.type === 'close') return true
    // A copy: memory must not be shared between nodes.
    const parcel = effect.type === 'send' ? effect.bytes.slice() : null
    if (byPuller) this.recorded.push(parcel)
    else if (parcel !== null && parcel[0] === FRAME_TYPES.batch) this.batchFrames += 1
    queue.push(parcel)
    return true
  }

  #stepped(side: Running): void {
    const { puller, sender, opener } = this.subscription
    const node = side === this.#puller ? puller : sender
    node.hub.stepped(side, opener === node)
  }
}

/** A session as the node's hub sees it. */
function running(driver: SimDriver, node: SimNode, isOurs: boolean): Running {
  const side: Running = {
    get session() {
      return driver.session
    },
    tell(event) {
      driver.tell(event)
      node.hub.stepped(side, isOurs)
    },
  }
  return side
}

function nameOf(parcel: Parcel): string {
  if (parcel === null) return 'finish'
  return Object.entries(FRAME_TYPES).find(([, type]) => type === parcel[0])?.[0] ?? 'damaged'
}
