//! Snapshots of the log: taken by name, and listed.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Deserialize;

use super::Api;
use crate::http::reply;
use crate::http::route::{Answer, Handler, JSON, Route};
use crate::http::{Ask, Call};
use crate::passport::snapshot::{Listed, Manifest, NameError, SnapshotError, SnapshotName};
use crate::problem::{Problem, Slug};
use crate::read::json::Json;

/// The body of a request is a name and little more.
const BODY_BYTES_MAX: usize = 4096;

pub fn routes() -> Vec<Route<Api>> {
    vec![
        Route::post(
            "/api/admin/snapshots",
            "takeSnapshot",
            "Takes a snapshot of the log while writes go on; answers when it is whole and on disk.",
            Handler::Async(|call| Box::pin(take(call))),
        )
        .takes("SnapshotName")
        .gives(&[(201, JSON, "Snapshot")]),
        Route::get(
            "/api/admin/snapshots",
            "snapshots",
            "The snapshots in the data directory, the newest first.",
            Handler::Blocking(list),
        )
        .gives(&[(200, JSON, "Snapshots")]),
    ]
}

/// `POST /api/admin/snapshots`
async fn take(mut call: Call<Api>) -> Answer {
    let body = call.json_body(BODY_BYTES_MAX).await?;
    let name = name_in(&body)?;
    let api = Arc::clone(&call.app);
    let gone = |_| Problem::new(Slug::Internal, "The server is gone.");
    let permit = api.taking_snapshot.clone().acquire_owned().await.map_err(gone)?;
    let taken = tokio::task::spawn_blocking(move || {
        // Until it is taken, though nobody may wait for it any more.
        let _permit = permit;
        api.snapshots.take(&name, api.clock.now())
    });
    let broken = |error| Problem::new(Slug::Internal, format!("Taking the snapshot broke off: {error}."));
    let manifest = taken.await.map_err(broken)?.map_err(problem_of)?;
    let mut json = Json::with_capacity(256);
    json.object(|json| {
        json.bool("ok", true);
        json.string("name", &manifest.name);
        write_manifest(json, &manifest);
    });
    Ok(reply::json_status(StatusCode::CREATED, json.into_bytes()))
}

/// `GET /api/admin/snapshots`
fn list(api: &Api, _: &Ask<'_>) -> Answer {
    let listed = api.snapshots.list().map_err(problem_of)?;
    let mut json = Json::with_capacity(256 * listed.len() + 64);
    json.object(|json| {
        json.array_field("snapshots", |json| listed.iter().for_each(|snapshot| write_listed(json, snapshot)));
    });
    Ok(reply::json(json.into_bytes()))
}

fn write_listed(json: &mut Json, listed: &Listed) {
    json.object(|json| {
        json.string("name", listed.name.as_str());
        match &listed.manifest {
            Ok(manifest) => write_manifest(json, manifest),
            Err(what) => json.string("problem", &format!("its manifest is damaged: {what}")),
        }
    });
}

fn write_manifest(json: &mut Json, manifest: &Manifest) {
    json.time("createdAt", manifest.created_at());
    json.number("lastSeq", manifest.last_seq().get());
    json.number("entries", manifest.last_seq().get());
    json.number("files", manifest.files.len());
    json.number("bytes", manifest.bytes());
}

/// `{"name"}`, and nothing else.
fn name_in(body: &[u8]) -> Result<SnapshotName, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        name: String,
    }
    let shape = |what: &str| {
        Problem::new(Slug::InvalidQuery, format!("The body must be {{\"name\": \"…\"}}: {what}.")).with_pointer("")
    };
    let request: Result<Request, _> = serde_json::from_slice(body);
    let request = request.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => shape(&error.to_string()),
        _ => Problem::new(Slug::NotJson, format!("The body is no JSON: {error}.")),
    })?;
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(shape("it is no object"));
    }
    let refused = |error: NameError| Problem::new(Slug::InvalidQuery, format!("{error}.")).with_pointer("/name");
    SnapshotName::parse(&request.name).map_err(refused)
}

fn problem_of(error: SnapshotError) -> Problem {
    match &error {
        SnapshotError::Exists(_) => {
            Problem::new(Slug::BadRequest, format!("{error}.")).with_status(409).with_pointer("/name")
        }
        SnapshotError::Stopped => Problem::new(Slug::Internal, format!("{error}.")).with_status(503),
        _ => {
            tracing::error!(%error, "a snapshot failed");
            let problem = Problem::new(Slug::Internal, format!("No snapshot was taken: {error}."));
            if error.is_full_disk() { problem.with_status(507) } else { problem }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_one_snapshot_and_says_nothing_else() {
        assert_eq!(name_in(br#" {"name":"one"} "#).expect("good").as_str(), "one");
        for (body, slug) in [
            (&br#"{"name":"../x"}"#[..], Slug::InvalidQuery),
            (br#"{"name":"x\u0000"}"#, Slug::InvalidQuery),
            (br#"{"name":""}"#, Slug::InvalidQuery),
            (br#"{"name":"auto-1"}"#, Slug::InvalidQuery),
            (br#"{"name":7}"#, Slug::InvalidQuery),
            (br#"{"name":null}"#, Slug::InvalidQuery),
            (br#"{}"#, Slug::InvalidQuery),
            (br#"["one"]"#, Slug::InvalidQuery),
            (br#"{"name":"one","name":"two"}"#, Slug::InvalidQuery),
            (br#"{"name":"one","keep":1}"#, Slug::InvalidQuery),
            (b"", Slug::NotJson),
            (b"{\"name\":\"\xff\"}", Slug::NotJson),
            (b"name", Slug::NotJson),
        ] {
            let problem = name_in(body).expect_err(&String::from_utf8_lossy(body));
            assert_eq!((problem.slug, problem.status), (slug, 400), "{problem}");
        }
    }
}
