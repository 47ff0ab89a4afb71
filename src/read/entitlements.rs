//! What a user's plan gives at a moment, as JSON.

use super::json::Json;
use crate::coliseum::View;
use crate::coliseum::plans::{Plans, effective};
use crate::units::{Domain, Timestamp};

/// The user's entitlements at `now`; those of the free plan where the log has given none.
pub fn entitlements(view: &View, plans: &Plans, user_id: &str, now: Timestamp) -> Vec<u8> {
    let effective = effective(plans, view.entitlement(user_id), now);
    let mut json = Json::with_capacity(256);
    json.object(|json| {
        json.string("userId", user_id);
        json.string("plan", effective.plan.name());
        json.array_field("domains", |json| {
            let allowed = Domain::ALL.into_iter().filter(|domain| effective.allows(*domain));
            allowed.for_each(|domain| json.string_element(domain.upper()));
        });
        json.optional_number("leaderboardDepth", effective.leaderboard_depth);
        json.optional_string("expiresAt", effective.expires_at.map(|end| end.to_rfc3339()).as_deref());
        json.number("appliedSeq", view.applied().get());
    });
    json.into_bytes()
}
