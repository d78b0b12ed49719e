//! What is told to somebody's URL: whom it may be told to, how it is signed, and when it is tried again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::batch::{Batch, Sums};
use super::ids::{BatchId, NodeId, PayoutId};
use super::payout::{Attempt, Change, Payout, Source};
use super::time::{Now, Timestamp};
use crate::crypto::{SecretKey, hex, hmac_sha256, sha256};

/// Longest URL, in bytes.
pub const MAX_URL: usize = 2_000;
/// Longest error that is kept of a try, in characters.
pub const MAX_ERROR: usize = 300;
/// After the first failure, and at most.
pub const FIRST_WAIT_MS: i64 = 2_000;
pub const LONGEST_WAIT_MS: i64 = 3_600_000;
/// What could not be delivered for so long is given up.
pub const GIVE_UP_MS: i64 = 3 * 86_400_000;
/// `next_at` of what was made while the clock was not trusted: nobody knows when, and its age counts from the first try.
const UNDATED: Timestamp = Timestamp(0);
/// Names the bytes of a batch's end.
pub const BATCH_ENDED: &str = "payout_batch.ended";

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub url: String,
    /// Scheme, host and port: what people see, because the rest of a URL may be a secret.
    pub origin: String,
}

impl Target {
    /// Where a message may go, as far as the text tells; or what is wrong with it.
    pub fn parse(text: &str) -> Result<Target, &'static str> {
        if text.len() > MAX_URL {
            return Err("must have at most 2000 characters");
        }
        let url = reqwest::Url::parse(text).map_err(|_| "must be a URL")?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("must be an http or https URL");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or a password");
        }
        Ok(Target { origin: url.origin().ascii_serialization(), url: url.to_string() })
    }

    /// Its host, where that is an address and no name.
    pub fn address(&self) -> Option<IpAddr> {
        let url = reqwest::Url::parse(&self.url).ok()?;
        url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

/// One message to one URL; tries send the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The same in every try, so that whoever gets it twice can tell.
    pub id: String,
    pub target: Target,
    pub event: String,
    /// JSON.
    pub body: String,
    pub made_at: Timestamp,
    pub tries: u32,
    /// Not before.
    pub next_at: Timestamp,
    pub last_error: Option<String>,
    /// Given up.
    pub dead_at: Option<Timestamp>,
}

impl Delivery {
    /// `number` is never used again by this store, `store` is its own.
    pub fn new(store: &str, number: u64, target: Target, event: &str, body: String, now: Now) -> Delivery {
        let id = Delivery::id_of(store, number, &body);
        let next_at = if now.trusted { now.wall } else { UNDATED };
        Delivery { id, target, event: event.to_owned(), body, made_at: now.wall, tries: 0, next_at, last_error: None, dead_at: None }
    }

    /// An older copy of a store gives the same numbers again, to other messages.
    pub fn id_of(store: &str, number: u64, body: &str) -> String {
        let id = sha256(format!("lucid/delivery/v1\n{store}\n{number}\n{body}").as_bytes());
        format!("delivery_{}", &hex(&id)[..32])
    }

    /// It may be sent. No wait is longer than the longest one: it was reckoned by a clock that was ahead.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next_at <= now || self.next_at.since(now) > LONGEST_WAIT_MS
    }

    /// It has waited for so long that it is given up with what was before it. Of what has no date, nobody can say so.
    pub fn is_old(&self, now: Timestamp) -> bool {
        self.dead_at.is_none() && self.next_at != UNDATED && now.since(self.made_at) >= GIVE_UP_MS
    }

    /// After a try that failed. `random` spreads those that failed together.
    pub fn failed(mut self, error: &str, now: Timestamp, random: u64) -> Delivery {
        if self.next_at == UNDATED {
            self.made_at = now;
        }
        self.tries = self.tries.saturating_add(1);
        self.last_error = Some(error.chars().take(MAX_ERROR).collect());
        self.next_at = now.plus_ms(wait_ms(self.tries, random));
        if now.since(self.made_at) >= GIVE_UP_MS {
            self.dead_at = Some(now);
        }
        self
    }
}

