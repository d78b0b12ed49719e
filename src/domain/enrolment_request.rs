//! A machine that wants to be a node and waits for an admin's word.

use serde::{Deserialize, Serialize};

use super::ids::{EnrolmentId, EnrolmentRequestId};
use super::node::HardwareInfo;
use super::time::Timestamp;
use crate::crypto::{self, PublicKey};

/// Machines that wait at one manager, and with one token: who found a token cannot fill the store.
pub const MAX_REQUESTS: usize = 1_000;
pub const MAX_PER_TOKEN: usize = 200;
/// After this an agent asks again.
pub const ASK_AGAIN_SECONDS: u32 = 30;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub approved: bool,
    pub at: Timestamp,
    /// Who said so.
    pub by: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnrolmentRequest {
    pub id: EnrolmentRequestId,
    pub token: EnrolmentId,
    pub key: PublicKey,
    /// What the machine would like to be called.
    pub name: String,
    pub hardware: HardwareInfo,
    pub address: Option<String>,
    pub asked_at: Timestamp,
    /// With its token.
    pub expires_at: Timestamp,
    pub decision: Option<Decision>,
}

/// The same machine with the same token is the same request.
pub fn request_id(token: &EnrolmentId, key: &PublicKey) -> EnrolmentRequestId {
    let hash = crypto::sha256_parts(&[b"lucid/enrolment-request/v1\0", token.as_str().as_bytes(), b"\0", &key.0]);
    EnrolmentRequestId::new(uuid::Uuid::from_bytes(std::array::from_fn(|n| hash[n])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_by_its_token_and_its_key() {
        let token = |text: &str| EnrolmentId::parse(text).unwrap();
        let id = request_id(&token("enrol_abc"), &PublicKey([1; 32]));
        assert_eq!(id, request_id(&token("enrol_abc"), &PublicKey([1; 32])));
        assert_ne!(id, request_id(&token("enrol_abc"), &PublicKey([2; 32])));
        assert_ne!(id, request_id(&token("enrol_abd"), &PublicKey([1; 32])));
        assert_eq!(EnrolmentRequestId::parse(id.as_str()), Ok(id));
    }
}
