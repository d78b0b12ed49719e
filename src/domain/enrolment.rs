//! How a machine becomes a node: tokens, fingerprints, challenges and node tokens. Shapes and decisions only; who
//! stores and sends them is not known here.

use serde::{Deserialize, Serialize};

use super::ids::{EnrolmentId, NodeId, PoolIndex};
use super::node::NodeType;
use super::refusal::{FieldErrors, Refusal};
use super::time::Timestamp;
use crate::crypto::{self, PublicKey};

/// Hashes (hex, 16 bytes) of what identifies a machine, each salted with the hash of the manager's key (which an agent knows
/// from its token, before it knows the manager's id), so that two managers cannot compare notes. Drift detection, not attestation: whoever has root can report anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = MachineFingerprint)]
pub struct Fingerprint {
    #[schema(pattern = "^[0-9a-fA-F]{32}$", example = "9f86d081884c7d659a2feaa0c55ad015")]
    pub machine_id: Option<String>,
    #[schema(pattern = "^[0-9a-fA-F]{32}$", example = "9f86d081884c7d659a2feaa0c55ad015")]
    pub board_serial: Option<String>,
    #[schema(pattern = "^[0-9a-fA-F]{32}$", example = "9f86d081884c7d659a2feaa0c55ad015")]
    pub cpu: Option<String>,
    #[schema(pattern = "^[0-9a-fA-F]{32}$", example = "9f86d081884c7d659a2feaa0c55ad015")]
    pub memory: Option<String>,
    #[schema(pattern = "^[0-9a-fA-F]{32}$", example = "9f86d081884c7d659a2feaa0c55ad015")]
    pub disk_id: Option<String>,
    #[schema(pattern = "^[0-9a-fA-F]{32}$", example = "9f86d081884c7d659a2feaa0c55ad015")]
    pub macs: Option<String>,
}

/// How much of a fingerprint still fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// The same machine, or a part or two replaced.
    Same,
    /// Fewer than `SAME_OF` parts in six fit: evidence goes on, payouts hold until an admin accepts.
    Changed,
    /// Machine id and board serial both differ: other hardware.
    OtherHardware,
}

/// Parts known on both sides that must agree, as numerator and denominator: k of n = 2/3.
const SAME_OF: (usize, usize) = (2, 3);

impl Fingerprint {
    /// The salted hash of one part.
    pub fn part(salt: &str, name: &str, value: &str) -> String {
        crypto::hex(
            &crypto::sha256_parts(&[b"lucid/fingerprint/v1\0", salt.as_bytes(), b"\0", name.as_bytes(), b"\0", value.as_bytes()])[..16],
        )
    }

    fn parts(&self) -> [&Option<String>; 6] {
        [&self.machine_id, &self.board_serial, &self.cpu, &self.memory, &self.disk_id, &self.macs]
    }

    pub fn drift(&self, reported: &Fingerprint) -> Drift {
        let differs = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
        let serial_gone_or_other = |a: &Option<String>, b: &Option<String>| differs(a, b) || (a.is_none() && b.is_none());
        // A machine without a board serial (most PCs in containers, virtual machines) is told apart by its machine id alone only
        // when nothing else fits either.
        if differs(&self.machine_id, &reported.machine_id) && differs(&self.board_serial, &reported.board_serial) {
            return Drift::OtherHardware;
        }
        let known: Vec<_> = self.parts().into_iter().zip(reported.parts()).filter(|(a, b)| a.is_some() && b.is_some()).collect();
        let same = known.iter().filter(|(a, b)| a == b).count();
        if same == 0 && differs(&self.machine_id, &reported.machine_id) && serial_gone_or_other(&self.board_serial, &reported.board_serial)
        {
            return Drift::OtherHardware;
        }
        if same * SAME_OF.1 >= known.len() * SAME_OF.0 { Drift::Same } else { Drift::Changed }
    }

