//! The shapes of SPEC 8 and 5, as JSON Schema (2020-12) for `/openapi.json`.

mod views;

use serde_json::{Value, json};

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn list(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

/// `schema`, or null.
fn or_null(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn text() -> Value {
    json!({"type": "string"})
}
fn integer() -> Value {
    json!({"type": "integer"})
}
fn seq() -> Value {
    json!({"type": "integer", "minimum": 0})
}
fn number() -> Value {
    json!({"type": "number"})
}
fn flag() -> Value {
    json!({"type": "boolean"})
}
fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

/// An object with these fields, all of them there; more may stand beside them.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|(name, schema)| (name.to_string(), schema.clone())).collect();
    json!({"type": "object", "required": names, "properties": properties})
}

/// The same with further fields that may be missing.
fn with_optional<const N: usize>(mut schema: Value, fields: [(&str, Value); N]) -> Value {
    for (name, field) in fields {
        schema["properties"][name] = field;
    }
    schema
}

/// `components.schemas`.
pub fn components() -> Value {
    let mut all = json!({"OpenApi": {"type": "object", "description": "An OpenAPI 3.1 document."}});
    let rooms = [writes(), entries(), boards(), counts(), views::treasury(), views::mediaid(), operations()];
    for (name, schema) in rooms.into_iter().flatten() {
        all[name] = schema;
    }
    all
}

fn writes() -> Vec<(&'static str, Value)> {
    let event = with_optional(
        object([
            ("type", json!({"type": "string", "maxLength": 64, "pattern": "^[a-z][a-z0-9_]*(\\.[a-z][a-z0-9_]*)+$"})),
            ("userId", json!({"type": "string", "minLength": 1, "maxLength": 128})),
            ("at", time()),
        ]),
        [
            (
                "messageId",
                json!({"type": "string", "minLength": 1, "maxLength": 128, "description": "The idempotency key."}),
            ),
            ("sessionId", json!({"type": "string", "maxLength": 128})),
            ("deviceId", json!({"type": "string", "maxLength": 128})),
            ("source", json!({"type": "string", "maxLength": 32})),
            ("sentAt", time()),
        ],
    );
    let receipt =
        object([("ok", json!({"const": true})), ("seq", seq()), ("messageId", text()), ("duplicate", flag())]);
    let item = with_optional(
        object([("index", seq()), ("status", integer())]),
        [("seq", seq()), ("messageId", text()), ("problem", reference("Problem"))],
    );
    let result = object([
        ("accepted", seq()),
        ("duplicates", seq()),
        ("rejected", seq()),
        ("firstSeq", or_null(seq())),
        ("lastSeq", or_null(seq())),
        ("results", list(reference("BatchItem"))),
    ]);
    let problem = with_optional(
        object([
            ("type", json!({"type": "string", "description": "/problems/<slug>"})),
            ("title", text()),
            ("status", integer()),
            ("detail", text()),
        ]),
        [("pointer", text()), ("index", seq()), ("seq", seq()), ("results", list(reference("BatchItem")))],
    );
    let events = list(reference("Event"));
    let batch = json!({"anyOf": [events.clone(), object([("events", events)])]});
    vec![
        ("Event", event),
        ("Receipt", receipt),
        ("Batch", batch),
        ("BatchItem", item),
        ("BatchResult", result),
        ("Problem", problem),
    ]
}

fn mutation_fields() -> [(&'static str, Value); 10] {
    [
        ("seq", json!({"type": "integer", "description": "The entry that caused it."})),
        ("ofSeq", json!({"type": "integer", "description": "The entry scored."})),
        ("domain", json!({"enum": ["A", "T", "G", "C"]})),
        ("rule", text()),
        ("baseDelta", number()),
        ("multiplier", number()),
        ("effectiveDelta", number()),
        ("occurredAt", time()),
        ("createdAt", time()),
        ("userId", or_null(text())),
    ]
}

fn entries() -> Vec<(&'static str, Value)> {
    let entry = object([
        ("seq", seq()),
        ("messageId", text()),
        ("userId", or_null(text())),
        ("eventType", text()),
        ("eventCategory", text()),
        ("entityType", or_null(text())),
        ("entityId", or_null(text())),
        ("sessionId", or_null(text())),
        ("deviceId", or_null(text())),
        ("source", text()),
        ("at", time()),
        ("receivedAt", time()),
        ("atCorrected", flag()),
        ("metadata", json!({"type": ["object", "null"], "description": "The payload as it came."})),
    ]);
    let entry = with_optional(
        entry,
        [
            ("processedBy", object([("mediaid", flag()), ("treasury", flag()), ("coliseum", flag())])),
            ("dnaInfluence", list(reference("Mutation"))),
        ],
    );
    vec![
        ("Entry", entry),
        ("Entries", object([("entries", list(reference("Entry"))), ("nextAfterSeq", or_null(seq()))])),
        ("Mutation", object(mutation_fields())),
    ]
}

fn boards() -> Vec<(&'static str, Value)> {
    let row = object([
        ("position", integer()),
        ("rank", integer()),
        ("artistId", text()),
        ("artistName", or_null(text())),
        ("score", number()),
        ("previousPosition", or_null(integer())),
        ("change", or_null(integer())),
    ]);
    let board = object([
        ("domain", json!({"enum": ["a", "t", "g", "c"]})),
        ("window", json!({"enum": ["7d", "30d", "alltime"]})),
        ("asOf", time()),
        ("appliedSeq", seq()),
        ("total", integer()),
        ("entries", list(reference("LeaderboardRow"))),
    ]);
    let why = object([
        ("asOf", time()),
        ("appliedSeq", seq()),
        ("score", number()),
        ("mutations", list(reference("Mutation"))),
        ("rest", number()),
    ]);
    let standing = object([
        ("score", number()),
        ("position", or_null(integer())),
        ("rank", or_null(integer())),
        ("total", integer()),
    ]);
    let windows =
        object([("7d", reference("Standing")), ("30d", reference("Standing")), ("alltime", reference("Standing"))]);
    let domains = object([("A", windows.clone()), ("T", windows.clone()), ("G", windows.clone()), ("C", windows)]);
    let artist = object([
        ("artistId", text()),
        ("artistName", or_null(text())),
        ("genres", list(text())),
        ("homeCity", or_null(text())),
        ("asOf", time()),
        ("appliedSeq", seq()),
        ("domains", domains),
    ]);
    let mutations = object([
        ("artistId", text()),
        ("appliedSeq", seq()),
        ("mutations", list(reference("Mutation"))),
        ("nextBefore", or_null(seq())),
    ]);
    vec![
        ("LeaderboardRow", row),
        ("Leaderboard", board),
        ("Why", why),
        ("Standing", standing),
        ("Artist", artist),
        ("Mutations", mutations),
    ]
}

fn counts() -> Vec<(&'static str, Value)> {
    let entity = || json!({"enum": ["user", "artist", "event", "global"]});
    let window = || json!({"enum": ["7d", "30d", "alltime"]});
    let currency = || json!({"type": ["string", "null"], "description": "Null unless the metric is money."});
    let sum = || json!({"type": "number", "description": "Cents of money, the weights of votes, else the count."});
    let metric = object([
        ("metric", text()),
        ("entityType", entity()),
        ("entityId", text()),
        ("window", window()),
        ("currency", currency()),
        ("count", integer()),
        ("sum", sum()),
        ("asOf", time()),
        ("appliedSeq", seq()),
    ]);
    let row = object([
        ("position", integer()),
        ("rank", integer()),
        ("entityId", text()),
        ("name", or_null(text())),
        ("count", integer()),
        ("sum", sum()),
    ]);
    let top = object([
        ("metric", text()),
        ("entityType", entity()),
        ("window", window()),
        ("currency", currency()),
        ("asOf", time()),
        ("appliedSeq", seq()),
        ("total", integer()),
        ("entries", list(row)),
    ]);
    let total = object([("count", integer()), ("sum", sum())]);
    let metrics = json!({
        "type": "object",
        "additionalProperties": total,
        "description": "By metric, of money by metric and currency: `votes_cast`, `money_spent:usd`.",
    });
    let bucket = object([("start", time()), ("metrics", metrics.clone())]);
    let domains = object([("A", number()), ("T", number()), ("G", number()), ("C", number())]);
    let artist_bucket = with_optional(bucket.clone(), [("domains", domains.clone())]);
    let range = |of: Value| {
        [
            ("granularity", json!({"enum": ["hour", "day", "week"]})),
            ("from", or_null(time())),
            ("to", or_null(time())),
            ("appliedSeq", seq()),
            ("buckets", list(of)),
        ]
    };
    let [granularity, from, to, applied, buckets] = range(artist_bucket);
    let artist_rollups = object([("artistId", text()), granularity, from, to, applied, buckets]);
    let [granularity, from, to, applied, buckets] = range(with_optional(bucket, [("domains", domains)]));
    let rollups = object([("entityType", entity()), ("entityId", text()), granularity, from, to, applied, buckets]);
    let quotient = || or_null(number());
    let days = || json!({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 365}, {"const": "alltime"}]});
    let functions = object([
        ("fans", integer()),
        (
            "genreDiversity",
            object([
                ("score", quotient()),
                ("effectiveGenres", quotient()),
                ("shares", list(object([("genre", text()), ("share", number())]))),
            ]),
        ),
        ("repeatEngagementRate", object([("rate", quotient()), ("repeatFans", integer()), ("fans", integer())])),
        (
            "revenuePerFan",
            object([
                ("currency", text()),
                ("revenueCents", integer()),
                ("fans", integer()),
                ("payingFans", integer()),
                ("revenuePerFanCents", quotient()),
                ("revenuePerPayingFanCents", quotient()),
            ]),
        ),
        (
            "geographicReach",
            object([
                ("cities", integer()),
                ("effectiveCities", quotient()),
                ("top", list(object([("city", text()), ("count", integer())]))),
            ]),
        ),
    ]);
    let of_artist = object([("artistId", text()), ("days", days()), ("asOf", time()), ("appliedSeq", seq())]);
    let analytics = json!({"allOf": [of_artist, functions.clone()]});
    let standing = object([
        ("score", number()),
        ("position", or_null(integer())),
        ("rank", or_null(integer())),
        ("total", integer()),
        ("share", quotient()),
        ("percentile", quotient()),
        ("previousScore", quotient()),
    ]);
    let windows = object([("7d", standing.clone()), ("30d", standing.clone()), ("alltime", standing)]);
    let strengths = object([("A", windows.clone()), ("T", windows.clone()), ("G", windows.clone()), ("C", windows)]);
    let dna = object([
        ("artistId", text()),
        ("artistName", or_null(text())),
        ("genres", list(text())),
        ("homeCity", or_null(text())),
        ("asOf", time()),
        ("appliedSeq", seq()),
        ("domains", strengths),
        ("dominantDomain", or_null(json!({"enum": ["A", "T", "G", "C"]}))),
        ("analytics", reference("Analytics")),
    ]);
    let buckets = object([
        ("granularity", json!({"enum": ["day", "week"]})),
        (
            "buckets",
            list(object([("start", time()), ("A", number()), ("T", number()), ("G", number()), ("C", number())])),
        ),
    ]);
    let weeks = object([("currency", text()), ("weeks", list(object([("start", time()), ("cents", integer())])))]);
    let report = object([
        ("artistId", text()),
        ("artistName", or_null(text())),
        ("genres", list(text())),
        ("homeCity", or_null(text())),
        ("days", days()),
        ("asOf", time()),
        ("appliedSeq", seq()),
        ("units", object([("scores", text()), ("money", text()), ("currency", text()), ("times", text())])),
        ("dominantDomain", or_null(json!({"enum": ["A", "T", "G", "C"]}))),
        ("domains", dna["properties"]["domains"].clone()),
        ("strengths", buckets),
        ("revenueByWeek", weeks),
        ("metrics", metrics),
        ("analytics", functions),
    ]);
    vec![
        ("Report", report),
        ("Metric", metric),
        ("MetricTop", top),
        ("EntityRollups", rollups),
        ("ArtistRollups", artist_rollups),
        ("Analytics", analytics),
        ("Dna", dna),
    ]
}

