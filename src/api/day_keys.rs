//! Keys of days that are over: with one, anybody checks the beacons that this manager gave out on that day.

use axum::extract::State;
use serde::Serialize;

use super::error::{ApiError, ErrorBody};
use super::json::{Json, Path};
use super::state::AppState;
use crate::crypto::hex;
use crate::domain::evidence::{day_of, day_start, revealed_at};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;

/// What the beacons of a day were made with.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DayKey {
    /// UTC.
    #[schema(example = "2026-09-21")]
    pub day: String,
    pub first_slot: u32,
    /// Inclusive.
    pub last_slot: u32,
    pub revealed_at: String,
    /// Hex, 32 bytes. The beacon of a node in a slot is the hex of the first 16 bytes of HMAC-SHA-256 under it, over: the length of the node id in bytes as 8 bytes little-endian, the
    /// node id, 4 as 8 bytes little-endian, the slot as 4 bytes little-endian.
    pub key: String,
}

/// The key of a day
///
/// From 25 hours after the end of the day (UTC), when no slot of it is open any more; 409 `DayKeySealed` before.
#[utoipa::path(get, path = "/poot/day-keys/{day}", tag = "poot", security(("access" = ["node:read"])), extensions(("x-node-access" = json!("any"))), params(("day" = String, Path, description = "A day in UTC, such as 2026-09-21.", example = "2026-09-21")), responses((status = 200, body = DayKey), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 503, description = "the clock is not trusted", body = ErrorBody)))]
pub async fn show(State(state): State<AppState>, Path(day): Path<String>) -> Result<Json<DayKey>, ApiError> {
    let day = parse(&day).ok_or(Refusal::DayNotFound)?;
    let now = state.now();
    // Nobody vouches for the time, and a key that is told is told for ever.
    if !now.trusted {
        return Err(Refusal::ClockUntrusted.into());
    }
    let from = revealed_at(day);
    if now.wall < from {
        return Err(Refusal::DayKeySealed.into());
    }
    let (first, end) = (day_start(day), day_start(day + 1));
    Ok(Json(DayKey {
        day: first.start().rfc3339().get(..10).unwrap_or_default().to_owned(),
        first_slot: first.0,
        last_slot: end.minus(1).0,
        revealed_at: from.rfc3339(),
        key: hex(&state.store.intake.day_key(day).0),
    }))
}

/// `2026-09-21`, and nothing else.
fn parse(text: &str) -> Option<u32> {
    let start = Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")).filter(|_| text.len() == 10)?;
    let day = day_of(start.slot());
    (start.0 >= 0 && day_start(day).start() == start).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_in_one_way() {
        assert_eq!((parse("1970-01-01"), parse("1970-01-02"), parse("2026-09-21")), (Some(0), Some(1), Some(20_717)));
        for wrong in ["1969-12-31", "2026-02-30", "2026-9-21", "20717", "2026-09-21T00:00:00Z", "", "9999-99-99"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
