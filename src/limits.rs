//! Every bound in one list: what is refused, what is cut, what is kept in memory.
//! Related bounds are asserted against each other at compile time.

/// One event's JSON, in bytes.
pub const EVENT_BYTES_MAX: usize = 32 * 1024;
/// How deep arrays and objects may nest in an event; the event itself is level 1.
pub const JSON_DEPTH_MAX: usize = 32;
/// Type of an event, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 64;
/// An id (user, artist, event, track, message, session, device), in bytes.
pub const ID_BYTES_MAX: usize = 128;
/// `source`, and the words of a catalogue field, in bytes.
pub const WORD_BYTES_MAX: usize = 32;
/// Free text of a catalogue field (names, cities, genres), in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Artists in one line-up or one `artistIds`.
pub const ARTIST_IDS_MAX: usize = 100;
/// Genres in one profile.
pub const GENRES_MAX: usize = 100;
/// `amountCents` of one event.
pub const AMOUNT_CENTS_MAX: i128 = 1_000_000_000_000;
/// `weight` of one vote.
pub const VOTE_WEIGHT_MAX: i128 = 1_000;
/// `durationSeconds` of one play.
pub const DURATION_SECONDS_MAX: i128 = 86_400;
/// `leaderboardDepth` of an entitlement or a plan: the largest integer that every JSON reader holds.
pub const LEADERBOARD_DEPTH_MAX: u64 = 1 << 53;
/// How far `at` may lie ahead of the daemon's clock unless configured, in seconds.
pub const AT_AHEAD_SECONDS_DEFAULT: u64 = 300;

/// Events in one batch request unless configured.
pub const BATCH_EVENTS_DEFAULT: usize = 10_000;
/// Body of one batch request, decoded, in bytes, unless configured.
pub const BATCH_BYTES_DEFAULT: usize = 8 * 1024 * 1024;
/// The most that the two above can be configured to.
pub const BATCH_EVENTS_MAX: usize = 100_000;
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A segment file's size, in bytes: default and smallest.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Free space under which writes are refused, in bytes, unless configured.
pub const MIN_FREE_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
/// How often the writer looks at the free space, in milliseconds.
pub const FREE_SPACE_CHECK_MS: u64 = 200;
/// Idempotency keys in memory before they are written as a run: default, smallest and largest.
pub const KEY_TABLE_KEYS_DEFAULT: usize = 1 << 18;
pub const KEY_TABLE_KEYS_MIN: usize = 1 << 10;
pub const KEY_TABLE_KEYS_MAX: usize = 1 << 22;
/// Full tables of idempotency keys that may wait to be written before the log turns read-only.
pub const KEY_TABLES_BEHIND_MAX: usize = 16;
/// Groups that may wait for the writer thread; one more is answered 503 `queue-full`.
pub const APPEND_QUEUE_GROUPS_MAX: usize = 4096;
/// Bytes of records that one batch (one sync) gathers before it stops taking more groups.
pub const LOG_BATCH_GATHER_BYTES: usize = 4 * 1024 * 1024;

/// The body of one batch in the log: what is gathered, and one more whole request on top.
pub const LOG_BATCH_BYTES_MAX: usize = LOG_BATCH_GATHER_BYTES + GROUP_BYTES_MAX;
/// The records of one request: its body, and envelope and length of each event.
pub const GROUP_BYTES_MAX: usize = BATCH_BYTES_MAX + BATCH_EVENTS_MAX * 1024;

/// Plain bytes of one compressed block of a sealed segment: small, since a repeated key reads one to compare content.
pub const SEALED_BLOCK_BYTES: usize = 64 * 1024;
/// Records that the writer wrote last, kept in memory to compare what is sent again with them, in bytes.
pub const LAST_ROUNDS_BYTES: usize = 8 * 1024 * 1024;
/// Blocks kept decompressed for readers, in bytes.
pub const BLOCK_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Pieces of the log kept for those who follow it, in bytes, what is parsed of them included: about what
/// [`LAG_MAX_DEFAULT`] entries take, so that the last of them still finds what the first has read.
pub const PIECE_CACHE_BYTES: usize = 48 * 1024 * 1024;
/// The same of sealed segments, for those who build projections in step.
pub const PAST_PIECE_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// What a piece reads of a raw segment: enough to be worth a lock, little enough that who waits for it waits briefly.
pub const PIECE_READ_BYTES: u64 = 256 * 1024;
/// What a scan of a raw segment reads at once.
pub const SCAN_READ_BYTES: u64 = 1024 * 1024;

