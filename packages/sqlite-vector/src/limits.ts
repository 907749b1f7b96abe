/**
 * Every bound of the library in one place, each with its reason; docs/reference/limits.md repeats
 * them.
 *
 * Relations between bounds are asserted when this module loads.
 */
import { assert } from './assert.ts'

/** Most components of a vector: the largest published embedding models give 4,096; twice that. */
export const DIMENSION_MAX = 8_192

/** Longest record id, in UTF-8 bytes: a URL with a fragment fits; keys stay cheap to compare. */
export const ID_BYTES_MAX = 1_024

/** Longest shard id, in UTF-8 bytes. */
export const SHARD_ID_BYTES_MAX = 256

/** Longest node id, in UTF-8 bytes. */
export const NODE_ID_BYTES_MAX = 256

/** Longest model id, in UTF-8 bytes. */
export const MODEL_ID_BYTES_MAX = 256

/** Largest metadata of a record as JSON, in UTF-8 bytes. */
export const METADATA_BYTES_MAX = 65_536

/** Deepest nesting of metadata: no data needs more, and a cycle must end somewhere. */
export const METADATA_DEPTH_MAX = 64

/** Largest text of a record, in UTF-8 bytes: a passage, not a book. */
export const TEXT_BYTES_MAX = 131_072

/** Most neighbours of one search: bounds the heap and the answer. */
export const K_MAX = 10_000

/** Deepest nesting of a filter, its operands included: bounds the statement it becomes. */
export const FILTER_DEPTH_MAX = 32

/** Most conditions in one filter; a list counts once, each segment of digits in a path doubles. */
export const FILTER_CONDITIONS_MAX = 500

/** Most segments of digits in a path of a filter: each may be a key or an index, so 16 places. */
export const FILTER_DIGIT_SEGMENTS_MAX = 4

/** Most bytes of a filter's operands, about: 100,000 ids of 36 characters fit a `$in`. */
export const FILTER_OPERANDS_BYTES_MAX = 4_194_304

/** Longest string that `$contains` looks for, in characters: its length multiplies the work. */
export const FILTER_NEEDLE_CHARACTERS_MAX = 1_024

/** Most regular expressions in one filter: compiling one takes some milliseconds. */
export const FILTER_REGEXES_MAX = 16

/** Longest regular expression of a filter, in characters. */
export const FILTER_REGEX_CHARACTERS_MAX = 1_024

/** Most steps of a compiled regular expression: each character of a text costs at most so many. */
export const FILTER_REGEX_PROGRAM_MAX = 1_000

/** Most vectors of one `searchBatch()`. */
export const BATCH_QUERIES_MAX = 1_000

/** Most records in the answers of one `searchBatch()` together. */
export const BATCH_RESULTS_MAX = 20_000

/** Most bytes of vectors in one answer: they are held in memory at once. */
export const ANSWER_VECTOR_BYTES_MAX = 134_217_728

/** Most components that MMR compares, `k` times candidates times dimension: a third of a second. */
export const MMR_COMPONENTS_MAX = 268_435_456

/** Most values of one `facets()`. */
export const FACETS_MAX = 10_000

/** Most shards of one search. */
export const SEARCH_SHARDS_MAX = 64

/** Longest text of a query, in UTF-8 bytes: a page of questions. */
export const QUERY_TEXT_BYTES_MAX = 65_536

/** Most distinct words of a query that are looked for; of a longer text, the first so many. */
export const QUERY_WORDS_MAX = 128

/** Most declared indexes on metadata: each makes every write of a record dearer. */
export const METADATA_INDEXES_MAX = 32

/** Most rows of one page of `list()`. */
export const LIST_LIMIT_MAX = 10_000

/** Most records that `insertBatch()` commits as one atomic transaction. */
export const BATCH_ATOMIC_RECORDS_MAX = 10_000

/** Most actors in one version vector: 16 bytes and a counter each, so about 1 MiB at most. */
export const VERSION_VECTOR_ACTORS_MAX = 16_384

/** Most siblings of one record on the wire: one per actor that writes it at the same moment. */
export const SIBLINGS_MAX = 32

/** Most changes in one delta. */
export const CHANGES_PER_DELTA_MAX = 4_096

