//! The harness: a manager in this process on a driven clock, the real binary in processes of its own, and agents that speak
//! the wire protocol.

pub mod bank;
pub mod binary;
pub mod chain;
pub mod client;
pub mod cluster;
pub mod crash_device;
pub mod death;
pub mod desk;
pub mod fleet;
pub mod payment_service;
pub mod plain_files;
pub mod proxy;
pub mod random;
pub mod rig;
pub mod site;
pub mod tron;

/// A folder with all that is in it.
pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
