//! Shapes that earlier releases wrote, and how they become today's. Their golden bytes stay in `data/golden/`.

use serde::Deserialize;

use crate::domain::alert::{Alert, Severity};
use crate::domain::ids::{AlertId, UserId};
use crate::domain::session::{Carrier, Session};
use crate::domain::time::Timestamp;

/// Version 1 did not know where a session was begun.
#[derive(Deserialize)]
struct SessionV1 {
    user: UserId,
    carrier: Carrier,
    created_at: Timestamp,
    used_at: Timestamp,
}

pub(super) fn session(version: u8, bytes: &[u8]) -> Option<Session> {
    if version != 1 {
        return None;
    }
    let SessionV1 { user, carrier, created_at, used_at } = postcard::from_bytes(bytes).ok()?;
    Some(Session { used_at, ..Session::new(user, carrier, created_at) })
}

/// Version 1 knew neither topics nor acknowledgements, and nothing of what happened in between.
#[derive(Deserialize)]
struct AlertV1 {
    id: AlertId,
    kind: String,
    subject: String,
    severity: Severity,
    message: String,
    raised_at: Timestamp,
    resolved_at: Option<Timestamp>,
}

pub(super) fn alert(version: u8, bytes: &[u8]) -> Option<Alert> {
    if version != 1 {
        return None;
    }
    let AlertV1 { id, kind, subject, severity, message, raised_at, resolved_at } = postcard::from_bytes(bytes).ok()?;
    let mut alert = Alert::new(id, &kind, &subject, severity, &message, raised_at);
    if let Some(at) = resolved_at {
        alert.resolve(at);
    }
    Some(alert)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::unhex;
    use crate::storage::table::decode;

    #[test]
    fn sessions_of_the_first_release_stay_signed_in() {
        let golden = include_str!("../../data/golden/Session.v1.hex");
        let carriers: Vec<Carrier> = golden
            .lines()
            .map(|line| {
                let session: Session = decode(&unhex(line).unwrap()).unwrap();
                assert_eq!((session.address, session.user_agent), (None, None));
                assert!(session.used_at > session.created_at);
                session.carrier
            })
            .collect();
        assert_eq!(carriers, [Carrier::Cookie, Carrier::Bearer]);
        assert!(session(3, &[]).is_none());
    }

    #[test]
    fn alerts_of_the_first_release_begin_and_end_as_they_did() {
        let golden = include_str!("../../data/golden/Alert.v1.hex");
        let alerts: Vec<Alert> = golden.lines().map(|line| decode(&unhex(line).unwrap()).unwrap()).collect();
        let steps: Vec<usize> = alerts.iter().map(|alert| alert.history.len()).collect();
        assert_eq!(steps, [1, 2, 1]);
        assert!(alerts.iter().all(|alert| alert.history[0].at == alert.raised_at && alert.acknowledged.is_none()));
        assert_eq!(alerts[1].history[1].at, alerts[1].resolved_at.unwrap());
        assert!(alert(3, &[]).is_none());
    }
}