/**
 * Bytes at which a delta under construction is sent: large enough to amortise, small enough to
 * flow.
 */
export const DELTA_BYTES_TARGET = 524_288

/** Largest frame on the wire, in bytes, header included. Bounds a receiver's buffer per channel. */
export const FRAME_BYTES_MAX = 8_388_608

/**
 * Bytes a change may take beyond its payloads: dots, stamps, lengths, and a context of all actors.
 */
export const CHANGE_OVERHEAD_BYTES_MAX = 786_432

/** Largest frame that carries no records: the version vector of the most actors, and some names. */
export const CONTROL_FRAME_BYTES_MAX = 524_288

/** Parts into which a range of ids is cut when peers compare what they hold. */
export const RANGE_PARTS = 16

/** A range of at most so many records is listed rather than cut. */
export const RANGE_LEAF_RECORDS = 16

/**
 * Rows that are summed in one turn of the event loop: at some 10 µs a row, others wait for 10 ms.
 */
export const COMPARE_SLICE_ROWS = 1_000

/**
 * Records that one step of a comparison finds to be asked for; the rest of the range is asked about
 * again.
 */
export const COMPARE_NEED_MAX = 4_096

/** Damaged records that a comparison of payloads names; how many there are it says of all. */
export const DAMAGED_NAMED_MAX = 1_000

/** Milliseconds between two looks at whether an open file is still in its folder. */
export const PRESENCE_CHECK_MS = 200

/**
 * Damaged records that one call of sync sets aside before it fails: each has the shard counted
 * again.
 */
export const DAMAGED_PER_CALL_MAX = 16

/** Times that a count starts again because the shard was written to meanwhile. */
export const RECOUNT_ATTEMPTS_MAX = 3

/** Ranges of one question, so that the answer fits a control frame. */
export const RANGES_ASKED_MAX = 16

/** Records asked for by id in one frame: their ids fit a control frame. */
export const NEED_IDS_MAX = 256

/** Batches that come while a puller waits for an answer and are held until then. */
export const FRAMES_HELD_MAX = 64

/** Days a silent replica holds tombstones back, unless the options say otherwise. */
export const REPLICA_RETENTION_DAYS = 30

/**
 * Batches on the way with which new writes of a live shard wait for an acknowledgement, to go
 * together.
 */
export const PUSHES_UNACKED_MAX = 4

/**
 * Payloads of our newest writes that are kept for sessions which push them, in bytes for a file:
 * some batches, as much as is written while a peer takes one.
 */
export const RECENT_WRITES_BYTES_MAX = 4_194_304

/**
 * Batches a sender may have on the way before one is acknowledged: enough for a long round trip.
 */
export const UNACKED_BATCHES_MAX = 16

/** HLC stamps this far ahead of the local clock are kept but not absorbed, in milliseconds. */
export const CLOCK_DRIFT_MS_MAX = 60_000

/** Counters are exact integers in JavaScript. */
export const COUNTER_MAX: number = Number.MAX_SAFE_INTEGER

/** Days a self-signed node certificate is valid: pinned by people, so it outlives a deployment. */
export const NODE_CERTIFICATE_DAYS = 3_650

/**
 * Days before its issue from which a certificate is valid, at most as many as it lives: peers'
 * clocks differ.
 */
export const CERTIFICATE_BACKDATE_DAYS = 30

/** Most pinned peers: every one is a trust anchor that a TLS handshake may search. */
export const TRUST_ENTRIES_MAX = 1_024

/** Days a cluster authority's certificate is valid. */
export const AUTHORITY_CERTIFICATE_DAYS = 3_650

/**
 * Days a certificate issued by a cluster authority is valid, unless said otherwise: renew it
 * before.
 */
export const ISSUED_CERTIFICATE_DAYS = 365

/** Most cluster authorities that a node trusts. */
export const AUTHORITIES_MAX = 16

/** Most unused invitations to a cluster that a node keeps: each is a trust anchor. */
export const INVITES_MAX = 64

/** Hours that an invitation to a cluster is good for, unless said otherwise. */
export const INVITE_HOURS = 24

/**
 * Longest request or answer about membership in a cluster, in bytes: a list of all revocations
 * fits.
 */
