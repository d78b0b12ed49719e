//! Memory and swap from /proc/meminfo.

use super::files::Files;
use crate::domain::metrics::Memory;

/// Used is what programs could not get back: total less available. Cached is page cache and reclaimable slab.
pub fn sample(files: &Files) -> Memory {
    let text = files.text("proc/meminfo").unwrap_or_default();
    let get = |name: &str| field(&text, name);
    let total = get("MemTotal");
    let swap_total = get("SwapTotal");
    Memory {
        total_bytes: total,
        used_bytes: total.zip(get("MemAvailable")).and_then(|(total, available)| total.checked_sub(available)),
        free_bytes: get("MemFree"),
        cached_bytes: get("Cached").map(|cached| cached.saturating_add(get("SReclaimable").unwrap_or(0))),
        swap_total_bytes: swap_total,
        swap_used_bytes: swap_total.zip(get("SwapFree")).and_then(|(total, free)| total.checked_sub(free)),
    }
}

/// Bytes of a line such as `MemTotal:  3884376 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_their_whole_name() {
        let text = "MemTotal:  10 kB\nSwapCached:  7 kB\nCached: 3 kB\nBad: x kB\nHugePages_Total:       0\n";
        let get = |name| field(text, name);
        assert_eq!((get("MemTotal"), get("Cached"), get("Mem")), (Some(10_240), Some(3_072), None));
        assert_eq!((get("Bad"), get("HugePages_Total"), get("Gone")), (None, None, None));
    }
}
