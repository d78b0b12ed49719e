//! Time-based one-time passwords (RFC 6238 over RFC 4226: HMAC-SHA-1, 6 digits, steps of 30 s), and the recovery codes that stand in for
//! them. Whether a code fits is a matter of the shared secret and the manager's time alone.

use std::collections::HashMap;

use data_encoding::{BASE32, BASE32_NOPAD};
use serde::{Deserialize, Serialize};

use super::ids::UserId;
use super::time::{BootMs, Timestamp};
use super::user::MAX_USERS;
use crate::crypto;

/// Seconds of one step.
pub const STEP_SECONDS: i64 = 30;
/// Steps that the clock of a phone may be off, to each side (RFC 6238, 5.2 allows for one).
pub const TOLERANCE_STEPS: i64 = 1;
/// As long as the hash, as RFC 4226 (4, R6) recommends.
pub const SECRET_LEN: usize = 20;
const DIGITS: usize = 6;
const MODULUS: u32 = 1_000_000;

pub const RECOVERY_CODES: usize = 10;
/// 80 bits: 16 characters that a person can type.
pub const RECOVERY_BYTES: usize = 10;
const RECOVERY_GROUP: usize = 4;

/// The text form of a secret: what a person types when the picture cannot be scanned.
pub fn secret_text(secret: &[u8; SECRET_LEN]) -> String {
    BASE32.encode(secret)
}

/// What authenticator apps read from the picture (the de-facto "Key URI Format").
pub fn otpauth_uri(issuer: &str, username: &str, secret: &[u8; SECRET_LEN]) -> String {
    let (issuer, username, secret) = (percent(issuer), percent(username), secret_text(secret));
    format!("otpauth://totp/{issuer}:{username}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}")
}

fn percent(text: &str) -> String {
    let one = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

/// HOTP of RFC 4226 (5.3, dynamic truncation).
pub fn code_at(secret: &[u8], step: u64) -> u32 {
    let hash = crypto::hmac_sha1(secret, &step.to_be_bytes());
    let offset = usize::from(hash[19] & 0xf);
    let word = hash.iter().skip(offset).take(4).fold(0, |word: u32, byte| word << 8 | u32::from(*byte));
    (word & 0x7fff_ffff) % MODULUS
}

/// The step in which `given` is the code, nearest to `now` and after `used`: a step that was accepted, and those before it, are not
/// accepted again.
pub fn step_of(secret: &[u8], given: &str, now: Timestamp, used: u64) -> Option<u64> {
    let present = now.seconds().div_euclid(STEP_SECONDS);
    let mut found = None;
    // All are compared, so that the time it takes does not tell which one fitted.
    for off in -TOLERANCE_STEPS..=TOLERANCE_STEPS {
        let Ok(step) = u64::try_from(present + off) else { continue };
        let fits = crypto::equal(format!("{:0DIGITS$}", code_at(secret, step)).as_bytes(), given.as_bytes());
        if fits && step > used {
            found = Some(step);
        }
    }
    found
}

/// What somebody typed: a code of six digits, or a recovery code.
#[derive(Clone, PartialEq, Eq)]
pub enum Given {
    Code(String),
    Recovery(String),
}

impl Given {
    /// Case, spaces and grouping do not matter.
    pub fn parse(text: &str) -> Given {
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).take(64).collect();
        if plain.len() == DIGITS && plain.bytes().all(|b| b.is_ascii_digit()) { Given::Code(plain) } else { Given::Recovery(plain) }
    }
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Given::Code(_)) { "Code(***)" } else { "Recovery(***)" })
    }
}

/// A recovery code as it is shown, from fresh random bytes.
pub fn recovery_code(random: &[u8; RECOVERY_BYTES]) -> String {
    let code: Vec<char> = BASE32_NOPAD.encode(random).chars().collect();
    code.chunks(RECOVERY_GROUP).map(|group| group.iter().collect()).collect::<Vec<String>>().join("-")
}

/// Only this is stored of a recovery code. A plain hash will do: 80 random bits are not guessed.
pub fn recovery_hash(person: &UserId, plain: &str) -> [u8; 32] {
    crypto::sha256_parts(&[b"lucid/recovery-code/v1\0", person.as_str().as_bytes(), b"\0", plain.as_bytes()])
}

