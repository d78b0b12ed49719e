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

/// Gives the system what the allocator keeps between blocks that are in use: glibc only lets go of what is free at the end of an arena, and after a start with a day of samples, or
/// charts, most of an arena is free and its end is not. Takes some milliseconds, in which other threads may wait for memory.
#[cfg(target_env = "gnu")]
pub fn give_back_free_memory() {
    // SAFETY: malloc_trim takes how much to leave at the end of the heap, and touches free memory alone.
    #[expect(unsafe_code, reason = "there is no safe malloc_trim; audited: no pointers, any thread")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Others unmap what is free, wherever it lies.
#[cfg(not(target_env = "gnu"))]
pub fn give_back_free_memory() {}

/// Memory of this process that is no file's; None where the kernel does not say.
pub fn own_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?.split_whitespace().next()?;
    Some(kibibytes.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_and_given_back() {
        // Tests beside it take memory and give it back, too: it has a process of its own.
        const ALONE: &str = "LUCID_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let name = std::thread::current().name().unwrap().to_owned();
            let mut itself = std::process::Command::new(std::env::current_exe().unwrap());
            let output = itself.args([&name, "--exact", "--test-threads=1"]).env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        let before = own_memory_bytes().unwrap();
        // Small blocks, each with one in use behind it: nothing is free at the end.
        let blocks: Vec<(Box<[u8; 20_000]>, Box<[u8; 100]>)> = (0..2_000).map(|_| (Box::new([1; 20_000]), Box::new([2; 100]))).collect();
        let full = own_memory_bytes().unwrap();
        assert!(full > before + (30 << 20), "{before} {full}");
        let (freed, held): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
        drop(freed);
        give_back_free_memory();
        let left = own_memory_bytes().unwrap();
        assert!(left < full - (15 << 20), "{full} {left}");
        drop(held);
    }

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
