//! The only layer that knows redb. `core` holds what is answered after a commit, `hot` what is flushed together,
//! `intake` what is accepted and not durable yet.

pub mod accruals;
pub mod archive;
pub mod backup;
mod bytes;
pub mod cold;
pub mod compaction;
pub mod copy;
pub mod core;
pub mod device;
pub mod directory;
pub mod evidence;
pub mod fault;
mod file;
#[cfg(test)]
mod golden;
pub mod hot;
pub mod intake;
mod kept_lines;
pub mod made;
mod migrate;
pub mod outputs;
pub mod overlay;
pub mod planning;
pub mod present;
pub mod proofs;
pub mod recovery;
pub mod replica;
pub mod restore;
pub mod room;
pub mod rotation;
pub mod sealing;
mod secrets;
pub mod setup_code;
pub mod space;
pub mod spans;
mod store;
pub mod table;
pub mod tails;
#[cfg(test)]
pub(crate) mod testing;
pub mod tiers;
mod touched;
pub mod verify;
pub mod wear;
mod witness;

pub use directory::{Directory, NodeEntry};
pub use file::{DbFile, Lane, TableUsage, Usage};
pub use secrets::Secrets;
pub use store::{Store, StoreOptions, carried_trust, high_water};
