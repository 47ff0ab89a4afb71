//! `/openapi.json`, made from the route table: a route that is served is in it, and nothing else.

use serde_json::{Map, Value, json};

use super::query::MIN_SEQ;
use super::route::{JSON, Kind, NDJSON, PROBLEM_JSON, Param, Route};
use super::router::fixed;
use super::schemas;

pub const PATH: &str = "/openapi.json";

/// The row that serves the document, itself included.
pub(super) fn route<A>(rows: &[Route<A>]) -> Route<A> {
    let mut own = fixed(PATH, "openApi", "This document.", Vec::new());
    own.responses = &[(200, JSON, "OpenApi")];
    let body = document(rows.iter().chain([&own])).to_string().into_bytes();
    Route { responses: own.responses, ..fixed(PATH, "openApi", own.summary, body) }
}

/// The document of a whole table, its own row included, as text.
pub fn of_rows<A>(mut rows: Vec<Route<A>>) -> String {
    rows.push(route(&rows));
    document(rows.iter()).to_string()
}

/// The OpenAPI 3.1 document of these rows.
pub fn document<'a, A: 'a>(rows: impl Iterator<Item = &'a Route<A>>) -> Value {
    let mut paths = Map::new();
    for row in rows {
        let path = paths.entry(row.path.replace("{*", "{")).or_insert_with(|| json!({}));
        path[row.method.as_str().to_ascii_lowercase()] = operation(row);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Coliseum",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "An exactly-once event log with live leaderboards.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas::components()},
    })
}

fn operation<A>(row: &Route<A>) -> Value {
    let mut parameters: Vec<Value> = segments(row.path).map(path_parameter).collect();
    parameters.extend(row.params.iter().map(query_parameter));
    if row.derived.is_some() {
        parameters.push(query_parameter(&MIN_SEQ));
    }
    let mut responses = Map::new();
    for &(status, media_type, schema) in row.responses {
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({"description": reason(status)}));
        let described =
            if media_type == JSON { reference(schema) } else { json!({"schema": schema_of_text(media_type, schema)}) };
        response["content"][media_type] = described;
        if row.derived.is_some() {
            response["headers"]["Coliseum-Applied-Seq"] =
                json!({"description": "The last seq that the answer holds.", "schema": {"type": "integer"}});
        }
    }
    responses.insert(
        "default".into(),
        json!({"description": "A problem (RFC 9457).", "content": {PROBLEM_JSON: reference("Problem")}}),
    );
    let mut operation = json!({"operationId": row.id, "summary": row.summary, "responses": responses});
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = row.request {
        operation["requestBody"] = json!({"required": true, "content": {JSON: reference(schema)}});
    }
    operation
}

fn reference(schema: &str) -> Value {
    json!({"schema": schema_reference(schema)})
}

fn schema_reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// Streams and pages are text to OpenAPI; where their lines have a schema, the description names it.
fn schema_of_text(media_type: &str, schema: &str) -> Value {
    match schema {
        "" => json!({"type": "string"}),
        _ if media_type == NDJSON => json!({"type": "string", "description": format!("One {schema} a line.")}),
        _ => json!({"type": "string", "description": format!("Each data is one {schema}.")}),
    }
}

fn reason(status: u16) -> &'static str {
    hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Answer")
}

/// The names of a path's `{segments}`.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name.trim_start_matches('*'))
}

fn path_parameter(name: &str) -> Value {
    let schema = match name {
        "seq" => json!({"type": "integer", "minimum": 0}),
        "domain" => json!({"type": "string", "enum": ["a", "t", "g", "c"]}),
        "window" => json!({"type": "string", "enum": ["7d", "30d", "alltime"]}),
        _ => json!({"type": "string", "minLength": 1}),
    };
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn query_parameter(param: &Param) -> Value {
    let schema = match param.kind {
        Kind::Text(bytes_max) => json!({"type": "string", "minLength": 1, "maxLength": bytes_max}),
        Kind::Number(low, u64::MAX) => json!({"type": "integer", "minimum": low}),
        Kind::Number(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        Kind::Time => json!({"type": "string", "format": "date-time"}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
        Kind::NumberOr(low, high, word) => {
            json!({"anyOf": [{"type": "integer", "minimum": low, "maximum": high}, {"const": word}]})
        }
        Kind::Currency => json!({"type": "string", "pattern": "^[a-z]{3}$"}),
    };
    json!({"name": param.name, "in": "query", "description": param.doc, "schema": schema})
}