export const CLUSTER_MESSAGE_BYTES_MAX = 1_048_576

/**
 * Wait between a node's questions to its cluster's authority, in milliseconds: how long a
 * revocation may take.
 */
export const CLUSTER_CHECK_MS = 60_000

/**
 * How often a running node looks for changes of trust that another process made, in milliseconds.
 */
export const TRUST_POLL_MS = 500

/** Most certificates that an authority can take back: they travel as one signed list. */
export const REVOCATIONS_MAX = 10_000

/** Node names whose last certificate is remembered, so that a change is noticed. */
export const KNOWN_NODES_MAX = 4_096

/** Session tickets that a node keeps, one for each address it dialled; the oldest go. */
export const TICKETS_MAX = 1_024

/**
 * Age at which a session ticket, and the key that seals those we hand out, is not used any more.
 */
export const TICKET_MS_MAX = 86_400_000

/** Frames of one channel that may leave before the handshake is done: a greeting and a request. */
export const EARLY_FRAMES_MAX = 2

/** Bytes of one connection that may leave before the handshake is done: they can be replayed. */
export const EARLY_BYTES_MAX = 16_384

/**
 * Connections that a transport holds open, in both directions, unless the options say otherwise.
 */
export const CONNECTIONS_DEFAULT = 512

/** Connections of one peer: several processes may share an identity, hundreds do not. */
export const CONNECTIONS_PER_PEER_MAX = 16

/** Handshakes that one IPv4 address or IPv6 /64 network may start in a burst… */
export const HANDSHAKES_BURST_PER_ADDRESS = 64

/** …and per second from then on. */
export const HANDSHAKES_PER_SECOND_PER_ADDRESS = 32

/** Addresses whose rate of handshakes is kept; the one that was longest silent goes. */
export const RATED_ADDRESSES_MAX = 4_096

/** Messages that a node holds before they are received; further ones wait with their senders. */
export const INBOX_MESSAGES_MAX = 64

/** UDP payload that we send: fits an Ethernet path with IPv6 and a tunnel; QUIC demands 1,200. */
export const DATAGRAM_BYTES = 1_350

/** The same between processes of one machine, whose loopback carries 65,536. */
export const DATAGRAM_BYTES_LOOPBACK = 16_384

/**
 * Bytes that a peer may send on a channel before we read, at the start: all, as the engine raises
 * credit slowly…
 */
export const RECEIVE_WINDOW_STREAM_BYTES = 16_777_216

/** …and later, for a fast reader on a long path. */
export const RECEIVE_WINDOW_STREAM_BYTES_MAX = 16_777_216

/** Unread bytes of all channels of a connection, at the start. Bounds what a peer can park here. */
export const RECEIVE_WINDOW_CONNECTION_BYTES = 67_108_864

/** The same, later. */
export const RECEIVE_WINDOW_CONNECTION_BYTES_MAX = 67_108_864

/**
 * Connection ids in reserve, one less than the address changes a connection survives at a stretch.
 */
export const CONNECTION_IDS_MAX = 8

/** One-way streams that a peer may have open at once: its control stream and messages under way. */
export const UNIDIRECTIONAL_STREAMS_MAX = 64

/** Handshakes under way above which new ones must prove their address first (QUIC Retry). */
export const HANDSHAKES_BEFORE_RETRY = 64

/**
 * Bytes that one handshake under way may send: certificates and early data of a node take a third
 * of it.
 */
export const HANDSHAKE_BYTES_MAX = 65_536

/**
 * Bytes of the handshakes under way of one address or IPv6 /64 network: fragments take 24 times
 * that in memory.
 */
export const HANDSHAKE_BYTES_PER_ADDRESS_MAX = 1_048_576

/** Bytes of all handshakes under way. */
export const HANDSHAKE_BYTES_TOTAL_MAX = 6_291_456

/** Handshakes under way above which new ones are dropped. */
export const HANDSHAKES_MAX = 1_024

/** Bytes handed over from one channel before the next has its turn. */
export const CHANNEL_QUANTUM_BYTES = 65_536

/** Kernel buffers of a UDP socket; the system may grant less (Linux: net.core.rmem_max). */
export const SOCKET_BUFFER_BYTES = 4_194_304

