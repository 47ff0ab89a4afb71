//! The live stream of entries: from where the client was, through the log, into what comes.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::watch;

use super::Api;
use super::entries::{self, ARTIST_ID, CATEGORY, ENTITY_ID, ENTITY_TYPE, FROM, SOURCE, TO, TYPE, USER_ID};
use crate::http::query::invalid;
use crate::http::route::{EVENT_STREAM, Handler, Kind, LaterAnswer, Param, Route};
use crate::http::{Call, EventSender, Gone};
use crate::limits::STREAM_PIECE_ENTRIES;
use crate::passport::EntryFilter;
use crate::read::ReadFailure;
use crate::units::Seq;

const STREAM: &[Param] = &[
    Param::new("after", Kind::Number(0, u64::MAX), "Starts behind this seq; `Last-Event-ID` goes before it."),
    USER_ID,
    TYPE,
    CATEGORY,
    ENTITY_TYPE,
    ENTITY_ID,
    ARTIST_ID,
    SOURCE,
    FROM,
    TO,
];

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get(
            "/api/passport/stream",
            "stream",
            "Server-sent events: every entry behind `after`, then those that come; `id` is the seq.",
            Handler::Async(stream),
        )
        .params(STREAM)
        .gives(&[(200, EVENT_STREAM, "Entry")]),
    ]
}

/// `GET /api/passport/stream`. Without a place to start it gives what comes from now on.
fn stream(call: Call<Api>) -> LaterAnswer {
    Box::pin(async move {
        let filter = entries::filter(&call.query)?;
        let after = match call.head.headers.get("last-event-id") {
            Some(id) => {
                let seq = id.to_str().ok().and_then(|text| text.parse().ok());
                Some(seq.ok_or_else(|| invalid("The header `Last-Event-ID` takes the id of an event, a seq."))?)
            }
            None => call.query.number("after"),
        };
        let after = after.map_or(call.app.coliseum.applied(), Seq::new);
        let (events, answer) = call.event_stream();
        let api = Arc::clone(&call.app);
        tokio::spawn(async move {
            if let Err(error) = follow(api, filter, after, events).await {
                tracing::error!(%error, "a stream broke off");
            }
        });
        Ok(answer)
    })
}

/// Sends entries until the client is gone. What is sent is always applied to the coliseum, so that `dnaInfluence` is
/// complete; for no other consumer is it held back, and `processedBy` says how far those were.
async fn follow(api: Arc<Api>, filter: EntryFilter, mut after: Seq, events: EventSender) -> Result<(), ReadFailure> {
    let mut applied: watch::Receiver<u64> = api.coliseum.subscribe();
    loop {
        while after < api.coliseum.applied() {
            let (reader, filter, view) = (api.reader(), filter.clone(), api.coliseum.view());
            let processed = api.applied(&view);
            let piece = tokio::task::spawn_blocking(move || {
                let mut piece: Vec<(Seq, Vec<u8>)> = Vec::new();
                let reached = reader.follow_applied(&filter, after, &view, &processed, &mut |seq, entry| {
                    piece.push((seq, entry));
                    if piece.len() < STREAM_PIECE_ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })?;
                Ok::<_, ReadFailure>((piece, reached))
            });
            let Ok(read) = piece.await else { return Ok(()) };
            let (piece, reached) = read?;
            for (seq, entry) in piece {
                let line = String::from_utf8_lossy(&entry);
                if let Err(Gone) = events.send(Some(seq.get()), &line).await {
                    return Ok(());
                }
            }
            after = reached;
        }
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
            () = events.gone() => return Ok(()),
        }
    }
}
