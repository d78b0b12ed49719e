//! Payouts through whole managers and the fake TRON network, by seed: faults of every kind, lies, forks, deaths between any two steps, restored backups,
//! jumps of the clock, switches of the gateway, and people who decide what they are offered. An auditor reads what the chain really paid.

mod auditor;
mod copies;
mod custody;
mod kills;
mod older_copies;
mod people;
mod pieces;
mod runs;
mod sabotage;
mod told;
mod trouble;
mod world;
