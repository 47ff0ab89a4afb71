//! Coliseum: an append-only log of what fans do, and the boards that come of it, in one process on one box.
//!
//! # The journey of one event
//!
//! ```text
//! socket
//!   -> http::guard            judges the raw head; hyper parses it; http::service routes it to a row of api::Api::routes
//!   -> capture::native::log   (or capture::batch) reads the event with event::Event::parse, gives it time and key
//!   -> passport::Appender     one Group a request, into a bounded channel
//!   -> passport::writer       THE ONE THREAD THAT NUMBERS AND SYNCS: Writer::accept looks every key up and gives seqs,
//!                             Writer::write_batch writes one checksummed batch and calls fdatasync
//!   -> passport::Watermark    moves: the events are durable
//!   <- 201 with the seq       Writer::answer, after the sync
//!
//! behind the watermark, with nobody waiting
//!   -> projection::runner     reads the log from its checkpoint on, and keeps a redb transaction for it
//!   -> coliseum::Coliseum     apply: coliseum::scoring::judge says how much, coliseum::lineup to whom; the points go to
//!                             totals and to the row of (minute, artist)
//!                             what it counts goes to coliseum::metrics: totals of the top lists, and facts that a flush
//!                             turns into sorted rows (projection::rows)
//!                             tick: coliseum::minutes takes rows over the edges of the windows as minutes pass;
//!                             THIS IS WHERE AN EVENT LEAVES THE 7d WINDOW
//!   -> coliseum::View         boards in order, immutable, published in one pointer (projection::Handle::load)
//!   -> api::boards, read::*   answers made from one view: one prefix of the log, one minute
//! ```
//!
//! A full segment goes the other way, to the background: [`passport`]'s keeper thread compresses it, writes the index of
//! its entries and its idempotency keys as sorted runs.
//!
//! Asked often: which file numbers an event? `passport/writer.rs`. Which one syncs it? The same, `write_batch`. Which one
//! makes it leave the 7d window? `coliseum/minutes.rs` says which edge a row crosses, `coliseum/mod.rs` (`tick`) moves it.
//!
//! # Rooms
//!
//! | room | holds | may use |
//! | --- | --- | --- |
//! | [`limits`], [`units`], [`problem`], [`clock`], [`disk`], [`world`] | every bound; numbers as types; problems; time, files and chance as traits | each other |
//! | [`event`] | the catalogue, validation, credit by an event's own fields: pure | the above |
//! | [`passport`] | records, segments, writer, recovery, repair, scrub, idempotency, entry index, queries, snapshots | event |
//! | [`projection`] | the runner that every projection shares | passport's read side |
//! | [`coliseum`] | rules, scoring, line-ups, windows, boards, metrics, analytics, plans | projection, event |
//! | [`treasury`] | what money did for each artist, and its fans | projection, event |
//! | [`mediaid`] | the profile of every fan | projection, event |
//! | [`capture`] | bytes from outside into groups of events | event, passport's appender |
//! | [`read`] | queries into plain answers | passport, the projections |
//! | [`verify`] | everything once more, plainly, and what differs | passport, the projections |
//! | [`http`] | sockets, framing, limits, routes, streams; knows no projection | capture |
//! | [`api`] | the application's routes and handlers | all of the above |
//! | [`daemon`], [`cli`], [`config`] | start and stop order; commands; settings | everything |
//!
//! A new projection implements [`projection::Projection`] in a room of its own and gets a line in `daemon/projections.rs`;
//! everything that treats all projections alike ([`projection::Consumers`]) has it from then on.
//!
//! Imports go down this table and never back; `tests/rooms.rs` reads the `use` lines.
//!
//! What a 201 promises, how each promise is kept and which test breaks when it is not: [`durable_answer`].
//!
//! # What is deliberately absent
//!
//! *Architecture invariant:* nothing to the right of the log is needed to accept an event, and nothing to its left to answer
//! a read. A projection that fails leaves the log writable; a log that is full leaves the boards readable.
//!
//! *Architecture invariant:* nothing derived is evidence about the log. Indexes, idempotency runs and redb files are
//! made again when they are missing, stale or damaged; the log is never made to agree with them.
//!
//! *Architecture invariant:* no answer is put together from two views. A handler takes one [`coliseum::View`] and everything
//! in its answer comes from that and from entries up to it.
//!
//! *Architecture invariant:* mutations are not stored. Each is a pure function of an entry, the rules and the line-ups, so
//! `/mutations`, `/why` and `dnaInfluence` compute them from the entries that the index names ([`read::mutations`]).
//!
//! # Where this differs from the first design, and why
//!
//! - Rows of (minute, artist) are kept in pages by hour, not one redb key each: one key each was measured at 56,000 rows a
//!   second by redb, and an event makes about one row.
//! - Metrics, fans, genres and cities are rows in sorted runs ([`projection::rows`]), not one redb key each: an event makes
//!   seven. Answers about one subject are added up from its own rows, to the minute; fans of several days are counted as
//!   their rows come, by one day a user (few of them by sorting), where roaring bitmaps by day took three times as long. What
//!   came since the last flush is passed over as it came.
//! - Those who follow the log do not each read it: an entry of the growing segment is read and parsed once, as part of a
//!   [`passport::Piece`] that all of them find.
//! - Writes wait for boards that fall far behind, but never long ([`projection::Consumers::keep_pace`]).
//! - A top list holds its first thousands, not everybody: readers ask for a thousand at most.
//! - An idempotency key's fingerprint has 64 bits, not 128: the index names candidates only, and the stored key decides.
//!   That halves the bytes a key takes, and no collision can ever lose an event.
//! - A request is never split over two batches: a batch request is there after a crash as a whole or not at all.

#![deny(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "these docs are for who works on the code: `cargo doc --no-deps --document-private-items`"
)]

pub mod api;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod coliseum;
pub mod config;
pub mod daemon;
pub mod disk;
#[doc = include_str!("durable_answer.md")]
pub mod durable_answer {}
pub mod event;
#[doc(hidden)]
pub mod fuzz;
pub mod http;
pub mod limits;
pub mod mediaid;
pub mod passport;
pub mod problem;
pub mod projection;
pub mod read;
pub mod treasury;
pub mod units;
pub mod verify;
pub mod world;