    /// The report comes from this machine beyond reasonable doubt: the fingerprint fits as a whole, and so does a part that no two
    /// machines share by themselves. A machine id alone is not such a part: cards flashed from one image have the same.
    pub fn identifies(&self, reported: &Fingerprint) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        let unique = same(&self.board_serial, &reported.board_serial)
            || (same(&self.machine_id, &reported.machine_id)
                && (same(&self.disk_id, &reported.disk_id) || same(&self.macs, &reported.macs)));
        unique && self.drift(reported) == Drift::Same
    }

    /// Every part is a short hash; anything else does not come from an agent.
    pub fn is_well_formed(&self) -> bool {
        self.parts().into_iter().flatten().all(|p| p.len() == 32 && p.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

/// What an enrolment token leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolmentTarget {
    Pool(PoolIndex),
    /// A node created beforehand, to be claimed.
    Node(NodeId),
}

/// The stored side of an enrolment token; the secret is kept only as a hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentToken {
    pub id: EnrolmentId,
    pub secret_hash: [u8; 32],
    pub target: EnrolmentTarget,
    pub uses: u32,
    /// How often it was used. The keys that enrolled with it are rows beside it, because a record that lists them is rewritten whole by every use.
    pub used: u32,
    /// Keys that enrolled while the list was kept here, with the node each became; they become rows with the next use.
    pub used_before: Vec<(PublicKey, NodeId)>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked: bool,
    /// Machines that present it wait until an admin approves each: so for tokens of many uses not made by an admin.
    pub needs_approval: bool,
    pub created_by: String,
}

/// What an operator asks of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub target: EnrolmentTarget,
    pub uses: u32,
    pub expires_in_seconds: i64,
    pub needs_approval: bool,
}

impl NewToken {
    pub fn check(&self, errors: &mut FieldErrors) {
        errors.require((1..=MAX_USES).contains(&self.uses), "uses", "must be 1 to 1000");
        let once = self.uses <= 1 || !matches!(self.target, EnrolmentTarget::Node(_));
        errors.require(once, "uses", "must be 1 when the token is for one node");
        let expiry = (MIN_EXPIRY_SECONDS..=MAX_EXPIRY_SECONDS).contains(&self.expires_in_seconds);
        errors.require(expiry, "expires_in_seconds", "must be 60 to 2592000 (30 days)");
    }
}

pub const MAX_USES: u32 = 1_000;
pub const DEFAULT_EXPIRY_SECONDS: i64 = 3_600;
pub const MIN_EXPIRY_SECONDS: i64 = 60;
pub const MAX_EXPIRY_SECONDS: i64 = 30 * 86_400;

/// The parts of the text that is handed out: `id.secret.hash-of-manager-key`, and once the manager's key was replaced `.hash-of-its-first-key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenText {
    pub id: EnrolmentId,
    pub secret: String,
    pub manager_key_hash: String,
    /// What fingerprints are salted with, where that is not the hash of the present key: a machine that enrols anew has to be known again.
    pub first_key_hash: Option<String>,
}

impl TokenText {
    /// A new token of the manager with these keys, the present one and its first one; `secret` are fresh random bytes.
    pub fn new(id: EnrolmentId, secret: &[u8; 16], present: &PublicKey, first: &PublicKey) -> TokenText {
        let first_key_hash = (first != present).then(|| manager_key_hash(first));
        TokenText { id, secret: crypto::hex(secret), manager_key_hash: manager_key_hash(present), first_key_hash }
    }

    /// What the fingerprint of the machine is salted with.
    pub fn salt(&self) -> &str {
        self.first_key_hash.as_ref().unwrap_or(&self.manager_key_hash)
    }

    pub fn parse(text: &str) -> Option<TokenText> {
        let mut parts = text.trim().split('.');
        let (id, secret, hash, first) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
        let complete = parts.next().is_none() && !secret.is_empty() && hash.len() == 32 && first.is_none_or(|hash| hash.len() == 32);
        let id = EnrolmentId::parse(id).ok().filter(|_| complete)?;
        Some(TokenText { id, secret: secret.to_owned(), manager_key_hash: hash.to_owned(), first_key_hash: first.map(str::to_owned) })
    }

