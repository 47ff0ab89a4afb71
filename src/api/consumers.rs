//! How far the projections are, and the entries that one of them could not fold.

use std::sync::Arc;

use super::Api;
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, LaterAnswer, Route};
use crate::http::{Ask, Call};
use crate::passport::EntrySource;
use crate::problem::{Problem, Slug};
use crate::projection::ConsumerStatus;
use crate::read::json::Json;
use crate::units::Seq;

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::get(
            "/api/passport/consumers",
            "consumers",
            "Every projection: how far it is, and how it does.",
            Handler::Read(consumers),
        )
        .gives(&[(200, JSON, "Consumers")]),
        Route::get(
            "/api/passport/dead-letters",
            "deadLetters",
            "Entries that a projection could not fold after its retries.",
            Handler::Blocking(dead_letters),
        )
        .gives(&[(200, JSON, "DeadLetters")]),
        Route::post(
            "/api/passport/dead-letters/{consumer}/{seq}/retry",
            "retryDeadLetter",
            "Folds a dead letter's entry once more.",
            Handler::Async(retry),
        )
        .gives(&[(200, JSON, "Report")]),
    ]
}

/// `GET /api/passport/consumers`
fn consumers(api: &Api, _: &Ask<'_>) -> Answer {
    let head = api.log.durable();
    let mut json = Json::with_capacity(512);
    json.object(|json| {
        json.number("headSeq", head.get());
        json.array_field("consumers", |json| {
            api.consumers.iter().for_each(|consumer| write_consumer(json, &consumer.status(), head, api));
        });
    });
    Ok(reply::json(json.into_bytes()))
}

fn write_consumer(json: &mut Json, status: &ConsumerStatus, head: Seq, api: &Api) {
    let lag = head.get().saturating_sub(status.applied.get());
    // How old what is not applied yet may be: since the last entry that is.
    let behind_micros = match (lag, status.last_applied_received_at) {
        (0, _) | (_, None) => 0,
        (_, Some(at)) => (api.clock.now().micros() - at.micros()).max(0),
    };
    json.object(|json| {
        json.string("name", status.name);
        json.number("appliedSeq", status.applied.get());
        json.number("lag", lag);
        json.decimal("lagSeconds", crate::units::Decimal::new(i128::from(behind_micros / 1000), 3));
        json.number("deadLetters", status.dead_letters);
        json.string("state", &status.state);
        json.optional_string("detail", status.detail.as_deref());
    });
}

/// `GET /api/passport/dead-letters`
fn dead_letters(api: &Api, _: &Ask<'_>) -> Answer {
    let mut json = Json::with_capacity(1024);
    let mut failed = Ok(());
    json.object(|json| {
        json.array_field("deadLetters", |json| {
            let of_all = api.consumers.iter().map(|consumer| (consumer.name(), consumer.dead_letters()));
            for (name, letter) in of_all.flat_map(|(name, letters)| letters.into_iter().map(move |one| (name, one))) {
                let mut payload = Vec::new();
                let read = api.log.get(letter.seq, &mut |entry| payload.extend(entry.envelope.payload.as_bytes()));
                if let Err(error) = read {
                    failed = Err(error);
                }
                json.object(|json| {
                    json.string("consumer", name);
                    json.number("seq", letter.seq.get());
                    json.raw("event", if payload.is_empty() { b"null" } else { &payload });
                    let problem = Problem::new(Slug::Internal, letter.problem.clone()).with_seq(letter.seq.get());
                    json.raw("problem", &problem.to_json());
                    json.number("attempts", letter.attempts);
                });
            }
        });
    });
    failed.map_err(crate::read::ReadFailure::from)?;
    Ok(reply::json(json.into_bytes()))
}

/// `POST /api/passport/dead-letters/{consumer}/{seq}/retry`
fn retry(call: Call<Api>) -> LaterAnswer {
    Box::pin(async move {
        let api = Arc::clone(&call.app);
        let (name, seq) = (call.path("consumer"), call.path("seq"));
        let none = || {
            let shown = format!("{name}/{seq}").chars().take(200).collect::<String>();
            Problem::new(Slug::NotFound, format!("There is no dead letter {shown}."))
        };
        let consumer = api.consumers.get(name).ok_or_else(none)?;
        let seq = seq.parse().map(Seq::new).map_err(|_| none())?;
        match consumer.retry(seq).await {
            Err(_) => Err(none()),
            Ok(tried) => {
                let mut json = Json::with_capacity(128);
                json.object(|json| {
                    json.bool("ok", tried.is_ok());
                    json.number("seq", seq.get());
                    json.optional_string("detail", tried.as_ref().err().map(String::as_str));
                });
                Ok(reply::json(json.into_bytes()))
            }
        }
    })
}
