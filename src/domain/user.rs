//! People who may sign in, and what their roles allow.

use serde::{Deserialize, Serialize};

use super::ids::UserId;
use super::refusal::FieldErrors;
use super::time::Timestamp;
use super::totp::SecondFactor;

/// Ordered: each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Viewer,
    Operator,
    Admin,
    SuperAdmin,
}

impl Role {
    /// From the lowest to the highest.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Admin, Role::SuperAdmin];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
            Role::SuperAdmin => "super_admin",
        }
    }
}

/// Most people one manager knows.
pub const MAX_USERS: u64 = 1_000;
const USERNAME_LEN: std::ops::RangeInclusive<usize> = 3..=64;

/// The stretched password (Argon2id) and its salt.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    pub salt: [u8; 16],
    pub hash: [u8; 32],
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub username: String,
    pub role: Role,
    pub password: PasswordHash,
    pub disabled: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Asked for beside the password once it is enabled.
    pub second_factor: Option<SecondFactor>,
}

impl User {
    /// The second factor, when it is asked for.
    pub fn enabled_factor(&self) -> Option<&SecondFactor> {
        self.second_factor.as_ref().filter(|factor| factor.is_enabled())
    }
}

/// Names that differ only in case are the same name.
pub fn username_key(username: &str) -> String {
    username.to_ascii_lowercase()
}

pub fn check_username(errors: &mut FieldErrors, username: &str) {
    errors.require(USERNAME_LEN.contains(&username.len()), "username", "must have 3 to 64 characters");
    let fine = username.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b));
    errors.require(fine, "username", "may hold letters, digits, `.`, `_`, `@` and `-` only");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(check: impl FnOnce(&mut FieldErrors)) -> bool {
        let mut errors = FieldErrors::default();
        check(&mut errors);
        errors.finish().is_ok()
    }

    #[test]
    fn names_keep_their_bounds() {
        let name = |n: &str| accepts(|e| check_username(e, n));
        assert!(name("bob") && name("a.b_c@d-e") && name(&"x".repeat(64)));
        assert!(!name("bo") && !name(&"x".repeat(65)) && !name("bob the builder") && !name("böb"));
    }

    #[test]
    fn roles_are_ordered_and_spelled_as_in_the_contract() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{}\"", role.as_str()));
        }
        assert!(!format!("{:?}", PasswordHash { salt: [1; 16], hash: [2; 32] }).contains('2'));
    }
}
