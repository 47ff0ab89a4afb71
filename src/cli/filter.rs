//! The filters of the log's reads, as flags.

use clap::Args;

use super::client::encode;

/// Which entries; all that are given must hold.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Only this user's
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Only of this type, such as coliseum.vote_cast
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only of types that start with this word and a dot, such as treasury
    #[arg(long, value_name = "WORD")]
    category: Option<String>,
    /// Only about this kind of entity
    #[arg(long, value_name = "KIND", value_parser = ["artist", "user", "event", "venue", "track"])]
    entity_type: Option<String>,
    /// Only about the entity with this id
    #[arg(long, value_name = "ID")]
    entity_id: Option<String>,
    /// Only what credits this artist
    #[arg(long, value_name = "ID")]
    artist_id: Option<String>,
    /// Only what came in this way: api, import, …
    #[arg(long, value_name = "WORD")]
    source: Option<String>,
    /// Only what happened at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only what happened before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl FilterArgs {
    /// `path` with the filters and `more` as its query.
    pub fn target(&self, path: &str, more: &[(&str, Option<String>)]) -> String {
        let own = [
            ("userId", &self.user_id),
            ("type", &self.event_type),
            ("category", &self.category),
            ("entityType", &self.entity_type),
            ("entityId", &self.entity_id),
            ("artistId", &self.artist_id),
            ("source", &self.source),
            ("from", &self.from),
            ("to", &self.to),
        ];
        let all = own.into_iter().chain(more.iter().map(|(name, value)| (*name, value)));
        target(path, all.filter_map(|(name, value)| value.as_deref().map(|value| (name, value))))
    }
}

/// `path` with a query of the given pairs, percent-encoded.
pub fn target<'a>(path: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut target = path.to_string();
    for (index, (name, value)) in pairs.enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        target.push_str(&encode(value));
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_a_query_that_is_encoded() {
        let filter = FilterArgs {
            user_id: Some("a&b c/ü".into()),
            to: Some("2026-01-01T00:00:00+01:00".into()),
            ..Default::default()
        };
        assert_eq!(
            filter.target("/x", &[("limit", Some("5".into())), ("afterSeq", None)]),
            "/x?userId=a%26b%20c%2F%C3%BC&to=2026%2D01%2D01T00%3A00%3A00%2B01%3A00&limit=5"
        );
        assert_eq!(FilterArgs::default().target("/x", &[]), "/x");
    }
}
