/**
 * The types of `createVectorSync()`: its options, results and events. Types only.
 */
import type { ConflictStrategy } from '../store/types.ts'
import type { QuicTransportStats } from '../transport/quic/tally.ts'
import type { ConnectionStats, PeerAddress, Transport, WaitOptions } from '../transport/types.ts'
import type { Compression } from './wire/compression.ts'
import type { Permissions } from './access/permissions.ts'
import type { Member } from './members/member-book.ts'
import { type PeerCursor, type ReplicaStore } from '../store/replica/types.ts'
import { type ShardState } from '../model/records.ts'

/** An open database, seen through its replica. */
export interface SyncableDatabase {
  readonly replica: ReplicaStore
  /** Chooses how a shard's conflicts are shown. */
  setConflictStrategy?(shardId: string, strategy: ConflictStrategy): void
}

/** Options of `createVectorSync()`. All may be left out. */
export interface VectorSyncConfig {
  /**
   * How records that several nodes wrote at once are shown: set for every shard that {@link
   * VectorSync.sync} creates or meets. A function is not kept in the file: it holds while the
   * database is open.
   * @defaultValue what each shard has, `'last-write-wins'` at first
   */
  readonly conflictStrategy?: ConflictStrategy
  /**
   * Most records of one batch, which is one transaction at the receiver. Integer, 1 to 4,096.
   * @defaultValue `256`
   */
  readonly batchSize?: number
  /**
   * How batches that go out are compressed, where the peer can read it. `'adaptive'` (or `true`) is
   * Zstandard, of embeddings only the bytes that shrink, and nothing on a connection within one
   * machine; `'lz4'` needs the package lz4-napi; `'none'` is `false`. @defaultValue `'adaptive'`
   */
  readonly compression?: boolean | Compression
  /**
   * Milliseconds between full checks of a shard that is kept in sync; a single `sync()` does not
   * use it. Integer, 100 to 86,400,000. @defaultValue `60000`
   */
  readonly syncIntervalMs?: number
  /**
   * The address that {@link VectorSync.listen} takes without an argument.
   * @defaultValue `'127.0.0.1:0'`
   */
  readonly listen?: PeerAddress
  /**
   * The address that peers are told to dial, if it differs from the one that this node listens on.
   * @defaultValue the address it listens on; none while that is every address of the machine
   */
  readonly advertise?: PeerAddress
  /**
   * How long changes that others made wait before they are passed on to a peer that follows others
   * who may bring them, in milliseconds. Without another route they go at once; own writes never
   * wait. Integer, 0 to 60,000. @defaultValue `100`
   */
  readonly relayDelayMs?: number
  /**
   * Milliseconds between two collections of deletes that every known replica has; 0 collects only
   * when asked to. Integer, 0 to 86,400,000. @defaultValue `3600000`, the first one after five
   * minutes
   */
  readonly collectIntervalMs?: number
  /**
   * How long collections wait for a replica that is silent, in milliseconds. Integer, from 0.
   * @defaultValue 30 days
   */
  readonly replicaRetentionMs?: number
  /**
   * The network. @defaultValue QUIC, with the identity and the trust list in the folder `<path of
   * the database>-node/`
   */
  readonly transport?: Transport
  /**
   * Which peer may do what with which shard.
   * @defaultValue what is kept beside the database; without a file, everything
   */
  readonly permissions?: Permissions
  /** Called when something happened; it must not throw. @defaultValue none */
  readonly onEvent?: (event: SyncEvent) => void
}

/** One direction between two nodes: records come in by `pull` and go out by `push`. */
export type SyncDirection = 'pull' | 'push'