/// A person's second factor.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    /// The shared secret, sealed with the key of the store.
    pub sealed_secret: Vec<u8>,
    /// None: it was begun, and is not asked for before a first code fitted.
    pub enabled_at: Option<Timestamp>,
    /// Step of the last accepted code; no code of it or before it is accepted again (RFC 6238, 5.2).
    pub last_step: u64,
    /// Hashes of the recovery codes that are left.
    pub recovery: Vec<[u8; 32]>,
}

impl std::fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (enabled_at, recovery) = (self.enabled_at, self.recovery.len());
        f.debug_struct("SecondFactor").field("enabled_at", &enabled_at).field("recovery", &recovery).finish_non_exhaustive()
    }
}

/// Place of the sealed secret of this person, authenticated with it.
pub fn seal_context(person: &UserId) -> String {
    format!("users/{person}/totp")
}

/// A second factor that was judged and fitted; spent in the transaction of what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    Step(u64),
    Recovery([u8; 32]),
}

impl SecondFactor {
    pub fn begun(sealed_secret: Vec<u8>) -> SecondFactor {
        SecondFactor { sealed_secret, enabled_at: None, last_step: 0, recovery: Vec::new() }
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled_at.is_some()
    }

    /// None: it was spent before, perhaps a moment ago.
    pub fn spend(&self, proof: &Proof) -> Option<SecondFactor> {
        let mut left = self.clone();
        match proof {
            Proof::Step(step) if *step > self.last_step => left.last_step = *step,
            Proof::Step(_) => return None,
            Proof::Recovery(hash) => {
                let place = self.recovery.iter().position(|kept| crypto::equal(kept, hash))?;
                left.recovery.remove(place);
            }
        }
        Some(left)
    }
}

/// Wrong codes of one account that are judged at once.
const BURST: i64 = 10;
/// After that, one is judged in this time: three of a million fit at any moment, so a year of guessing finds one with about 15 %, by who
/// knows the password already and is in the audit log every time.
const REFILL_MS: i64 = 10 * 60 * 1_000;

/// Bounds the guessing of codes per account, wherever it comes from. It cannot lock anybody out for good: it counts only who gave the right
/// password, it recovers by itself, and recovery codes are always judged. Time is boot time, which nobody can set.
#[derive(Debug, Default)]
pub struct CodeGuesses(HashMap<UserId, BootMs>);

impl CodeGuesses {
    /// Counts a guess before it is judged, so that parallel ones are counted too. Err: wait this many milliseconds.
    pub fn attempt(&mut self, person: &UserId, now: BootMs) -> Result<(), i64> {
        let free_at = self.0.get(person).map_or(now, |at| (*at).max(now));
        let wait_ms = free_at.0 - now.0 - (BURST - 1) * REFILL_MS;
        if wait_ms > 0 {
            return Err(wait_ms);
        }
        if self.0.len() as u64 >= MAX_USERS {
            self.0.retain(|_, at| *at > now);
        }
        self.0.insert(person.clone(), BootMs(free_at.0 + REFILL_MS));
        Ok(())
    }