/** Channels that a peer may have open on a connection at once, unless the options say otherwise. */
export const CHANNELS_OPEN_DEFAULT = 256

/** Bytes under way or unread on a channel of the memory transport before `send()` waits. */
export const MEMORY_WINDOW_BYTES = 262_144

/**
 * Wait before peers are told what others brought us, in milliseconds: several writes share one
 * frame.
 */
export const HOLDS_DELAY_MS = 10

/** Nodes that HOLDS names as those whose feeds its puller follows; of more, the first are named. */
export const SOURCES_MAX = 256

/** Milliseconds that a relay waits for a peer to get another writer's changes by another way… */
export const RELAY_PATIENCE_MS = 2_000

/** …and at most, where the peer has taken as long as that lately. */
export const RELAY_PATIENCE_MS_MAX = 10_000

/**
 * Rows that are summed for one peer's comparisons at once: a shard of a million, compared by names,
 * by payloads, and gone into.
 */
export const COMPARE_ROWS_BURST = 8_000_000

/**
 * Rows that are summed for one peer's comparisons per second from then on: at some 10 µs a row, a
 * fifth of a core.
 */
export const COMPARE_ROWS_PER_SECOND = 20_000

/** Milliseconds between two collections of forgotten deletes, unless the options say otherwise. */
export const COLLECT_INTERVAL_MS = 3_600_000

/** Longest wait for the first collection after a start: programs may run for minutes only. */
export const COLLECT_FIRST_MS = 300_000

/** How often a file is asked whether another process wrote to it, in milliseconds… */
export const FOREIGN_POLL_IDLE_MS = 50

/** …and while one does. */
export const FOREIGN_POLL_BUSY_MS = 10

/** Wait before an auto-sync that cannot heal by itself is tried again, in milliseconds. */
export const FAILED_RETRY_MS = 60_000

/** First wait after a peer could not be reached, in milliseconds; it doubles with every failure. */
export const RETRY_DELAY_MS = 200

/** Longest wait between attempts to reach a peer, in milliseconds. */
export const RETRY_DELAY_MS_MAX = 30_000

/** Failed attempts per peer that follow the backoff alone; then one per {@link RETRY_REFILL_MS}. */
export const RETRY_BUDGET = 20

/** Time after which a peer's budget holds one attempt more, in milliseconds. */
export const RETRY_REFILL_MS = 10_000

/** Events kept for a reader that is slower than they come, unless it asks for more. */
export const EVENT_BUFFER_DEFAULT = 1_000

/** Most events kept for one reader. */
export const EVENT_BUFFER_MAX = 100_000

/** Longest address of a peer, in UTF-8 bytes: a host name of 253 and a port, with room. */
export const ADDRESS_BYTES_MAX = 1_024

/** Most grants of one node: several for each peer that it may trust. */
export const GRANTS_MAX = 4_096

/**
 * Time after which a peer that claims writes of this node is asked for its rows again, in
 * milliseconds.
 */
export const DOUBT_INTERVAL_MS = 3_600_000

/** Changes of one peer to one shard that lie in quarantine. */
export const QUARANTINE_ENTRIES_PER_PEER_MAX = 4_096

/** Their bytes. */
export const QUARANTINE_BYTES_PER_PEER_MAX = 16_777_216

/** Records of a shard that a peer may have dropped in a day by its word alone, as a share… */
export const DROPS_UNCONFIRMED_SHARE = 0.1

/** …and at least. */
export const DROPS_UNCONFIRMED_MIN = 10

/** Time over which such drops are counted, and for which a confirmation holds, in milliseconds. */
export const DROPS_WINDOW_MS = 86_400_000

/** Actors unknown to the sender that a session keeps of what its subscriber names. */
export const FOREIGN_ACTORS_MAX = 256

/** Sessions of one peer on one shard in one direction: one live, others beside it that end. */
export const SESSIONS_PER_SHARD_MAX = 16

/** Bytes of frames that wait for one peer to take them, over all its sessions. */
export const PEER_UNSENT_BYTES_MAX = 33_554_432

/** Entries of the causal contexts of one delta: each costs the reader some 100 ns. */
export const CONTEXT_ENTRIES_PER_DELTA_MAX = 131_072

