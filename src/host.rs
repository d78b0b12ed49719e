//! What the manager asks its own machine, besides the time.

use std::fs;
use std::path::Path;

/// Whether any network interface but the loopback has a carrier. A manager that cannot be reached must not take silence for an answer.
pub fn link_is_up() -> bool {
    has_carrier(Path::new("/sys/class/net"))
}

/// On a manager that listens on loopback only, nothing can cut the line.
pub fn loopback_is_up() -> bool {
    true
}

fn has_carrier(interfaces: &Path) -> bool {
    // Where the kernel shows no interfaces (a sandbox), there is no evidence against the link.
    let Ok(entries) = fs::read_dir(interfaces) else { return true };
    let carrier = |path: &Path| fs::read_to_string(path.join("carrier")).is_ok_and(|text| text.trim() == "1");
    entries.flatten().any(|entry| entry.file_name() != "lo" && carrier(&entry.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_beside_the_loopback_is_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let interface = |name: &str, carrier: &str| {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("carrier"), carrier).unwrap();
        };
        interface("lo", "1\n");
        interface("eth0", "0\n");
        assert!(!has_carrier(dir.path()));
        interface("wlan0", "1\n");
        assert!(has_carrier(dir.path()));
        assert!(has_carrier(&dir.path().join("missing")));
    }
}
