//! The store on a device that loses power, whose syncs fail, and that is full: nothing that was acknowledged is lost, nothing is there twice. Backups, restores and archives
//! lose power with it.

mod archives;
mod backups;
pub mod cuts;
mod errors;
mod full;
mod restores;
