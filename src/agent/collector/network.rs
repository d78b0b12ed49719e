//! Counters of the network interfaces from /proc/net/dev, loopback excluded.

use super::files::Files;
use crate::domain::metrics::{Interface, Network};

pub fn sample(files: &Files) -> Network {
    files.text("proc/net/dev").map(|text| parse(&text)).unwrap_or_default()
}

/// Totals are over all interfaces; absent when there is none.
fn parse(text: &str) -> Network {
    let interfaces: Vec<Interface> = text.lines().filter_map(interface).filter(|i| i.name != "lo").collect();
    let total = |field: fn(&Interface) -> u64| {
        let sum = interfaces.iter().fold(0, |sum: u64, i| sum.saturating_add(field(i)));
        (!interfaces.is_empty()).then_some(sum)
    };
    Network {
        total_bytes_in: total(|i| i.bytes_in),
        total_bytes_out: total(|i| i.bytes_out),
        packets_in: total(|i| i.packets_in),
        packets_out: total(|i| i.packets_out),
        errors_in: total(|i| i.errors_in),
        errors_out: total(|i| i.errors_out),
        interfaces,
    }
}

/// `name: bytes packets errs drop fifo frame compressed multicast` and the same eight going out. A name may hold a colon
/// (an alias), so the last one ends it.
fn interface(line: &str) -> Option<Interface> {
    let (name, counters) = line.rsplit_once(':')?;
    let c: Vec<u64> = counters.split_whitespace().map_while(|f| f.parse().ok()).collect();
    let at = |i: usize| c.get(i).copied();
    Some(Interface {
        name: name.trim().to_owned(),
        bytes_in: at(0)?,
        packets_in: at(1)?,
        errors_in: at(2)?,
        bytes_out: at(8)?,
        packets_out: at(9)?,
        errors_out: at(10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_all_counters_are_left_out() {
        let text = "Inter-| Receive\n face |bytes\n  lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                    eth0:12 2 3 0 0 0 0 0 4 5 6 0 0 0 0 0\n eth0:1: 1 1 1 0 0 0 0 0 1 1 1 0 0 0 0 0\n bad: 1 2 3\n";
        let network = parse(text);
        let names: Vec<_> = network.interfaces.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["eth0", "eth0:1"]);
        let first = &network.interfaces[0];
        assert_eq!((first.bytes_in, first.packets_in, first.errors_in), (12, 2, 3));
        assert_eq!((first.bytes_out, first.packets_out, first.errors_out), (4, 5, 6));
        assert_eq!((network.total_bytes_in, network.errors_out), (Some(13), Some(7)));
        assert_eq!(parse("  lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"), Network::default(), "only loopback: nothing, not zero");
    }
}
