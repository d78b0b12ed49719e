//! JWTs of the owner's API gateway: HS256 with a shared secret, for whom it vouches as a viewer or an operator.

use crate::crypto::{self, JwtSecret};
use crate::domain::gateway::{Expected, GatewayClaims};
use crate::domain::time::Timestamp;
use crate::domain::user::Role;

/// The gateway's secret and what its tokens have to say.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub secret: JwtSecret,
    pub expected: Expected,
}

impl Gateway {
    /// What the gateway calls them, and their role; None when it is not the gateway's, not meant for this, or has ended.
    pub(super) fn vouches_for(&self, token: &str, now: Timestamp) -> Option<(String, Role)> {
        let claims: GatewayClaims = crypto::jwt_decode_shared(&self.secret, token)?;
        claims.accept(&self.expected, now)
    }
}
