//! Tokens for programs: made by a person, for a time, with a role and perhaps fewer scopes than that has.
//!
//! A token outlives the session it was made in. It ends with its time, when it is revoked, and when its maker is disabled or removed; it never
//! does what its maker may not do at that moment.

use serde::{Deserialize, Serialize};

use super::ids::{ApiTokenId, UserId};
use super::refusal::FieldErrors;
use super::scope::Scope;
use super::time::Timestamp;
use super::user::{Role, User};
use crate::crypto;

/// Tokens of one manager.
pub const MAX_TOKENS: usize = 200;
const NAME_LEN: std::ops::RangeInclusive<usize> = 1..=64;
const DAYS: std::ops::RangeInclusive<i64> = 1..=365;
/// The last use is written anew when it is older than this: a write costs an fsync.
const TOUCH_SECONDS: i64 = 600;
/// A token made this far in the future belongs to a clock that was wrong.
const FUTURE_SECONDS: i64 = 60;

/// The stored side of a token; the secret is kept only as a hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    pub id: ApiTokenId,
    pub name: String,
    pub secret_hash: [u8; 32],
    pub role: Role,
    /// None: whatever the role may, as far as programs may.
    pub scopes: Option<Vec<Scope>>,
    pub created_by: UserId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// To about ten minutes.
    pub last_used_at: Option<Timestamp>,
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiToken {
    pub name: String,
    pub role: Role,
    pub scopes: Option<Vec<Scope>>,
    pub expires_in_days: i64,
}

impl NewApiToken {
    pub fn check(&self, errors: &mut FieldErrors) {
        let plain =
            NAME_LEN.contains(&self.name.chars().count()) && !self.name.chars().any(char::is_control) && self.name == self.name.trim();
        errors.require(plain, "name", "must have 1 to 64 printable characters, without spaces around them");
        errors.require(DAYS.contains(&self.expires_in_days), "expires_in_days", "must be 1 to 365");
        let Some(scopes) = &self.scopes else { return };
        errors.require(!scopes.is_empty(), "scopes", "must name one at least; leave it out for all that the role may");
        for scope in scopes {
            let role = self.role.as_str();
            errors.require(!scope.for_people_only(), "scopes", format!("{scope} is for people only"));
            let within = self.role.may(*scope) || scope.for_people_only();
            errors.require(within, "scopes", format!("{scope} is not of the role {role}"));
        }
    }
}

/// What a token allows at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub role: Role,
    pub scopes: Vec<Scope>,
}

impl ApiToken {
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.created_at <= now.plus_seconds(FUTURE_SECONDS)
    }

    /// Within what its maker may now; None when that is nothing any more.
    pub fn grant(&self, maker: &User, now: Timestamp) -> Option<Grant> {
        if maker.id != self.created_by || maker.disabled || !self.is_live(now) {
            return None;
        }
        let role = self.role.min(maker.role);
        let asked = |scope: &Scope| self.scopes.as_ref().is_none_or(|own| own.contains(scope));
        let scopes = role.scopes().into_iter().filter(|scope| asked(scope) && !scope.for_people_only()).collect();
        Some(Grant { role, scopes })
    }

    pub fn wants_touch(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|at| now >= at.plus_seconds(TOUCH_SECONDS))
    }
}

/// Before the two parts of the text that is handed out: `lucid_<id>_<secret>`. Scanners of leaked secrets know tokens by such beginnings.
const PREFIX: &str = "lucid_";

#[derive(Clone, PartialEq, Eq)]
pub struct ApiTokenText {
    pub id: ApiTokenId,
    secret: String,
}

impl std::fmt::Debug for ApiTokenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiTokenText({}, ***)", self.id)
    }
}

impl ApiTokenText {
    /// `secret` are fresh random bytes.
    pub fn new(id: ApiTokenId, secret: &[u8; 32]) -> ApiTokenText {
        ApiTokenText { id, secret: crypto::hex(secret) }
    }