/**
 * Longest time for which a peer that claims writes of this node is sent nothing, in milliseconds.
 */
export const DOUBT_WAIT_MS = 60_000

/** Pairs of shard and peer whose claims on this node's writes are remembered; the oldest go. */
export const DOUBTS_MAX = 4_096

/** New identities that the rows of one peer may cause at once… */
export const RENEWALS_PER_PEER_MAX = 3

/** …and then one per this time, in milliseconds. */
export const RENEWALS_REFILL_MS = 21_600_000

/** Most peers that a coordinator knows: as many as a trust list may hold. */
export const PEERS_MAX = 1_024

/** Most syncs that a coordinator may be told to run at once. */
export const CONCURRENT_SYNCS_MAX = 1_024

/** Attempts of one task, and failures in a row of one peer, before its tasks fail for good. */
export const TASK_ATTEMPTS_MAX = 3

/**
 * Channels that a peer may have open to a syncing node: two for each live shard. Their unread bytes
 * are bounded together.
 */
export const SYNC_CHANNELS_MAX = 4_096

/** Largest peer record, in bytes: a certificate, an address and the tags of the most shards. */
export const PEER_RECORD_BYTES_MAX = 4_096

/** Most shards that a peer record names; a node with more names none. */
export const PEER_RECORD_SHARDS_MAX = 256

/** Peer records of one frame. */
export const PEER_RECORDS_PER_FRAME_MAX = 64

/** Nodes that a node has records of… */
export const MEMBERS_MAX = 1_024

/** Maximum number of untrusted members kept; any machine can make keys. */
export const MEMBERS_UNTRUSTED_MAX = 256

/** Peer records that one connection may bring in a minute: each costs the check of a signature. */
export const PEER_RECORDS_PER_MINUTE_MAX = 4_096

/** How often a node renews its record, in milliseconds… */
export const MEMBER_REFRESH_MS = 300_000

/** …and how long another may be silent before it is shown so: three renewals. */
export const MEMBER_SILENT_MS = 900_000

/** A peer not heard of for longer is shown as silent, in milliseconds. */
export const PEER_SILENT_MS = 60_000

/** Longest answer of an embedding service, in bytes: 2,048 vectors of 1,536 components as JSON. */
export const EMBEDDING_RESPONSE_BYTES_MAX = 67_108_864

/**
 * Records that are embedded and committed as one group: bounds memory, and what a failure repeats.
 */
export const EMBED_COMMIT_RECORDS = 1_000

/** Most texts that an LSA embedder is fitted on: its matrices have a row for each. */
export const LSA_TEXTS_MAX = 100_000

/** Most words of an LSA embedder: one vector each; the most frequent ones are kept. */
export const LSA_WORDS_MAX = 50_000

/** MCP sessions of one server; the one that was not used for longest is ended for a new one. */
export const MCP_SESSIONS_MAX = 64

/** Largest file that `ingest` reads, in bytes: a document, not a data set. */
export const INGEST_FILE_BYTES_MAX = 4_194_304

// One change always fits one frame, so the codec never has to split a change.
assert(
  SIBLINGS_MAX * (DIMENSION_MAX * 4 + METADATA_BYTES_MAX + TEXT_BYTES_MAX) +
    ID_BYTES_MAX +
    CHANGE_OVERHEAD_BYTES_MAX <=
    FRAME_BYTES_MAX,
  'a change fits one frame',
)
// In a delta an actor takes 16 bytes and a base, its context entry an index and a counter, as
// varints.
assert(VERSION_VECTOR_ACTORS_MAX * (16 + 8 + 3 + 8) <= CHANGE_OVERHEAD_BYTES_MAX, 'a context fits')
assert(
  VERSION_VECTOR_ACTORS_MAX * (16 + 8) + 4 * ID_BYTES_MAX <= CONTROL_FRAME_BYTES_MAX,
  'a version vector fits a control frame',
)
assert(DELTA_BYTES_TARGET <= FRAME_BYTES_MAX, 'a delta at its target size fits one frame')

assert(
  PEER_RECORDS_PER_FRAME_MAX * (PEER_RECORD_BYTES_MAX + 8) <= CONTROL_FRAME_BYTES_MAX,
  'a frame holds its peer records',
)