/** Events of the sync. */
export type SyncEvent =
  /** A batch was committed: by us (`pull`), or by the peer, which acknowledged it (`push`). */
  | {
      readonly type: 'progress'
      readonly direction: SyncDirection
      readonly shardId: string
      readonly peer: string
      /** Changes committed in this session so far. */
      readonly changes: number
    }
  /** A session ended; `error` is null when it ended in order. */
  | {
      readonly type: 'session-ended'
      readonly direction: SyncDirection
      /** null when the peer named none. */
      readonly shardId: string | null
      readonly peer: string
      readonly changes: number
      readonly error: Error | null
    }
  /** A stranger tried to connect. */
  | {
      readonly type: 'peer-refused'
      readonly address: PeerAddress
      /** null when it showed no certificate. */
      readonly fingerprint: string | null
      readonly reason: string
    }
  /** Deletes that every known replica has were forgotten. */
  | { readonly type: 'collected'; readonly shardId: string; readonly count: number }
  /**
   * A peer claims writes of this node that this node did not make: the file was restored or cloned,
   * or the peer lies. It is asked for the rows; only rows change anything.
   */
  | { readonly type: 'doubt'; readonly shardId: string; readonly peer: string }
  /**
   * Two living processes show one certificate: a node's folder was copied, or two servers run on
   * one file. Live sync goes on with the first of the addresses; the other one is refused with
   * SYNC_ALREADY_LIVE.
   */
  | { readonly type: 'key-shared'; readonly peer: string; readonly addresses: readonly string[] }
  /** A stamp came in that is further ahead of our clock than the drift bound. */
  | {
      readonly type: 'skew'
      readonly shardId: string
      readonly peer: string
      readonly skewMs: number
    }
  /**
   * Rows were compared with a peer's and repaired: digests differed, or deletes were forgotten that
   * we had missed.
   */
  | {
      readonly type: 'repair'
      readonly shardId: string
      readonly peer: string
      /** True when rows differed that had to be equal. */
      readonly diverged: boolean
      /** Records dropped because the peer had deleted them. */
      readonly dropped: number
      /** Records that were fetched and changed ours. */
      readonly repaired: number
    }
  /** A shard changed, by a write here or by what a peer sent. */
  | { readonly type: 'change'; readonly shardId: string; readonly head: number }
  /** A batch that a peer sent was committed; `applied` counts the records that it changed. */
  | {
      readonly type: 'applied'
      readonly shardId: string
      readonly peer: string
      readonly received: number
      readonly applied: number
    }
  /** Records that nodes wrote at the same time came in. */
  | {
      readonly type: 'conflict'
      readonly shardId: string
      readonly peer: string
      readonly conflicts: number
    }
  /** Changes came in that cannot be applied; they are in quarantine. */
  | {
      readonly type: 'quarantine'
      readonly shardId: string
      readonly peer: string
      readonly quarantined: number
    }
  /** A connection to a peer opened or ended. */
  | {
      readonly type: 'peer'
      readonly peer: string
      readonly remoteAddress: PeerAddress
      readonly status: 'connected' | 'disconnected'
      /** Bytes that this connection has moved, of UDP payload over QUIC. */
      readonly wire: { readonly bytesSent: number; readonly bytesReceived: number }
    }
  /** A node introduced itself or was introduced, or something of what is known of it changed. */
  | { readonly type: 'member'; readonly member: Member }
  /** A shard that is kept in sync is now live, or is not any more. */
  | {
      readonly type: 'sync'
      readonly shardId: string
      readonly address: PeerAddress
      readonly status: AutoSyncStatus
    }
  /** Something failed that no caller waits for. `willRetry` false: it will not heal by itself. */
  | {
      readonly type: 'error'
      readonly shardId: string | null
      readonly address: PeerAddress | null
      readonly error: Error
      readonly willRetry: boolean
    }

/**
 * The status of an auto-sync: `connecting`, `live` (both sides hold all that the other has, and
 * hear of what is new), `waiting` for the next attempt, `failed` for good, or `stopped`.
 */
export type AutoSyncStatus = 'connecting' | 'live' | 'waiting' | 'failed' | 'stopped'

/** One shard that is kept in sync with one peer. */
export interface AutoSyncState {
  readonly shardId: string
  readonly address: PeerAddress
  readonly status: AutoSyncStatus
  /** Fingerprint of the peer; null before the first contact. */
  readonly peer: string | null
  /** Attempts that failed in a row. */
  readonly failures: number
  readonly lastError: Error | null
}

/** The result of one `sync()`; it counts only what was committed. */
export interface SyncResult {
  readonly shardId: string
  readonly address: PeerAddress
  /** Fingerprint of the peer. */
  readonly peer: string
  /** The peer's own name for itself; null when it never said. */
  readonly peerNodeId: string | null
  /** False when the peer may not write the shard here: nothing was taken from it. */
  readonly pulled: boolean
  /** False when we may not write the shard there: nothing was sent. */
  readonly pushed: boolean
  /** Records of ours that changed. */
  readonly applied: number
  /** Changes that came in batches that we committed, also those that we had already. */
  readonly received: number
  /** Changes that the peer acknowledged as committed. */
  readonly sent: number
  /** Records that have more than one sibling now and had not before. */
  readonly conflicts: number
  /** Changes quarantined because they could not be applied. */
  readonly quarantined: number
  /** Batches committed, ours and the peer's. */
  readonly batches: number
  /** Bytes of frames that this sync sent. */
  readonly bytesSent: number
  /** Bytes of frames that this sync received. */
  readonly bytesReceived: number
  /** Both together. */
  readonly bytes: number
  /**
   * Bytes of UDP payload (or the transport's own measure) that the connection moved both ways
   * meanwhile: handshake excluded, other syncs over the same connection included.
   */
  readonly wireBytes: number
  readonly durationMs: number
  /** The shard here, afterwards. */
  readonly state: ShardState
}

