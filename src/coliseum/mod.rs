//! Scoring; here only its rules, which the configuration reads.

pub mod rules;

pub use rules::Rules;
