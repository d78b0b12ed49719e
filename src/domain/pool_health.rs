//! How a pool fares: the share of its nodes that are heard (requirements: 0.8 is healthy, 0.5 degraded; a node is heard below 300 s since its heartbeat).

use super::node::OFFLINE_AFTER_SECONDS;
use super::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PoolHealthState)]
pub enum Health {
    Healthy,
    Degraded,
    Unhealthy,
    /// It has no nodes.
    Empty,
}

pub fn is_healthy(last_heartbeat: Option<Timestamp>, now: Timestamp) -> bool {
    last_heartbeat.is_some_and(|at| now.since(at) < OFFLINE_AFTER_SECONDS * 1_000)
}

pub fn judge(healthy: u32, total: u32) -> Health {
    let (healthy, total) = (u64::from(healthy), u64::from(total));
    match total {
        0 => Health::Empty,
        _ if healthy * 10 >= total * 8 => Health::Healthy,
        _ if healthy * 10 >= total * 5 => Health::Degraded,
        _ => Health::Unhealthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_judged_at_their_bounds() {
        use Health::{Degraded, Empty, Healthy, Unhealthy};
        let cases = [(0, 0, Empty), (4, 5, Healthy), (799, 1_000, Degraded), (1, 2, Degraded), (499, 1_000, Unhealthy), (0, 1, Unhealthy)];
        for (healthy, total, expected) in cases {
            assert_eq!(judge(healthy, total), expected, "{healthy} of {total}");
        }
    }

    #[test]
    fn a_node_is_heard_below_300_seconds() {
        let now = Timestamp::from_seconds(1_000_000);
        let heard = |ms: i64| is_healthy(Some(now.plus_ms(-ms)), now);
        assert_eq!((heard(299_999), heard(300_000), is_healthy(None, now)), (true, false, false));
    }
}
