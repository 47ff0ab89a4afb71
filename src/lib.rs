//! Coliseum.

pub mod api;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod coliseum;
pub mod config;
pub mod daemon;
pub mod disk;
pub mod event;
pub mod http;
pub mod limits;
pub mod passport;
pub mod problem;
pub mod projection;
pub mod read;
pub mod units;
pub mod verify;
