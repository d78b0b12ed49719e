//! Browsers that somebody has signed in with: a cookie that outlives the session and opens nothing. Who has one is told apart from everybody else
//! behind the same address, so that neither guesses nor a flood from there keep its owner out.
//! (Device cookies: OWASP, "Slow Down Online Guessing Attacks with Device Cookies".)

use super::ids::UserId;
use crate::crypto::{self, SecretKey};

/// How long a browser keeps it after the last sign-in: the longest that browsers allow.
pub const MAX_SECONDS: i64 = 400 * 86_400;
const ID_LEN: usize = 16;
/// Bytes of the proof.
const MAC_LEN: usize = 16;

/// A browser with which `user` has signed in. It is of no account but theirs, so nobody gets new guesses at another's password by signing in often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub user: UserId,
    pub id: [u8; ID_LEN],
}

impl Device {
    /// The cookie's value: `<user>.<id>.<proof>`, where only the manager can make the proof.
    pub fn text(&self, key: &SecretKey) -> String {
        format!("{}.{}.{}", self.user, crypto::hex(&self.id), crypto::hex(&self.proof(key)))
    }

    /// None for anything but what `text` made with this key.
    pub fn parse(key: &SecretKey, text: &str) -> Option<Device> {
        let (rest, proof) = text.rsplit_once('.')?;
        let (user, id) = rest.rsplit_once('.')?;
        let device = Device { user: UserId::parse(user).ok()?, id: crypto::unhex(id)?.try_into().ok()? };
        crypto::equal(&device.proof(key), &crypto::unhex(proof)?).then_some(device)
    }

    fn proof(&self, key: &SecretKey) -> [u8; MAC_LEN] {
        let mut short = [0; MAC_LEN];
        short.copy_from_slice(&crypto::mac(key, &[self.user.as_str().as_bytes(), &self.id])[..MAC_LEN]);
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_here_for_this_person_is_believed() {
        let key = SecretKey([1; 32]);
        let device = Device { user: UserId::parse("user_ada").unwrap(), id: [9; ID_LEN] };
        let text = device.text(&key);
        assert_eq!(Device::parse(&key, &text), Some(device.clone()));
        assert_eq!(Device::parse(&SecretKey([2; 32]), &text), None);
        for other in
            [text.replace("ada", "bob"), text.replace("09", "0a"), text[..text.len() - 2].to_owned(), format!("{text}00"), String::new()]
        {
            assert_eq!(Device::parse(&key, &other), None, "{other}");
        }
    }
}
