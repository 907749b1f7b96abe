/**
 * Event streams: the change feed of a shard (feed.ts), which can be resumed, and sync events, which
 * cannot.
 *
 * The number of streams is bounded; each ends when its reader disconnects or the node ends.
 */
import type { NodeContext } from '../context.ts'
import { HttpError } from '../errors.ts'
import { shardFeed, sse } from '../feed.ts'
import { plain } from '../json.ts'
import type { Call, Route } from '../route.ts'
import { flag, object } from '../schemas.ts'

export function eventRoutes(context: NodeContext): readonly Route[] {
  const streams = new Streams(context.config.http.eventStreamsMax)
  return [
    {
      method: 'GET',
      path: '/v1/shards/{shard}/events',
      id: 'followShard',
      tag: 'events',
      summary: 'Streams the changes of a shard, from now or from Last-Event-ID.',
      access: 'read',
      query: object(
        {
          includeRecords: { ...flag, default: false },
          after: {
            type: 'string',
            description:
              'Same as Last-Event-ID, for readers that cannot send the header; 0: from the start.',
          },
        },
        [],
      ),
      answer: {
        status: 200,
        description: 'Events open, changes and reset; each id is a position in the feed.',
        type: 'text/event-stream',
      },
      errors: ['STORE_SHARD_UNKNOWN', 'HTTP_STREAMS_TOO_MANY'],
      run: (call) => streams.open(call.signal, () => followShard(context, call)),
    },
    {
      method: 'GET',
      path: '/v1/events',
      id: 'followSync',
      tag: 'events',
      summary: 'Streams sync events from now on; a slow reader is told how many events it missed.',
      access: 'read',
      answer: {
        status: 200,
        description: 'One event per sync event, named by its type.',
        type: 'text/event-stream',
      },
      errors: ['HTTP_STREAMS_TOO_MANY'],
      run: ({ signal }) => streams.open(signal, () => followSync(context, signal)),
    },
  ]
}

function followShard({ db }: NodeContext, call: Call): AsyncIterable<string> {
  const { params, query, signal } = call
  const shard = params['shard'] ?? ''
  const { after = null, includeRecords } = query as {
    readonly after?: string
    readonly includeRecords: boolean
  }
  const { logId } = db.replica.shardState(shard)
  const given = call.header('last-event-id') ?? after
  return shardFeed(db, shard, {
    after: given === '0' ? `${logId}.0` : given,
    includeRecords,
    signal,
  })
}

async function* followSync(
  { coordinator }: NodeContext,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  // Listens before the first bytes are sent, so no later event is missed.
  const events = coordinator.sync.events({ signal })
  yield ': open\n\n'
  for await (const event of events) yield sse(event.type, plain(event))
}

class Streams {
  readonly #countMax: number
  #count = 0

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  /**
   * Counts the stream until `signal` aborts. @throws HttpError `HTTP_STREAMS_TOO_MANY`; what
   * `start` throws
   */
  open(signal: AbortSignal, start: () => AsyncIterable<string>): AsyncIterable<string> {
    if (this.#count >= this.#countMax) {
      throw new HttpError('HTTP_STREAMS_TOO_MANY', `${this.#countMax} event streams are open`)
    }
    const parts = start()
    this.#count += 1
    // The end of the parts would not do: a stream whose reader disconnects at once never starts.
    signal.addEventListener('abort', () => (this.#count -= 1), { once: true })
    return parts
  }
}