fn operations() -> Vec<(&'static str, Value)> {
    let consumer = object([
        ("name", text()),
        ("appliedSeq", seq()),
        ("lag", integer()),
        ("lagSeconds", number()),
        ("deadLetters", integer()),
        ("state", text()),
    ]);
    let dead_letter = object([
        ("consumer", text()),
        ("seq", or_null(seq())),
        ("event", or_null(json!({"type": "object"}))),
        ("problem", reference("Problem")),
    ]);
    let entitlements = with_optional(
        json!({"type": "object"}),
        [
            ("plan", json!({"enum": ["free", "basic", "pro", "enterprise"]})),
            ("domains", list(json!({"enum": ["A", "T", "G", "C"]}))),
            ("leaderboardDepth", or_null(integer())),
            ("expiresAt", or_null(time())),
        ],
    );
    let of_user = object([
        ("userId", text()),
        ("plan", json!({"enum": ["free", "basic", "pro", "enterprise"]})),
        ("domains", list(json!({"enum": ["A", "T", "G", "C"]}))),
        ("leaderboardDepth", or_null(integer())),
        ("expiresAt", or_null(time())),
        ("appliedSeq", seq()),
    ]);
    let profile = with_optional(
        object([("artistName", text())]),
        [("genres", list(text())), ("homeCity", text()), ("at", time()), ("messageId", text())],
    );
    let schedule = with_optional(
        object([("artistIds", list(text()))]),
        [("city", text()), ("name", text()), ("startsAt", time()), ("at", time()), ("messageId", text())],
    );
    let snapshot_name = object([(
        "name",
        json!({"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^(?!auto-)[A-Za-z0-9][A-Za-z0-9._-]*$"}),
    )]);
    let snapshot = with_optional(
        object([("name", text())]),
        [
            ("createdAt", time()),
            ("lastSeq", seq()),
            ("entries", seq()),
            ("files", integer()),
            ("bytes", integer()),
            (
                "problem",
                json!({"type": "string", "description": "What is wrong with its manifest; nothing else then."}),
            ),
        ],
    );
    vec![
        ("Consumers", object([("headSeq", seq()), ("consumers", list(reference("Consumer")))])),
        ("Consumer", consumer),
        ("DeadLetters", object([("deadLetters", list(reference("DeadLetter")))])),
        ("DeadLetter", dead_letter),
        ("Entitlements", entitlements),
        ("UserEntitlements", of_user),
        ("ArtistProfile", profile),
        ("EventSchedule", schedule),
        (
            "Health",
            with_optional(
                object([("status", text())]),
                [(
                    "scrub",
                    object([("damaged", integer()), ("first", or_null(text())), ("lastComplete", or_null(time()))]),
                )],
            ),
        ),
        ("Metrics", json!({"type": "string", "description": "OpenMetrics text."})),
        ("SnapshotName", snapshot_name),
        ("Snapshot", snapshot),
        ("Snapshots", object([("snapshots", list(reference("Snapshot")))])),
        ("Report", json!({"type": "object", "description": "What an administrative call did or found."})),
    ]
}
