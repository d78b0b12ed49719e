//! What is to go to the cluster where many managers meet; see "Replication" in ARCHITECTURE.md.

pub mod catalog;
pub mod documents;
pub mod marks;
pub mod measured;
pub mod rebuild;
pub mod rows;
pub mod waiting;