    pub fn to_text(&self) -> String {
        let first = self.first_key_hash.as_ref().map_or(String::new(), |hash| format!(".{hash}"));
        format!("{}.{}.{}{first}", self.id, self.secret, self.manager_key_hash)
    }

    pub fn secret_hash(&self) -> [u8; 32] {
        crypto::sha256_parts(&[b"lucid/enrolment-secret/v1\0", self.secret.as_bytes()])
    }
}

/// Hex of the first 16 bytes of SHA-256 of the manager's key: what a token pins.
pub fn manager_key_hash(key: &PublicKey) -> String {
    crypto::hex(&crypto::sha256(&key.0)[..16])
}

/// Open tokens of one manager.
pub const MAX_TOKENS: usize = 1_000;

/// What presenting a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenUse {
    Fresh,
    /// A repeat of an answered request: the reply was lost.
    Again(NodeId),
}

impl EnrolmentToken {
    /// It lets no machine in any more, and repeats no answer.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.revoked || self.expires_at <= now
    }

    /// `earlier` is what this key became with this token, where that is a row.
    pub fn present(&self, text: &TokenText, key: &PublicKey, earlier: Option<NodeId>, now: Timestamp) -> Result<TokenUse, Refusal> {
        if !crypto::equal(&self.secret_hash, &text.secret_hash()) {
            return Err(Refusal::TokenWrongSecret);
        }
        if self.revoked {
            return Err(Refusal::TokenRevoked);
        }
        if now >= self.expires_at {
            return Err(Refusal::TokenExpired);
        }
        let listed = || self.used_before.iter().find(|(used, _)| used == key).map(|(_, node)| node.clone());
        if let Some(node) = earlier.or_else(listed) {
            return Ok(TokenUse::Again(node));
        }
        if self.used >= self.uses { Err(Refusal::TokenUsed) } else { Ok(TokenUse::Fresh) }
    }
}

/// Seconds in which a challenge must be answered, and a node token lives.
pub const CHALLENGE_SECONDS: i64 = 60;
pub const NODE_TOKEN_SECONDS: i64 = 3_600;

/// Claims of a node's JWT (requirements: `node_id`, `permissions`, `token_type`, `iss`, one hour).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeClaims {
    pub iss: String,
    pub token_type: String,
    pub node_id: NodeId,
    pub permissions: Vec<String>,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
}

pub const ISSUER: &str = "lucid-node-management";
pub const NODE_TOKEN_TYPE: &str = "node_access";

impl NodeClaims {
    /// `permissions` tell the node what it may do; what it may is judged by its type at each request.
    pub fn new(node_id: NodeId, node_type: NodeType, now: Timestamp, jti: String) -> NodeClaims {
        let permissions = node_type.scopes().iter().map(|scope| scope.as_str().to_owned()).collect();
        NodeClaims {
            iss: ISSUER.into(),
            token_type: NODE_TOKEN_TYPE.into(),
            node_id,
            permissions,
            iat: now.seconds(),
            exp: now.seconds() + NODE_TOKEN_SECONDS,
            jti,
        }
    }

    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.iss == ISSUER && self.token_type == NODE_TOKEN_TYPE && now.seconds() < self.exp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(parts: [&str; 6]) -> Fingerprint {
        let part = |p: &str| (!p.is_empty()).then(|| p.to_owned());
        let [machine_id, board_serial, cpu, memory, disk_id, macs] = parts.map(part);
        Fingerprint { machine_id, board_serial, cpu, memory, disk_id, macs }
    }