/// A snapshot's name, in bytes: with what is put around it, it is a file name on every file system.
pub const SNAPSHOT_NAME_BYTES_MAX: usize = 100;
/// A snapshot's manifest, in bytes: about 150 for each segment.
pub const SNAPSHOT_MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What a snapshot or a restore copies and hashes at once.
pub const SNAPSHOT_PIECE_BYTES: usize = 1024 * 1024;
/// Scheduled snapshots that are kept: default and most.
pub const SNAPSHOTS_KEPT_DEFAULT: usize = 7;
pub const SNAPSHOTS_KEPT_MAX: usize = 1000;

/// Entry indexes of sealed segments kept open.
pub const OPEN_INDEXES_MAX: usize = 256;
/// Entries that the live index takes in at one lock, so that a query beside it waits little.
pub const INDEX_LOCK_ENTRIES: usize = 4096;

/// How often the live index follows the watermark while nothing else is to do, in milliseconds.
pub const LIVE_INDEX_EVERY_MS: u64 = 50;
/// Pauses of background work after an error, in milliseconds: the first, doubled up to the last.
pub const KEEPER_PAUSE_MS_MIN: u64 = 100;
pub const KEEPER_PAUSE_MS_MAX: u64 = 10_000;
/// What the scrub reads a second unless configured, the pause between two passes, and the wait before the first.
pub const SCRUB_BYTES_PER_SECOND_DEFAULT: u64 = 8 * 1024 * 1024;
pub const SCRUB_INTERVAL_SECONDS_DEFAULT: u64 = 24 * 3600;
pub const SCRUB_FIRST_AFTER_MS: u64 = 10_000;

/// Days that the analytics functions look back over: default and most.
pub const DAYS_DEFAULT: u16 = 30;
pub const DAYS_MAX: u64 = 365;

/// Rows of a list: default and most.
pub const LIST_LIMIT_DEFAULT: usize = 100;
pub const LIST_LIMIT_MAX: usize = 1000;
/// How long a read waits for `minSeq`, in milliseconds.
pub const MIN_SEQ_WAIT_MS: u64 = 2000;

/// How long a read waits for the projection to reach the clock's minute, in milliseconds.
pub const CURRENT_WAIT_MS: u64 = 500;
/// How many entries a running projection may be behind before writes are held up, unless configured.
pub const LAG_MAX_DEFAULT: u64 = 65_536;
/// How long one write is held up at most, in milliseconds.
pub const PACE_WAIT_MS: u64 = 250;
/// Rendered pages kept of each board.
pub const BOARD_PAGES_MAX: usize = 8;
/// Rendered pages kept of all top lists.
pub const TOP_PAGES_MAX: usize = 32;
/// Entries that a stream reads at once.
pub const STREAM_PIECE_ENTRIES: usize = 256;

/// HTTP: headers of one request, their bytes, the target's bytes.
pub const HTTP_HEADERS_MAX: usize = 100;
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
pub const HTTP_TARGET_BYTES_MAX: usize = 8 * 1024;
/// HTTP: time for the headers to arrive, and for a body to go on, in seconds.
pub const HTTP_STALL_SECONDS: u64 = 10;
pub const HTTP_CONNECTIONS_DEFAULT: usize = 1024;
/// Request bytes in memory at once, decoded bodies included.
pub const INFLIGHT_BYTES_DEFAULT: usize = 64 * 1024 * 1024;

const _: () = assert!(EVENT_BYTES_MAX as u64 * 2 <= SEGMENT_BYTES_MIN);
const _: () = assert!(BATCH_BYTES_DEFAULT <= BATCH_BYTES_MAX);
const _: () = assert!(INFLIGHT_BYTES_DEFAULT >= BATCH_BYTES_DEFAULT * 2);
const _: () = assert!(ID_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(LOG_BATCH_BYTES_MAX < u32::MAX as usize);
