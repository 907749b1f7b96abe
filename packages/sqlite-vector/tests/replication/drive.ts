/**
 * What the tests of replication share: the sessions that ship, between two real stores, with frames as bytes and
 * no network. No tests here.
 */
import { must } from '../../src/assert.ts'
import { SqliteVectorError } from '../../src/errors.ts'
import type { Compression } from '../../src/sync/wire/compression.ts'
import { SessionDriver } from '../../src/sync/session/driver.ts'
import { FRAME_TYPES, type FrameType } from '../../src/sync/wire/frame.ts'
import { createPuller } from '../../src/sync/session/puller.ts'
import { createSender } from '../../src/sync/session/sender.ts'
import type { Compared, PullSession, PullTally, SendSession } from '../../src/sync/session/types.ts'
import { type Fixture, open } from '../unit/store/fixture.ts'

/** A store and the name that its peers know it by. */
export interface Peer {
  readonly name: string
  readonly fixture: Fixture
}

/** Databases in memory, each under its name. */
export async function peers<const N extends readonly string[]>(
  ...names: N
): Promise<{ readonly [K in keyof N]: Peer } & Disposable> {
  const made = await Promise.all(names.map(async (name) => ({ name, fixture: await open() })))
  const dispose = (): void => made.forEach(({ fixture }) => fixture[Symbol.dispose]())
  return Object.assign(made, { [Symbol.dispose]: dispose }) as never
}

/** How a pull went. */
export interface Pulled {
  readonly tally: PullTally
  readonly error: Error | null
  readonly compared: Compared
  /** Every frame, as "> NAME" (puller to sender) and "< NAME". */
  readonly frames: readonly string[]
  /** Bytes of all frames, both ways. */
  readonly bytes: number
}

export interface PullOptions {
  readonly shardId?: string
  readonly batchSize?: number
  readonly verify?: boolean
  readonly payloads?: boolean
  /** How the sender compresses. @defaultValue none */
  readonly compression?: Compression
  /** Ends the transfer before this frame of the sender arrives. */
  readonly cutBefore?: FrameType
  /** Called before a frame of this type arrives. */
  readonly before?: Partial<Record<FrameType, () => void>>
}

/** `puller` pulls the shard from `sender` until it is caught up, or until it fails. */
export function pullFrom(puller: Peer, sender: Peer, options: PullOptions = {}): Pulled {
  const { shardId = 'docs', batchSize = 100, verify = false, cutBefore, before = {} } = options
  const { payloads = false } = options
  const { compression = 'none' } = options
  const pulling: SessionDriver<PullSession> = new SessionDriver(
    createPuller({ peer: sender.name, shardId, live: false, verify, payloads }),
    { store: puller.fixture.db.replica, nodeId: puller.name, batchSize },
  )
  const sending: SessionDriver<SendSession> = new SessionDriver(
    createSender({ peer: puller.name, shardId: null }),
    { store: sender.fixture.db.replica, nodeId: sender.name, batchSize, compression },
  )
  const frames: string[] = []
  let bytes = 0
  const carry = (
    from: SessionDriver<PullSession> | SessionDriver<SendSession>,
    to: SessionDriver<PullSession> | SessionDriver<SendSession>,
    arrow: string,
  ): void => {
    while (from.busy) {
      const effect = from.advance()
      if (effect === null || effect.type === 'close') continue
      if (effect.type === 'finish') {
        to.tell({ type: 'finished' })
        continue
      }
      const type = nameOf(effect.bytes)
      frames.push(`${arrow} ${type}`)
      bytes += effect.bytes.byteLength
      if (type === cutBefore) {
        const error = new SqliteVectorError('TRANSPORT_ABORTED', 'cut by the test')
        for (const driver of [pulling, sending]) driver.tell({ type: 'failed', error })
        return
      }
      before[type]?.()
      to.take(effect.bytes.slice())
      if (from === sending) carry(pulling, sending, '>')
    }
  }
  pulling.start()
  while (pulling.busy || sending.busy) {
    carry(pulling, sending, '>')
    carry(sending, pulling, '<')
  }
  const { tally, error, compared } = pulling.session
  return { tally, error, compared, frames, bytes }
}

/** Both pull from each other. @throws what ended either pull */
export function syncBoth(a: Peer, b: Peer, options: PullOptions = {}): readonly [Pulled, Pulled] {
  const both = [pullFrom(a, b, options), pullFrom(b, a, options)] as const
  for (const { error } of both) if (error !== null) throw error
  return both
}

function nameOf(frame: Uint8Array): FrameType {
  const names = Object.entries(FRAME_TYPES)
  return must(
    names.find(([, number]) => number === frame[0]),
    'a known frame',
  )[0] as FrameType
}
