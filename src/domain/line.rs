//! Who may try a password next: turns among networks that an account does not know.

use std::collections::HashMap;
use std::net::IpAddr;

use super::time::BootMs;

/// One attempt on an account in this time, from all unknown networks together: 17,280 a day, and `BURST` more.
pub const TURN_MS: i64 = 5_000;
/// Attempts in a row, when it was quiet.
pub const BURST: i64 = 10;
/// How long a turn waits for its network.
pub const GRACE_MS: i64 = 60_000;
/// Places in line, of one account and in all; of the accounts that one block waits for, and of the blocks of one wide block.
const MAX_OF_ACCOUNT: usize = 1_024;
const MAX_PLACES: usize = 4_096;
const MAX_OF_BLOCK: usize = 4;
const MAX_OF_WIDE: usize = 8;
/// Accounts whose pace is kept; those without a place in line are forgotten first.
const MAX_PACES: usize = 8_192;

/// Who asks when it is nobody's turn is given a place in line, one per block of addresses (/24 or /48), and told when its turn is. However
/// many ask, and however often: with N other blocks guessing, the turn comes within (N + 1) x `TURN_MS`.
#[derive(Debug, Default)]
pub struct Line {
    /// Account -> when its next turn is that nobody has.
    next: HashMap<String, i64>,
    /// Account and block -> when its turn is.
    places: HashMap<(String, u128), i64>,
}

impl Line {
    /// Err: milliseconds until the turn.
    pub fn turn(&mut self, account: &str, address: IpAddr, now: BootMs) -> Result<(), i64> {
        let now_ms = now.0;
        let place = (account.to_owned(), block(address));
        if let Some(due) = self.places.get(&place).copied().filter(|due| now_ms.saturating_sub(*due) <= GRACE_MS) {
            if due > now_ms {
                return Err(due.saturating_sub(now_ms));
            }
            self.places.remove(&place);
            return Ok(());
        }
        self.places.remove(&place);
        self.make_room(account, now_ms);
        let quiet = now_ms.saturating_sub((BURST - 1) * TURN_MS);
        let due = self.next.get(account).copied().unwrap_or(quiet).max(quiet);
        if due > now_ms && !self.has_room(&place, now_ms) {
            return Err(TURN_MS);
        }
        self.next.insert(place.0.clone(), due.saturating_add(TURN_MS));
        if due <= now_ms {
            return Ok(());
        }
        self.places.insert(place, due);
        Err(due.saturating_sub(now_ms))
    }

    fn has_room(&mut self, (account, block): &(String, u128), now_ms: i64) -> bool {
        self.places.retain(|_, due| now_ms.saturating_sub(*due) <= GRACE_MS);
        let of = |is: &dyn Fn(&(String, u128)) -> bool| self.places.keys().filter(|key| is(key)).count();
        self.places.len() < MAX_PLACES
            && of(&|key| key.0 == *account) < MAX_OF_ACCOUNT
            && of(&|key| key.1 == *block) < MAX_OF_BLOCK
            && of(&|key| key.0 == *account && wide(key.1) == wide(*block)) < MAX_OF_WIDE
    }

    fn make_room(&mut self, account: &str, now_ms: i64) {
        if self.next.len() >= MAX_PACES && !self.next.contains_key(account) {
            self.next.retain(|_, next| *next > now_ms.saturating_sub((BURST - 1) * TURN_MS));
        }
        if self.next.len() >= MAX_PACES && !self.next.contains_key(account) {
            // The account that is tried least goes, with nothing but its burst to win.
            let least = self.next.iter().min_by_key(|(_, next)| **next).map(|(name, _)| name.clone());
            least.and_then(|name| self.next.remove(&name));
        }
    }
}

/// The /24 or /48 of an address, told apart by the highest bit of what is left.
fn block(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4) >> 8),
        IpAddr::V6(v6) => 1 << 127 | u128::from(v6) >> 80,
    }
}

/// The /16 or /32 of a block.
fn wide(block: u128) -> u128 {
    if block >> 127 == 0 { block >> 8 } else { block >> 16 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_stranger_gets_a_turn_in_time_whatever_others_do(
            attackers in 1u8..40, start in 60i64..3_600, gaps in prop::collection::vec(1i64..2_000, 1..50)
        ) {
            let (mut line, mut now, mut tried, mut asked, mut done) = (Line::default(), 0i64, 0i64, None, None);
            let mut gap = gaps.iter().cycle();
            let mut host = 0u8;
            while now < 3_610_000 + i64::from(attackers) * 20_000 {
                now += gap.next().copied().unwrap_or(1);
                host = host.wrapping_add(1);
                for attacker in 0..attackers {
                    tried += i64::from(line.turn("admin", IpAddr::from([10, attacker, host % 4, host]), BootMs(now)).is_ok());
                }
                // The right password, as soon as it may be given.
                if now >= start * 1_000 && done.is_none() {
                    asked.get_or_insert(now);
                    done = line.turn("admin", IpAddr::from([192, 0, 2, 1]), BootMs(now)).is_ok().then_some(now);
                }
            }
            let waited = done.zip(asked).map(|(done, asked)| done - asked);
            // Each attacker rotates through four blocks.
            let bound = (4 * i64::from(attackers) + 1) * TURN_MS + 2_000;
            prop_assert!(waited.is_some_and(|waited| waited <= bound), "{waited:?} > {bound}");
            prop_assert!(tried <= now / TURN_MS + BURST + 1, "{tried} guesses");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut line = Line::default();
        for n in 0..20_000u32 {
            for account in ["admin", &n.to_string()] {
                let _ = line.turn(account, IpAddr::from(n.wrapping_mul(2_654_435_761).to_be_bytes()), BootMs(0));
            }
        }
        assert!(line.places.len() <= MAX_OF_ACCOUNT && line.next.len() <= MAX_PACES);
    }
}
