//! JWTs of the owner's API gateway: HS256 with a shared secret, for whom it vouches as a viewer or an operator.

use super::auth::Principal;
use crate::crypto::{self, JwtSecret};
use crate::domain::gateway::{Expected, GatewayClaims};
use crate::domain::time::Timestamp;

/// The gateway's secret and what its tokens have to say.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub secret: JwtSecret,
    pub expected: Expected,
}

impl Gateway {
    /// Whom the token is for; None when it is not the gateway's, not meant for this, or has ended.
    pub(super) fn principal(&self, token: &str, now: Timestamp) -> Option<Principal> {
        let claims: GatewayClaims = crypto::jwt_decode_shared(&self.secret, token)?;
        let (subject, role) = claims.accept(&self.expected, now)?;
        Some(Principal::Gateway { subject, role })
    }
}
