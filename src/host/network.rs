//! Under which names and addresses this machine is reached: from the kernel's tables, whose root is an argument so that tests bring their own.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Addresses of a machine that are looked at; more belong to a router, not to a manager.
const MAX_ADDRESSES: usize = 64;

/// The host's name, in lower case; empty when it has none.
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().trim().to_ascii_lowercase()
}

/// Every address of every interface, loopback left out.
pub fn addresses() -> Vec<IpAddr> {
    addresses_in(Path::new("/proc"))
}

fn addresses_in(proc: &Path) -> Vec<IpAddr> {
    let read = |name: &str| fs::read_to_string(proc.join("net").join(name)).unwrap_or_default();
    let found = v4(&read("fib_trie")).into_iter().map(IpAddr::V4).chain(v6(&read("if_inet6")).into_iter().map(IpAddr::V6));
    found.filter(|address| !address.is_loopback()).collect::<BTreeSet<_>>().into_iter().take(MAX_ADDRESSES).collect()
}

/// The routing trie names an address on one line and, when it is this machine's own, says so on the next.
fn v4(trie: &str) -> Vec<Ipv4Addr> {
    let lines: Vec<&str> = trie.lines().map(str::trim).collect();
    let own = |pair: &[&str]| match pair {
        [leaf, kind] if kind.starts_with("/32 host LOCAL") => leaf.strip_prefix("|-- ")?.parse().ok(),
        _ => None,
    };
    lines.windows(2).filter_map(own).collect()
}

/// proc_pid_net(5): 32 hex digits, then interface number, prefix length, scope, flags and name.
fn v6(table: &str) -> Vec<Ipv6Addr> {
    let first = |line: &str| line.split_whitespace().next().and_then(|hex| u128::from_str_radix(hex, 16).ok()).map(Ipv6Addr::from_bits);
    table.lines().filter_map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
Local:
        |-- 192.0.2.7
           /32 host LOCAL
";
    const IF_INET6: &str = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n";

    #[test]
    fn own_addresses_are_found_once_and_loopback_is_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("net")).unwrap();
        fs::write(dir.path().join("net/fib_trie"), TRIE).unwrap();
        fs::write(dir.path().join("net/if_inet6"), IF_INET6).unwrap();
        let found: Vec<String> = addresses_in(dir.path()).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.7", "fe80::fc:ff:fe00:1"]);
        assert_eq!(addresses_in(&dir.path().join("missing")), Vec::<IpAddr>::new());
    }
}