/// Doubled with every failure up to an hour, and between half of that and all of it, by `random`.
pub fn wait_ms(failures: u32, random: u64) -> i64 {
    let doubled = FIRST_WAIT_MS.checked_shl(failures.saturating_sub(1).min(20)).unwrap_or(LONGEST_WAIT_MS).min(LONGEST_WAIT_MS);
    let half = doubled / 2;
    half + i64::try_from(random % u64::try_from(half + 1).unwrap_or(1)).unwrap_or(0)
}

/// `X-Lucid-Signature`: the time is signed too, so that an old message cannot be sent again as a new one. `at_seconds` is `X-Lucid-Timestamp`.
pub fn signature(key: &SecretKey, at_seconds: i64, body: &str) -> String {
    format!("v1={}", hex(&hmac_sha256(&key.0, &[at_seconds.to_string().as_bytes(), b".", body.as_bytes()])))
}

/// The batch that a message is about.
pub fn batch_of(body: &str) -> Option<BatchId> {
    BatchId::parse(&field(body, "batch_id")?).ok()
}

/// What is told of a batch that has ended.
pub fn batch_ended(batch: &Batch, sums: &Sums) -> String {
    let sums: Vec<_> = sums
        .0
        .iter()
        .map(|(currency, sum)| {
            let text = |units: super::money::Units| units.to_decimal(*currency).to_string();
            json!({ "currency": currency, "total": text(sum.total), "completed": text(sum.paid), "failed": text(sum.failed), "cancelled": text(sum.cancelled) })
        })
        .collect();
    let tally = batch.tally;
    json!({
        "event": BATCH_ENDED,
        "batch_id": batch.id,
        "status": batch.status(),
        "settlement": batch.settlement,
        "payouts": batch.count,
        "completed": tally.paid,
        "failed": tally.failed,
        "cancelled": tally.cancelled,
        "left_out": batch.left_out.len(),
        "amounts": sums,
        "created_at": batch.made_at.rfc3339(),
        "ended_at": batch.ended_at.map(Timestamp::rfc3339),
    })
    .to_string()
}

/// What is told of one step of a payout. The address is left out; the transaction names it.
pub fn payout_changed(change: Change, payout: &Payout, node: Option<&NodeId>) -> String {
    let (batch, schedule) = match &payout.source {
        Source::Batch { batch, .. } => (Some(batch), None),
        Source::Schedule { schedule, .. } => (None, Some(schedule)),
        Source::Automatic | Source::Manual { .. } | Source::Final { .. } => (None, None),
    };
    json!({
        "event": change.event(),
        "payout_id": payout.id,
        "node_id": node,
        "batch_id": batch,
        "schedule_id": schedule,
        "status": payout.status(),
        "review_reason": payout.review_reason(),
        "settlement": payout.book.settlement,
        "amount": payout.amount.to_decimal(payout.book.currency).to_string(),
        "currency": payout.book.currency,
        "attempt": payout.attempts.len(),
        "transaction_hash": payout.attempts.last().and_then(Attempt::txid),
        "created_at": payout.created_at.rfc3339(),
        "updated_at": payout.updated_at.rfc3339(),
    })
    .to_string()
}

/// The payout that a message is about.
pub fn payout_of(body: &str) -> Option<PayoutId> {
    PayoutId::parse(&field(body, "payout_id")?).ok()
}

fn field(body: &str, name: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(body[name].as_str()?.to_owned())
}

/// An address that nobody outside may make this manager talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotPublic(pub IpAddr);

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not an address of the public internet (webhooks.allow_private allows others)", self.0)
    }
}

