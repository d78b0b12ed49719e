//! Whom the API gateway vouches for: the claims of its JWTs and what of them is believed. Signature and algorithm are checked before.

use serde::Deserialize;
use serde_json::Value;

use super::time::Timestamp;
use super::user::Role;

/// Clocks of two machines may be this far apart.
const LEEWAY_SECONDS: i64 = 60;
const SUBJECT_LEN: std::ops::RangeInclusive<usize> = 1..=128;
/// Nobody is more than this by the gateway's word alone.
pub const HIGHEST_ROLE: Role = Role::Operator;

#[derive(Debug, Clone, Deserialize)]
pub struct GatewayClaims {
    sub: Option<Value>,
    user_id: Option<Value>,
    /// In any case.
    role: Option<String>,
    /// Seconds since 1970, as the others.
    exp: Option<i64>,
    iat: Option<i64>,
    nbf: Option<i64>,
    iss: Option<String>,
    /// A text or a list of texts.
    aud: Option<Value>,
    /// Node tokens and refresh tokens name themselves here.
    token_type: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// What the claims must say beside a time that holds; None: not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    pub issuer: Option<String>,
    pub audience: Option<String>,
}

impl GatewayClaims {
    /// Subject and role; None when the token is not to be believed, or not meant for this.
    pub fn accept(&self, expected: &Expected, now: Timestamp) -> Option<(String, Role)> {
        let seconds = now.seconds();
        let in_time = seconds < self.exp? && [self.iat, self.nbf].into_iter().flatten().all(|from| from <= seconds + LEEWAY_SECONDS);
        let is_access = [&self.token_type, &self.kind].into_iter().flatten().all(|kind| kind.eq_ignore_ascii_case("access"));
        let issued = expected.issuer.is_none() || self.iss == expected.issuer;
        let meant = expected.audience.as_ref().is_none_or(|audience| self.is_meant_for(audience));
        if !(in_time && is_access && issued && meant) {
            return None;
        }
        let role = [Role::Viewer, Role::Operator, Role::Admin, Role::SuperAdmin];
        let role = role.into_iter().find(|role| self.role.as_ref().is_some_and(|text| text.eq_ignore_ascii_case(role.as_str())))?;
        Some((self.subject()?, role.min(HIGHEST_ROLE)))
    }

    fn is_meant_for(&self, audience: &str) -> bool {
        match &self.aud {
            Some(Value::Array(all)) => all.iter().any(|one| one == audience),
            Some(one) => one == audience,
            None => false,
        }
    }

    fn subject(&self) -> Option<String> {
        let text = match self.sub.as_ref().or(self.user_id.as_ref())? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let plain = SUBJECT_LEN.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        plain.then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn accepted(changes: Value, expected: &Expected) -> Option<(String, Role)> {
        let at = NOW.seconds();
        let mut claims = json!({"sub": "u-1", "role": "viewer", "exp": at + 900, "iat": at, "jti": "j", "permissions": ["all"]});
        for (key, value) in changes.as_object().unwrap() {
            if value.is_null() { drop(claims.as_object_mut().unwrap().remove(key)) } else { claims[key] = value.clone() }
        }
        serde_json::from_value::<GatewayClaims>(claims).ok()?.accept(expected, NOW)
    }

    fn plain(changes: Value) -> Option<(String, Role)> {
        accepted(changes, &Expected::default())
    }

    #[test]
    fn roles_are_known_in_any_case_and_capped() {
        let cases = [("Viewer", Role::Viewer), ("OPERATOR", Role::Operator), ("admin", Role::Operator), ("Super_Admin", Role::Operator)];
        for (text, role) in cases {
            assert_eq!(plain(json!({"role": text})), Some(("u-1".into(), role)), "{text}");
        }
        for odd in [json!("node"), json!("root"), json!(""), json!(null), json!(7), json!(["admin"])] {
            assert_eq!(plain(json!({"role": odd})), None, "{odd}");
        }
    }

    #[test]
    fn times_hold_and_an_end_is_wanted() {
        let at = NOW.seconds();
        assert!(plain(json!({"exp": at + 1})).is_some());
        for odd in [json!(at), json!(at - 1), json!(null), json!("soon"), json!(1e300)] {
            assert_eq!(plain(json!({"exp": odd})), None, "{odd}");
        }
        for name in ["iat", "nbf"] {
            assert!(plain(json!({name: at + LEEWAY_SECONDS})).is_some() && plain(json!({name: null})).is_some());
            assert_eq!(plain(json!({name: at + LEEWAY_SECONDS + 1})), None, "{name} in the future");
        }
    }

    #[test]
    fn other_kinds_of_tokens_are_not_taken() {
        assert!(plain(json!({"token_type": "access", "type": "ACCESS"})).is_some());
        for kind in ["node_access", "refresh", ""] {
            assert_eq!((plain(json!({"token_type": kind})), plain(json!({"type": kind}))), (None, None), "{kind}");
        }
    }

    #[test]
    fn issuer_and_audience_are_checked_when_they_are_expected() {
        let expected = Expected { issuer: Some("gateway".into()), audience: Some("nodes".into()) };
        let with = |iss: Value, aud: Value| accepted(json!({"iss": iss, "aud": aud}), &expected).is_some();
        assert!(with(json!("gateway"), json!("nodes")) && with(json!("gateway"), json!(["other", "nodes"])));
        assert!(!with(json!("else"), json!("nodes")) && !with(json!(null), json!("nodes")));
        assert!(!with(json!("gateway"), json!("other")) && !with(json!("gateway"), json!(null)) && !with(json!("gateway"), json!([])));
    }

    #[test]
    fn the_subject_is_a_short_plain_text() {
        assert_eq!(plain(json!({"sub": null, "user_id": "u2"})).map(|p| p.0), Some("u2".into()));
        assert_eq!(plain(json!({"sub": null, "user_id": 42})).map(|p| p.0), Some("42".into()));
        assert!(plain(json!({"sub": "s".repeat(128)})).is_some());
        for odd in [json!(""), json!("s".repeat(129)), json!("a b"), json!("a\nb"), json!(["u"]), json!(null)] {
            assert_eq!(plain(json!({"sub": odd})), None, "{odd}");
        }
    }
}