    /// Whether a bearer token means to be one of these.
    pub fn looks_like(text: &str) -> bool {
        text.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with(ApiTokenId::PREFIX))
    }

    pub fn parse(text: &str) -> Option<ApiTokenText> {
        let (id, secret) = text.strip_prefix(PREFIX)?.rsplit_once('_')?;
        let id = ApiTokenId::parse(id).ok().filter(|_| secret.len() == 64)?;
        Some(ApiTokenText { id, secret: secret.to_owned() })
    }

    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// Only this is stored. A plain hash will do: 256 random bits are not guessed.
    pub fn secret_hash(&self) -> [u8; 32] {
        crypto::sha256_parts(&[b"lucid/api-token/v1\0", self.id.as_str().as_bytes(), b"\0", self.secret.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::user::PasswordHash;

    const T: Timestamp = Timestamp(1_790_000_000_000);

    fn maker(role: Role) -> User {
        let password = PasswordHash { salt: [0; 16], hash: [0; 32] };
        let id = UserId::parse("user_ada").unwrap();
        User { id, username: "ada".into(), role, password, disabled: false, created_at: T, updated_at: T, second_factor: None }
    }

    fn token(role: Role, scopes: Option<Vec<Scope>>) -> ApiToken {
        ApiToken {
            id: ApiTokenId::parse("token_abc").unwrap(),
            name: "backup".into(),
            secret_hash: [0; 32],
            role,
            scopes,
            created_by: maker(role).id,
            created_at: T,
            expires_at: T.plus_seconds(86_400),
            last_used_at: None,
        }
    }

    #[test]
    fn a_token_does_no_more_than_its_maker_and_never_what_is_for_people() {
        let all = token(Role::SuperAdmin, None);
        let of = |maker: &User| all.grant(maker, T).unwrap();
        assert_eq!(of(&maker(Role::Viewer)).role, Role::Viewer);
        assert!(of(&maker(Role::Viewer)).scopes.iter().all(|scope| Role::Viewer.may(*scope)));
        let most = of(&maker(Role::SuperAdmin)).scopes;
        assert!(most.contains(&Scope::AuditExport) && !most.iter().any(|scope| scope.for_people_only()));
        let few = token(Role::Operator, Some(vec![Scope::NodeRead, Scope::NodeStop]));
        assert_eq!(few.grant(&maker(Role::Admin), T).unwrap().scopes, [Scope::NodeRead, Scope::NodeStop]);
        assert_eq!(few.grant(&maker(Role::Viewer), T).unwrap().scopes, [Scope::NodeRead]);
        let disabled = User { disabled: true, ..maker(Role::Admin) };
        let other = User { id: UserId::parse("user_eve").unwrap(), ..maker(Role::Admin) };
        assert_eq!((few.grant(&disabled, T), few.grant(&other, T)), (None, None));
        assert!(few.grant(&maker(Role::Admin), T.plus_seconds(86_399)).is_some());
        assert_eq!(few.grant(&maker(Role::Admin), T.plus_seconds(86_400)), None);
        assert_eq!(few.grant(&maker(Role::Admin), T.plus_seconds(-61)), None, "made by a clock that ran ahead");
    }

    #[test]
    fn what_is_asked_for_keeps_its_bounds() {
        let wrong = |name: &str, days: i64, scopes: Option<Vec<Scope>>| {
            let mut errors = FieldErrors::default();
            NewApiToken { name: name.into(), role: Role::Operator, scopes, expires_in_days: days }.check(&mut errors);
            errors.0.into_iter().map(|error| error.field).collect::<Vec<_>>()
        };
        assert_eq!(wrong("n", 1, None), Vec::<String>::new());
        assert_eq!(wrong(&"n".repeat(64), 365, Some(vec![Scope::NodeRead])), Vec::<String>::new());
        for (name, days, field) in
            [("", 1, "name"), (" n", 1, "name"), ("a\nb", 1, "name"), ("n", 0, "expires_in_days"), ("n", 366, "expires_in_days")]
        {
            assert_eq!(wrong(name, days, None), [field]);
        }
        assert_eq!(wrong(&"n".repeat(65), 1, None), ["name"]);
        assert_eq!(wrong("n", 1, Some(vec![])), ["scopes"]);
        assert_eq!(wrong("n", 1, Some(vec![Scope::NodeRead, Scope::AuditRead])), ["scopes"], "above the role");
        assert_eq!(wrong("n", 1, Some(vec![Scope::SessionSelf])), ["scopes"]);
    }

    #[test]
    fn token_texts_round_trip_and_hide_their_secret() {
        let text = ApiTokenText::new(ApiTokenId::new(uuid::Uuid::from_u128(7)), &[0xab; 32]);
        let shown = text.to_text();
        assert!(ApiTokenText::looks_like(&shown) && shown.starts_with("lucid_token_"));
        assert_eq!(ApiTokenText::parse(&shown), Some(text.clone()));
        assert!(!format!("{text:?}").contains("abab"));
        for odd in ["", "lucid_", "lucid_token_abc", "lucid_token_abc_", "lucid_user_abc_00"] {
            assert_eq!(ApiTokenText::parse(odd), None, "{odd}");
        }
    }
}
