//! Shapes that earlier releases wrote, and how they become today's. Their golden bytes stay in `data/golden/`.

use serde::Deserialize;

use crate::domain::ids::UserId;
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
}