/** Options of {@link VectorSync.events}. */
export interface EventOptions {
  /** Events kept for a slow reader. Integer, 1 to 100,000. @defaultValue `1000` */
  readonly bufferMax?: number
  /** Ends the iteration. */
  readonly signal?: AbortSignal
}

/** The result of a comparison with one peer. */
export interface VerifyResult {
  readonly shardId: string
  readonly address: PeerAddress
  readonly peer: string
  /** True when our counts and digest were those of our rows. They are now. */
  readonly correct: boolean
  /**
   * False when version vectors differed, as under constant writing: then rows could not be
   * compared.
   */
  readonly compared: boolean
  /** True when vectors and digests are equal now. */
  readonly equal: boolean
  /** Times that digests differed over equal vectors. */
  readonly divergences: number
  /** Records that were fetched. */
  readonly repaired: number
  /** Records that were dropped because the peer had deleted them and forgotten it. */
  readonly dropped: number
  /** Records that the peer lacks, until it compares. */
  readonly onlyHere: number
  /**
   * Records of which one write is not the same here and there, so that one of the two is damaged:
   * how many, and the first thousand ids. Null when payloads were not compared: not asked for, or
   * both sides are being written.
   */
  readonly damaged: { readonly count: number; readonly ids: readonly string[] } | null
  readonly state: ShardState
}

/** Options of {@link VectorSync.waitForPeers}. */
export interface WaitForPeersOptions extends WaitOptions {
  /** How many peers. Integer, 1 to 1,024. */
  readonly acks: number
}

/** Options of {@link VectorSync.sync}. */
export type SyncOptions = WaitOptions

/** Options of {@link VectorSync.verify}. */
export interface VerifyOptions extends SyncOptions {
  /**
   * Compare what was written as well, not only its names; reads every embedding on both sides.
   * @defaultValue `false`
   */
  readonly payloads?: boolean
}

/**
 * `live`: changes go over as they are made. `catching-up`: a session transfers what is missing.
 * `refused`: the newest session ended for want of permission. `closed`: no session now. `silent`:
 * none, and no contact for a minute.
 */
export type PeerSessionStatus = 'live' | 'catching-up' | 'refused' | 'closed' | 'silent'

/** The known state of a peer's copy of a shard. */
export interface PeerSession extends PeerCursor {
  /** The status of the peer's sessions on the shard, now. */
  readonly status: PeerSessionStatus
  /**
   * How far stamps of what it sent last were ahead of our clock at most, in milliseconds, own or
   * passed on; 0 when none was, null when nothing came since the start. Beyond the drift bound
   * there was a `skew` event, too.
   */
  readonly skewMs: number | null
}

/** Our identity and our peers. */
export interface SyncSession {
  readonly nodeId: string
  /** The fingerprint by which peers know us. */
  readonly fingerprint: string
  readonly actor: string
  readonly logId: string
  /** The address that we listen on; null while we do not. */
  readonly listening: PeerAddress | null
  readonly connections: readonly {
    readonly peer: string
    readonly remoteAddress: PeerAddress
    readonly dialled: boolean
    readonly stats: ConnectionStats
  }[]
  /** Counts of our QUIC transport; null before it is needed, and where the transport was given. */
  readonly transport: QuicTransportStats | null
  /** Bytes that all connections moved since the start, of UDP payload over QUIC. */
  readonly wire: { readonly bytesSent: number; readonly bytesReceived: number }
  /** Sessions under way, in either direction, begun by either side. */
  readonly sessionsActive: number
  /** Auto-syncs and their status. */
  readonly autoSyncs: readonly AutoSyncState[]
  /** Nodes that introduced themselves or were introduced, over whatever connection. */
  readonly members: readonly Member[]
  /** The durable state of peers' copies. */
  readonly peers: readonly PeerSession[]
}
