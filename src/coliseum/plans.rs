//! What a plan lets its user read. Pure: the event that gave it, what the configuration says of plans, and the time.

use crate::event::Plan;
use crate::units::{Domain, Timestamp};

use super::entitlements::Entitlement;

/// A set of domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Domains(pub(super) [bool; 4]);

impl Domains {
    pub const ALL: Domains = Domains([true; 4]);

    pub fn of(domains: &[Domain]) -> Domains {
        let mut set = Domains::default();
        domains.iter().for_each(|domain| set.0[domain.index()] = true);
        set
    }
    /// From their upper-case letters, each at most once.
    pub fn named<'l>(letters: impl IntoIterator<Item = &'l str>) -> Option<Domains> {
        let mut set = Domains::default();
        for letter in letters {
            let domain = Domain::ALL.into_iter().find(|domain| domain.upper() == letter)?;
            if std::mem::replace(&mut set.0[domain.index()], true) {
                return None;
            }
        }
        Some(set)
    }
    pub fn contains(self, domain: Domain) -> bool {
        self.0[domain.index()]
    }
}

/// What comes with a plan unless the event that gives it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanLimits {
    pub domains: Domains,
    /// Rows from the top of a board; `None` for all.
    pub leaderboard_depth: Option<u64>,
}

/// Every plan's limits, as configured. They are no part of the fold, so that another value needs no rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plans {
    pub free: PlanLimits,
    pub basic: PlanLimits,
    pub pro: PlanLimits,
    pub enterprise: PlanLimits,
}

impl Default for Plans {
    fn default() -> Plans {
        let limits = |domains: &[Domain], depth| PlanLimits { domains: Domains::of(domains), leaderboard_depth: depth };
        Plans {
            free: limits(&[Domain::Cultural], Some(10)),
            basic: limits(&[Domain::Cultural, Domain::Behavioral], Some(50)),
            pro: limits(&Domain::ALL, Some(500)),
            enterprise: limits(&Domain::ALL, None),
        }
    }
}

impl Plans {
    pub fn limits(&self, plan: Plan) -> PlanLimits {
        match plan {
            Plan::Free => self.free,
            Plan::Basic => self.basic,
            Plan::Pro => self.pro,
            Plan::Enterprise => self.enterprise,
        }
    }
}

/// What a user may read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective {
    pub plan: Plan,
    pub domains: Domains,
    /// Rows from the top of a board; `None` for all.
    pub leaderboard_depth: Option<u64>,
    /// From when on it is the free plan; `None` where it does not end.
    pub expires_at: Option<Timestamp>,
}

impl Effective {
    pub fn allows(&self, domain: Domain) -> bool {
        self.domains.contains(domain)
    }
}

/// What an entitlement gives at `now`; the free plan without one, and from the instant of its `expiresAt` on.
pub fn effective(plans: &Plans, entitlement: Option<&Entitlement>, now: Timestamp) -> Effective {
    let Some(given) = entitlement.filter(|given| given.expires_at.is_none_or(|end| now < end)) else {
        let PlanLimits { domains, leaderboard_depth } = plans.free;
        return Effective { plan: Plan::Free, domains, leaderboard_depth, expires_at: None };
    };
    let limits = plans.limits(given.plan);
    Effective {
        plan: given.plan,
        domains: given.domains.unwrap_or(limits.domains),
        leaderboard_depth: given.leaderboard_depth.or(limits.leaderboard_depth),
        expires_at: given.expires_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Seq;

    const END: i64 = 1_000_000;

    fn given(plan: Plan) -> Entitlement {
        Entitlement { seq: Seq::new(1), plan, domains: None, leaderboard_depth: None, expires_at: None }
    }

    fn at(entitlement: &Entitlement, micros: i64) -> Effective {
        effective(&Plans::default(), Some(entitlement), Timestamp::from_micros(micros))
    }

    fn letters(effective: &Effective) -> String {
        Domain::ALL.into_iter().filter(|domain| effective.allows(*domain)).map(Domain::upper).collect()
    }

    #[test]
    fn each_plan_has_its_domains_and_its_depth() {
        let of = |plan| {
            let effective = at(&given(plan), 0);
            (effective.plan, letters(&effective), effective.leaderboard_depth, effective.expires_at)
        };
        assert_eq!(of(Plan::Free), (Plan::Free, "A".into(), Some(10), None));
        assert_eq!(of(Plan::Basic), (Plan::Basic, "AT".into(), Some(50), None));
        assert_eq!(of(Plan::Pro), (Plan::Pro, "ATGC".into(), Some(500), None));
        assert_eq!(of(Plan::Enterprise), (Plan::Enterprise, "ATGC".into(), None, None));
    }

    #[test]
    fn nobody_without_an_entitlement_has_more_than_the_free_plan() {
        let none = effective(&Plans::default(), None, Timestamp::from_micros(0));
        assert_eq!(none, at(&given(Plan::Free), 0));
    }

    #[test]
    fn a_plan_ends_at_the_instant_that_it_names() {
        let expires_at = Some(Timestamp::from_micros(END));
        let pro = Entitlement { expires_at, domains: Some(Domains::ALL), ..given(Plan::Pro) };
        assert_eq!((at(&pro, END - 1).plan, at(&pro, END - 1).expires_at), (Plan::Pro, expires_at));
        for micros in [END, END + 1, i64::MAX] {
            assert_eq!(at(&pro, micros), at(&given(Plan::Free), 0), "at {micros}: nothing of it is left");
        }
    }

    #[test]
    fn domains_and_depth_of_the_event_replace_those_of_the_plan() {
        let spatial = Some(Domains::of(&[Domain::Spatial]));
        let other = at(&Entitlement { domains: spatial, leaderboard_depth: Some(3), ..given(Plan::Pro) }, 0);
        assert_eq!((other.plan, letters(&other).as_str(), other.leaderboard_depth), (Plan::Pro, "C", Some(3)));
        let depth_only = at(&Entitlement { leaderboard_depth: Some(0), ..given(Plan::Enterprise) }, 0);
        assert_eq!((letters(&depth_only).as_str(), depth_only.leaderboard_depth), ("ATGC", Some(0)));
        let none_at_all = at(&Entitlement { domains: Some(Domains::default()), ..given(Plan::Basic) }, 0);
        assert_eq!((letters(&none_at_all).as_str(), none_at_all.leaderboard_depth), ("", Some(50)));
    }

    #[test]
    fn plans_are_as_configured() {
        let wide = PlanLimits { domains: Domains::ALL, leaderboard_depth: None };
        let plans = Plans { free: wide, ..Plans::default() };
        let none = effective(&plans, None, Timestamp::from_micros(0));
        assert_eq!((letters(&none).as_str(), none.leaderboard_depth), ("ATGC", None));
    }

    #[test]
    fn domains_are_named_by_their_letters_each_once() {
        assert_eq!(Domains::named(["C", "A"]), Some(Domains::of(&[Domain::Cultural, Domain::Spatial])));
        assert_eq!(Domains::named([]), Some(Domains::default()));
        for bad in [&["a"][..], &["A", "A"], &["A", "X"], &[""]] {
            assert_eq!(Domains::named(bad.iter().copied()), None, "{bad:?}");
        }
    }
}
