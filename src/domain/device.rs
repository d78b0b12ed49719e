//! Browsers that somebody has signed in with: a cookie that outlives the session and opens nothing. Who has one is told apart from everybody else
//! behind the same address, so that neither guesses nor a flood from there keep its owner out.
//! (Device cookies: OWASP, "Slow Down Online Guessing Attacks with Device Cookies".)

use super::ids::UserId;
use super::time::Timestamp;
use crate::crypto::{self, SecretKey};

/// How long a browser keeps it after the last sign-in: the longest that browsers allow.
pub const MAX_SECONDS: i64 = 400 * 86_400;
const ID_LEN: usize = 16;
/// Bytes of the proof.
const MAC_LEN: usize = 16;
/// A cookie made this far in the future belongs to a clock that was wrong.
const FUTURE_SECONDS: i64 = 60;

/// A browser with which `user` has signed in. It is of no account but theirs, so nobody gets new guesses at another's password by signing in often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub user: UserId,
    pub id: [u8; ID_LEN],
    /// The last sign-in with it.
    pub seen_at: Timestamp,
}

impl Device {
    /// The cookie's value: `<user>.<id>.<milliseconds>.<proof>`, where only the manager can make the proof.
    pub fn text(&self, key: &SecretKey) -> String {
        format!("{}.{}.{}.{}", self.user, crypto::hex(&self.id), self.seen_at.0, crypto::hex(&self.proof(key)))
    }

    /// None for anything but what `text` made with this key within the last 400 days.
    pub fn parse(key: &SecretKey, text: &str, now: Timestamp) -> Option<Device> {
        let mut parts = text.rsplitn(4, '.');
        let (proof, seen_at, id, user) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let id = crypto::unhex(id)?.try_into().ok()?;
        let device = Device { user: UserId::parse(user).ok()?, id, seen_at: Timestamp(seen_at.parse().ok()?) };
        let is_ours = crypto::equal(&device.proof(key), &crypto::unhex(proof)?);
        let lives = now < device.seen_at.plus_seconds(MAX_SECONDS) && device.seen_at <= now.plus_seconds(FUTURE_SECONDS);
        (is_ours && lives).then_some(device)
    }

    fn proof(&self, key: &SecretKey) -> [u8; MAC_LEN] {
        let mut short = [0; MAC_LEN];
        let seen_at = self.seen_at.0.to_le_bytes();
        short.copy_from_slice(&crypto::mac(key, &[self.user.as_str().as_bytes(), &self.id, &seen_at])[..MAC_LEN]);
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_here_for_this_person_is_believed() {
        let (key, now) = (SecretKey([1; 32]), Timestamp(1_790_000_000_000));
        let device = Device { user: UserId::parse("user_ada").unwrap(), id: [9; ID_LEN], seen_at: now };
        let text = device.text(&key);
        assert_eq!(Device::parse(&key, &text, now), Some(device.clone()));
        assert_eq!(Device::parse(&SecretKey([2; 32]), &text, now), None);
        let changed = [text.replace("ada", "bob"), text.replace("09", "0a"), text.replace(".1790", ".1791")];
        for other in changed.into_iter().chain([text[..text.len() - 2].to_owned(), format!("{text}00"), String::new(), "...".to_owned()]) {
            assert_ne!(other, text);
            assert_eq!(Device::parse(&key, &other, now), None, "{other}");
        }
        let at = |seconds| Device::parse(&key, &text, now.plus_seconds(seconds)).is_some();
        assert_eq!([at(-61), at(-60), at(MAX_SECONDS - 1), at(MAX_SECONDS)], [false, true, true, false]);
    }
}
