//! Lucid Node Management: node enrolment, proof of operational time, work credits and payouts in one binary.
//! Modules stand in reading order; ARCHITECTURE.md has the map.

pub mod agent;
pub mod api;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod gateways;
pub mod jobs;
pub mod live;
pub mod logging;
pub mod storage;
pub mod wire;
