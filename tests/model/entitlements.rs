//! SPEC 3: what the last change of a user's plan lets the user read.

use super::moment::Moment;
use super::time;

#[derive(Clone, Debug, PartialEq)]
pub struct Entitlement {
    pub plan: String,
    /// Upper case, in the order A, T, G, C.
    pub domains: Vec<&'static str>,
    /// None for no limit.
    pub leaderboard_depth: Option<i64>,
    /// Microseconds; none where it does not end.
    pub expires_at: Option<i64>,
}

impl Entitlement {
    /// The plan as the default configuration has it.
    fn plan(name: &str) -> Entitlement {
        let (domains, leaderboard_depth): (&[&str], Option<i64>) = match name {
            "free" => (&["A"], Some(10)),
            "basic" => (&["A", "T"], Some(50)),
            "pro" => (&["A", "T", "G", "C"], Some(500)),
            "enterprise" => (&["A", "T", "G", "C"], None),
            other => panic!("no plan {other}"),
        };
        Entitlement { plan: name.to_owned(), domains: domains.to_vec(), leaderboard_depth, expires_at: None }
    }
}

impl Moment<'_> {
    /// At the daemon's now in microseconds, which is finer than the minute of the windows.
    pub fn entitlement(&self, user: &str, now: i64) -> Entitlement {
        let own = self.of_subject("user", user);
        let Some(last) = own.iter().rfind(|entry| entry.kind == "coliseum.entitlement_changed") else {
            return Entitlement::plan("free");
        };
        let fields = &last.fields;
        let mut entitlement = Entitlement::plan(fields.at("plan").as_text());
        entitlement.expires_at = fields.text_of("expiresAt").and_then(time::parse);
        if entitlement.expires_at.is_some_and(|expires_at| now >= expires_at) {
            return Entitlement::plan("free");
        }
        if fields.present("domains").is_some() {
            let given = fields.texts_of("domains");
            entitlement.domains = ["A", "T", "G", "C"].into_iter().filter(|d| given.iter().any(|g| g == d)).collect();
        }
        if let Some(depth) = fields.present("leaderboardDepth") {
            entitlement.leaderboard_depth = Some(depth.as_decimal().to_micro() as i64 / 1_000_000);
        }
        entitlement
    }
}