/// Only what is routed in the public internet: no loopback, private, link-local (where clouds keep their metadata), shared, multicast, documentation or reserved
/// addresses (IANA special-purpose registries), in IPv6 also not where they stand for IPv4.
pub fn check_public(address: IpAddr) -> Result<(), NotPublic> {
    let public = match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    };
    if public { Ok(()) } else { Err(NotPublic(address)) }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_unspecified()
        || v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || v4.is_documentation()
        || a == 0
        // Shared by carriers (RFC 6598), protocol assignments, 6to4 relays, benchmarks, reserved.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !special
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let s = v6.segments();
    let v4_of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        // Mapped, and the well-known prefix of NAT64.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(v4_of(high, low)),
        // 6to4.
        [0x2002, high, low, ..] => is_public_v4(v4_of(high, low)),
        // Teredo and other protocol assignments, benchmarks, ORCHID, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Everything that is routed is in here; loopback, unspecified, unique local, link-local, multicast and IPv4-compatible are not.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::BootMs;

    #[test]
    fn only_public_addresses_are_talked_to() {
        for good in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "2606:4700::1111",
            "2a00::1",
            "64:ff9b::101:101",
            "::ffff:8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!(check_public(good.parse().unwrap()), Ok(()), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "127.255.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:192.168.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:a00:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "4000::1",
        ] {
            let address: IpAddr = bad.parse().unwrap();
            assert_eq!(check_public(address), Err(NotPublic(address)), "{bad}");
        }
    }

    #[test]
    fn waits_double_up_to_an_hour_and_are_spread() {
        let bounds = |failures| (wait_ms(failures, 0), (0..1_000).map(|n| wait_ms(failures, n * 7_919)).max().unwrap());
        assert_eq!(bounds(1).0, 1_000);
        assert!(bounds(1).1 <= 2_000 && bounds(1).1 > 1_900);
        assert_eq!((bounds(2).0, bounds(3).0), (2_000, 4_000));
        for failures in [12, 40, u32::MAX] {
            assert_eq!(wait_ms(failures, 0), LONGEST_WAIT_MS / 2);
            assert!(wait_ms(failures, u64::MAX) <= LONGEST_WAIT_MS);
        }
    }

    #[test]
    fn it_is_given_up_after_three_days_and_keeps_its_id() {
        let target = Target { url: "https://a.example/x".into(), origin: "https://a.example".into() };
        let at = |wall, trusted| Now { wall: Timestamp(wall), boot: BootMs(0), trusted };
        let new = |store, number, body: &str| Delivery::new(store, number, target.clone(), "e", body.into(), at(1, true));
        let first = new("store", 1, "{}");
        let tried = first.clone().failed(&"x".repeat(1_000), Timestamp(GIVE_UP_MS), 0);
        assert_eq!((tried.id == first.id, tried.tries, tried.dead_at, tried.last_error.unwrap().len()), (true, 1, None, MAX_ERROR));
        assert_eq!(first.clone().failed("x", Timestamp(GIVE_UP_MS + 1), 0).dead_at, Some(Timestamp(GIVE_UP_MS + 1)));
        for other in [new("store", 2, "{}"), new("other", 1, "{}"), new("store", 1, "[]")] {
            assert_ne!(first.id, other.id);
        }
        // Made by a clock that was three days behind, or years ahead.
        for wall in [1, 400 * GIVE_UP_MS] {
            let undated = Delivery::new("store", 1, target.clone(), "e", "{}".into(), at(wall, false));
            assert!(undated.is_due(Timestamp(2 * GIVE_UP_MS)) && !undated.is_old(Timestamp(2 * GIVE_UP_MS)));
            let tried = undated.failed("x", Timestamp(2 * GIVE_UP_MS), 0);
            assert_eq!((tried.dead_at, tried.made_at), (None, Timestamp(2 * GIVE_UP_MS)));
            assert!(!tried.is_due(Timestamp(2 * GIVE_UP_MS)) && tried.is_due(Timestamp(0)), "no wait is as long");
            assert!(tried.failed("x", Timestamp(3 * GIVE_UP_MS), 0).dead_at.is_some());
        }
    }

    /// Computed with `printf '%s' '1790000000.{"a":1}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…`.
    #[test]
    fn the_signature_is_a_plain_hmac_over_time_dot_body() {
        let signed = signature(&SecretKey([7; 32]), 1_790_000_000, r#"{"a":1}"#);
        assert_eq!(signed, "v1=f57bd68337ab6215fda47efd875389871160ef156c646bdd0c4cf87aa8e07dd2");
    }
}
