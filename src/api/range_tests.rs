//! Ranges of time in queries, of every route that takes them: wholly in the future, upside down, empty, and at both ends of the calendar.

use axum::http::StatusCode;
use serde_json::Value;

use super::openapi_json;
use super::read_tests::World;
use super::testing::T;
use crate::domain::metrics::Sample;
use crate::domain::time::Timestamp;
use crate::storage::hot::{Batch, EncodedSample, PendingSample};

struct Ranged {
    path: &'static str,
    names: [&'static str; 2],
    /// Where the answer lists what it found; an export is lines.
    list: &'static str,
    /// How much there is in the range around now.
    now: std::ops::RangeInclusive<usize>,
}

const FROM_TO: [&str; 2] = ["from", "to"];

const ROUTES: [Ranged; 9] = [
    Ranged { path: "/nodes/{id}/resources/metrics", names: ["start_time", "end_time"], list: "/metrics", now: 1..=1 },
    Ranged { path: "/nodes/{id}/history", names: FROM_TO, list: "/entries", now: 1..=9 },
    Ranged { path: "/nodes/{id}/poot/history", names: FROM_TO, list: "/epochs", now: 0..=0 },
    Ranged { path: "/alerts", names: FROM_TO, list: "/alerts", now: 0..=0 },
    Ranged { path: "/audit", names: FROM_TO, list: "/entries", now: 1..=99 },
    Ranged { path: "/audit/export", names: FROM_TO, list: "", now: 1..=99 },
    Ranged { path: "/nodes/payouts/batches", names: FROM_TO, list: "/batches", now: 0..=0 },
    Ranged { path: "/nodes/payouts/history", names: FROM_TO, list: "/payouts", now: 0..=0 },
    Ranged { path: "/compliance/report", names: FROM_TO, list: "/people", now: 1..=99 },
];

async fn world() -> World {
    let world = World::new().await;
    let sample = PendingSample { late: false, encoded: EncodedSample::new(&Sample::default()) };
    let samples = [(T.slot(), [(world.node.index, sample)].into())].into();
    world.flush(Batch { samples, ..Batch::default() }).await;
    world
}

impl Ranged {
    /// Status, how much was found, and the first field that is wrong.
    async fn ask(&self, world: &World, from: &str, to: Option<&str>) -> (StatusCode, usize, String) {
        let path = self.path.replace("{id}", world.node.id.as_str());
        let to = to.map(|to| format!("&{}={to}", self.names[1])).unwrap_or_default();
        let (status, text) = world.text(&format!("{path}?{}={from}{to}", self.names[0])).await;
        if self.list.is_empty() && status == StatusCode::OK {
            return (status, text.lines().count(), String::new());
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{} answered {text}", self.path));
        // The compliance report names everybody, with how many entries there are of each.
        let much = |row: &Value| row["entries"].as_u64().map_or(1, |entries| usize::try_from(entries).unwrap());
        let found = body.pointer(self.list).and_then(Value::as_array).map_or(0, |rows| rows.iter().map(much).sum());
        (status, found, body["error"]["details"]["fields"][0]["field"].as_str().unwrap_or("").to_owned())
    }
}

fn at(seconds: i64) -> String {
    T.plus_seconds(seconds).rfc3339()
}

#[tokio::test]
async fn every_route_with_a_range_is_tried_here() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut ranged = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array().into_iter().flatten();
        let takes = |name: &str| parameters.clone().any(|parameter| parameter["in"] == "query" && parameter["name"] == name);
        let times = ["from", "to", "since", "until", "start", "end", "start_time", "end_time", "before", "after"];
        if times.into_iter().any(takes) {
            ranged.push(path.trim_start_matches("/api/v1").to_owned());
        }
    }
    let mut tried: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    tried.sort_unstable();
    ranged.sort_unstable();
    assert_eq!(ranged, tried);
}

#[tokio::test]
async fn what_lies_in_the_range_is_found_and_the_future_is_empty() {
    let world = world().await;
    for route in &ROUTES {
        let (status, found, _) = route.ask(&world, &at(-60), Some(&at(60))).await;
        assert_eq!((status, route.now.contains(&found)), (StatusCode::OK, true), "{}: {found}", route.path);
        // Later than the entries that asking leaves in the log; the driven clock stands still.
        for (from, to) in [(at(86_400), at(2 * 86_400)), (at(31), at(60)), (at(300 * 86_400), at(301 * 86_400))] {
            assert_eq!(route.ask(&world, &from, Some(&to)).await, (StatusCode::OK, 0, String::new()), "{} {from}", route.path);
        }
        // Without an end it ends now: before it begins, where a range has to.
        let (status, found, field) = route.ask(&world, &at(86_400), None).await;
        let open = !["/nodes/{id}/resources/metrics", "/compliance/report"].contains(&route.path);
        let expected = if open { (StatusCode::OK, "") } else { (StatusCode::BAD_REQUEST, route.names[0]) };
        assert_eq!(((status, field.as_str()), found), (expected, 0), "{}", route.path);
    }
}

#[tokio::test]
async fn a_range_that_is_upside_down_or_empty_is_refused_by_the_name_of_its_beginning() {
    let world = world().await;
    for route in &ROUTES {
        for (from, to) in [(at(60), at(-60)), (at(0), at(0)), (at(86_400), at(86_400)), (at(2 * 86_400), at(86_400))] {
            let answer = route.ask(&world, &from, Some(&to)).await;
            assert_eq!(answer, (StatusCode::BAD_REQUEST, 0, route.names[0].to_owned()), "{} from {from} to {to}", route.path);
        }
        for no_time in ["yesterday", "2026-09-21", "1790000000", ""] {
            let (status, _, field) = route.ask(&world, no_time, None).await;
            assert_eq!((status, field.as_str()), (StatusCode::BAD_REQUEST, route.names[0]), "{} from {no_time:?}", route.path);
        }
    }
}

#[tokio::test]
async fn the_ends_of_the_calendar_are_times_like_others() {
    let world = world().await;
    let (first, last) = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z");
    assert!(Timestamp::parse_rfc3339(first).is_some() && Timestamp::parse_rfc3339(last).is_some());
    for route in &ROUTES {
        for (from, to) in
            [(first, last), (first, first), (last, last), (last, first), (first, "0001-01-01T00:00:30Z"), ("9999-12-31T23:59:29Z", last)]
        {
            let (status, _, field) = route.ask(&world, from, Some(to)).await;
            let refused = status == StatusCode::BAD_REQUEST && field == route.names[0];
            assert!(status == StatusCode::OK || refused, "{} from {from} to {to}: {status} {field}", route.path);
        }
    }
}