    #[test]
    fn drift_is_refused_only_for_other_hardware() {
        let base = print(["m", "s", "c", "r", "d", "a"]);
        assert_eq!(base.drift(&base), Drift::Same);
        assert_eq!(base.drift(&print(["m", "s", "c", "r", "x", "x"])), Drift::Same, "new disk and network card");
        assert_eq!(base.drift(&print(["m", "s", "c", "x", "x", "x"])), Drift::Changed);
        assert_eq!(base.drift(&print(["x", "s", "c", "r", "d", "a"])), Drift::Same, "a new card image");
        assert_eq!(base.drift(&print(["x", "s", "x", "x", "d", "a"])), Drift::Changed);
        assert_eq!(base.drift(&print(["x", "x", "c", "r", "d", "a"])), Drift::OtherHardware);
        let virtual_machine = print(["m", "", "c", "r", "", "a"]);
        assert_eq!(virtual_machine.drift(&print(["x", "", "c", "r", "", "a"])), Drift::Same);
        assert_eq!(virtual_machine.drift(&print(["x", "", "y", "z", "", "b"])), Drift::OtherHardware);
    }

    #[test]
    fn a_machine_is_known_by_what_no_two_share() {
        let base = print(["m", "s", "c", "r", "d", "a"]);
        assert!(base.identifies(&base));
        assert!(base.identifies(&print(["x", "s", "c", "r", "d", "a"])), "a new card image on the same board");
        assert!(!base.identifies(&print(["m", "t", "c", "r", "e", "b"])), "another board with a card of the same image");
        assert!(!base.identifies(&print(["x", "x", "c", "r", "d", "a"])));
        let virtual_machine = print(["m", "", "c", "r", "", "a"]);
        assert!(virtual_machine.identifies(&virtual_machine));
        assert!(!virtual_machine.identifies(&print(["m", "", "c", "r", "", "b"])), "a clone");
        assert!(!print([""; 6]).identifies(&print([""; 6])), "nothing known identifies nothing");
    }

    fn token(uses: u32) -> (EnrolmentToken, TokenText) {
        let text = TokenText {
            id: EnrolmentId::parse("enrol_abc").unwrap(),
            secret: "s3".into(),
            manager_key_hash: "0".repeat(32),
            first_key_hash: None,
        };
        let token = EnrolmentToken {
            id: text.id.clone(),
            secret_hash: text.secret_hash(),
            target: EnrolmentTarget::Pool(PoolIndex(0)),
            uses,
            used: 0,
            used_before: vec![],
            created_at: Timestamp(0),
            expires_at: Timestamp(1000),
            revoked: false,
            needs_approval: false,
            created_by: "user".into(),
        };
        (token, text)
    }

    #[test]
    fn a_token_is_used_up_expires_and_answers_its_key_again() {
        let (mut token, text) = token(2);
        let (alice, bob, carol) = (PublicKey([1; 32]), PublicKey([2; 32]), PublicKey([3; 32]));
        let node = |n: u32| NodeId::parse(&format!("node_abc{n}")).unwrap();
        assert_eq!(token.present(&text, &alice, None, Timestamp(0)), Ok(TokenUse::Fresh));
        // Alice from when the list was in the token, Bob as a row.
        token.used_before.push((alice, node(1)));
        token.used = 2;
        assert_eq!(token.present(&text, &alice, None, Timestamp(999)), Ok(TokenUse::Again(node(1))));
        assert_eq!(token.present(&text, &bob, Some(node(2)), Timestamp(999)), Ok(TokenUse::Again(node(2))));
        assert_eq!(token.present(&text, &carol, None, Timestamp(999)), Err(Refusal::TokenUsed));
        assert_eq!(token.present(&text, &bob, Some(node(2)), Timestamp(1000)), Err(Refusal::TokenExpired));
        let wrong = TokenText { secret: "s4".into(), ..text.clone() };
        assert_eq!(token.present(&wrong, &alice, None, Timestamp(0)), Err(Refusal::TokenWrongSecret));
        token.revoked = true;
        assert_eq!(token.present(&text, &alice, None, Timestamp(0)), Err(Refusal::TokenRevoked));
    }

    #[test]
    fn token_text_round_trips() {
        let (_, text) = token(1);
        assert_eq!(TokenText::parse(&format!(" {}\n", text.to_text())), Some(text));
        for bad in ["", "a.b.c", "enrol_abc.x", "enrol_abc..00000000000000000000000000000000", "enrol_abc.s.00.x"] {
            assert_eq!(TokenText::parse(bad), None, "{bad}");
        }
    }
}
