//! Lucid Node Management: node enrolment, proof of operational time, work credits and payouts in one binary.
//! Modules stand in reading order; ARCHITECTURE.md has the map.

// Tests convert small known numbers; the library never does without checking.
#![cfg_attr(test, allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::float_cmp))]

pub mod agent;
pub mod api;
pub mod app;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod gateways;
pub mod host;
pub mod http;
pub mod jobs;
pub mod live;
pub mod logging;
pub mod storage;
pub mod wire;
