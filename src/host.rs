//! What the manager asks of its own machine, besides the time.

pub mod device;
pub mod machine;
pub mod network;
pub mod probe;

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

/// Has the allocator give freed memory back to the system. glibc keeps an arena per thread, and after the first large block is freed it
/// keeps the later ones: the 19 MiB of every thread that ever checked a password. To be called before any other thread starts.
#[cfg(target_env = "gnu")]
pub fn bound_free_memory() {
    // Above the largest answer of a list, which would else be mapped, faulted in and unmapped again for each request.
    const KEPT_BYTES: libc::c_int = 512 << 10;
    const ARENAS: libc::c_int = 2;
    for (parameter, value) in [(libc::M_MMAP_THRESHOLD, KEPT_BYTES), (libc::M_TRIM_THRESHOLD, KEPT_BYTES), (libc::M_ARENA_MAX, ARENAS)] {
        // SAFETY: mallopt takes two integers and changes nothing but the allocator's thresholds.
        #[expect(unsafe_code, reason = "there is no safe mallopt; audited: no pointers, one thread")]
        let taken = unsafe { libc::mallopt(parameter, value) };
        debug_assert_eq!(taken, 1, "mallopt {parameter}");
    }
}

/// Other allocators do so by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn bound_free_memory() {}

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
