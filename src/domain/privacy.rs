//! What is left of a person or of a node's operator after an erasure. Ids stay: the ledger and the audit log go on naming them, and say nothing of
//! whom they were.

use super::enrolment::Fingerprint;
use super::node::{Location, Node};
use super::node_event::{Kind, NodeEvent};
use super::time::Timestamp;
use super::user::{PasswordHash, Role, User};

/// In place of an account: nobody signs in with it, and nothing of it is the person's.
pub fn tombstone(user: &User, now: Timestamp) -> User {
    let rest = user.id.as_str().trim_start_matches("user_");
    User {
        id: user.id.clone(),
        username: format!("erased-{rest}"),
        role: Role::Viewer,
        // No password stretches to zeros.
        password: PasswordHash { salt: [0; 16], hash: [0; 32] },
        disabled: true,
        second_factor: None,
        created_at: user.created_at,
        updated_at: now,
    }
}

/// The node without its operator: its name, where it stands (the country and its time zone stay: they name nobody), the addresses of its
/// interfaces, and the hashes of what is unique about its hardware. How big it is, what it did and what it earned stay.
pub fn without_operator(node: &Node, now: Timestamp) -> Node {
    let mut node = node.clone();
    node.name = format!("erased-{}", node.index.0);
    node.location = node.location.map(|location| Location { region: None, city: None, coordinates: None, ..location });
    if let Some(hardware) = &mut node.hardware {
        hardware.network.iter_mut().for_each(|interface| interface.mac_address = None);
    }
    if let Some(identity) = &mut node.identity {
        identity.fingerprint = without_serials(&identity.fingerprint);
        identity.drift = identity.drift.as_ref().map(without_serials);
    }
    node.updated_at = now;
    node
}

/// What no two machines share is gone; what many have alike stays, so that drift is still judged.
fn without_serials(print: &Fingerprint) -> Fingerprint {
    Fingerprint { cpu: print.cpu.clone(), memory: print.memory.clone(), ..Fingerprint::default() }
}

/// The event without words that may name its operator: names, addresses, reasons that people wrote.
pub fn without_words(event: NodeEvent) -> NodeEvent {
    let keeps = matches!(event.kind, Kind::PayoutPaid | Kind::MaintenanceSet | Kind::MovedPool);
    NodeEvent { detail: event.detail.filter(|_| keeps), ..event }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Actor;
    use crate::domain::ids::UserId;

    #[test]
    fn a_tombstone_opens_nothing_and_names_nobody() {
        let user = User {
            id: UserId::parse("user_0123456789abcdef").unwrap(),
            username: "bob".into(),
            role: Role::SuperAdmin,
            password: PasswordHash { salt: [1; 16], hash: [2; 32] },
            disabled: false,
            second_factor: None,
            created_at: Timestamp(1),
            updated_at: Timestamp(2),
        };
        let left = tombstone(&user, Timestamp(3));
        assert_eq!((left.username.as_str(), left.role, left.disabled), ("erased-0123456789abcdef", Role::Viewer, true));
        assert_eq!((left.id, left.created_at, left.updated_at), (user.id, Timestamp(1), Timestamp(3)));
        assert_ne!(left.password, user.password);
    }

    #[test]
    fn events_keep_what_happened_and_lose_names() {
        let event = |kind| NodeEvent { at: Timestamp(1), kind, detail: Some("bobs-pi to pi".into()), actor: Actor::System };
        assert_eq!(without_words(event(Kind::Renamed)).detail, None);
        assert_eq!(without_words(event(Kind::AddressChanged)).detail, None);
        assert!(without_words(event(Kind::PayoutPaid)).detail.is_some());
    }
}