    /// It fitted: only wrong ones count.
    pub fn succeeded(&mut self, person: &UserId) {
        self.0.remove(person);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1; the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        let vectors = [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5_924),
            (2_000_000_000, 279_037),
            (20_000_000_000_i64, 353_130),
        ];
        for (seconds, code) in vectors {
            let step = u64::try_from(seconds / STEP_SECONDS).unwrap();
            assert_eq!(code_at(secret, step), code, "{seconds}");
            assert_eq!(step_of(secret, &format!("{code:06}"), Timestamp(seconds * 1_000), 0), Some(step));
        }
        // RFC 4226, appendix D: the first counters.
        assert_eq!([0, 1, 2, 9].map(|counter| code_at(secret, counter)), [755_224, 287_082, 359_152, 520_489]);
    }

    #[test]
    fn one_step_to_each_side_and_each_step_once() {
        let secret = [7; SECRET_LEN];
        let code = |step: u64| format!("{:06}", code_at(&secret, step));
        let now = Timestamp(1_000 * STEP_SECONDS * 1_000 + 29_999);
        for (step, fits) in [(998, false), (999, true), (1_000, true), (1_001, true), (1_002, false)] {
            assert_eq!(step_of(&secret, &code(step), now, 0), fits.then_some(step), "{step}");
        }
        assert_eq!(step_of(&secret, &code(1_000), now, 1_000), None, "spent");
        assert_eq!(step_of(&secret, &code(999), now, 1_000), None, "before a spent one");
        assert_eq!(step_of(&secret, &code(1_001), now, 1_000), Some(1_001));
        for odd in ["", "12345", "1234567", "abcdef", "12 456"] {
            assert_eq!(step_of(&secret, odd, now, 0), None);
        }
        assert_eq!(step_of(&secret, &code(0), Timestamp(-1_000_000), 0), None, "no time before 1970 has a step");
    }

    #[test]
    fn typed_texts_are_told_apart_and_never_printed() {
        assert_eq!(Given::parse(" 123 456 "), Given::Code("123456".into()));
        assert_eq!(Given::parse("abcd-efgh-ijkl-mn23"), Given::Recovery("ABCDEFGHIJKLMN23".into()));
        assert_eq!(Given::parse("1234567"), Given::Recovery("1234567".into()));
        assert!(!format!("{:?}{:?}", Given::parse("123456"), Given::parse("ABCD")).contains(['1', 'A']));
        let code = recovery_code(&[0xff; RECOVERY_BYTES]);
        assert_eq!(code, "7777-7777-7777-7777");
        let ada = UserId::parse("user_ada").unwrap();
        assert_ne!(recovery_hash(&ada, "7777777777777777"), recovery_hash(&UserId::parse("user_bob").unwrap(), "7777777777777777"));
        let uri = otpauth_uri("Lucid Nodes", "ada@home", &[0; SECRET_LEN]);
        assert_eq!(
            uri,
            "otpauth://totp/Lucid%20Nodes:ada%40home?secret=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&issuer=Lucid%20Nodes&algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn each_proof_is_spent_once() {
        let mut factor = SecondFactor::begun(vec![1, 2, 3]);
        factor.recovery = vec![[1; 32], [2; 32]];
        let after = factor.spend(&Proof::Step(5)).unwrap();
        assert_eq!((after.spend(&Proof::Step(5)), after.spend(&Proof::Step(4))), (None, None));
        let left = after.spend(&Proof::Recovery([1; 32])).unwrap();
        assert_eq!(left.recovery, [[2; 32]]);
        assert_eq!(left.spend(&Proof::Recovery([1; 32])), None);
        assert_eq!(left.last_step, 5);
        assert!(!format!("{factor:?}").contains("[1, 2"), "{factor:?}");
    }

    #[test]
    fn guesses_are_capped_per_account_and_the_cap_lifts_by_itself() {
        let mut guesses = CodeGuesses::default();
        let (ada, bob) = (UserId::parse("user_ada").unwrap(), UserId::parse("user_bob").unwrap());
        let mut now = BootMs(1_000);
        for _ in 0..BURST {
            assert_eq!(guesses.attempt(&ada, now), Ok(()));
        }
        assert_eq!(guesses.attempt(&ada, now), Err(REFILL_MS));
        assert_eq!(guesses.attempt(&ada, now), Err(REFILL_MS), "asking does not lengthen the wait");
        assert_eq!(guesses.attempt(&bob, now), Ok(()));
        now = BootMs(now.0 + REFILL_MS);
        assert_eq!(guesses.attempt(&ada, now), Ok(()));
        assert!(guesses.attempt(&ada, now).is_err());
        guesses.succeeded(&ada);
        assert_eq!(guesses.attempt(&ada, now), Ok(()));
        let day = now.0 + 86_400_000;
        let judged = (now.0..day).step_by(1_000).filter(|at| guesses.attempt(&ada, BootMs(*at)).is_ok()).count();
        assert!((144..=155).contains(&judged), "{judged} guesses a day");
    }
}
