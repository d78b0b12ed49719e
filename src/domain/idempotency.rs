//! Requests that are sent again because their answer was lost: what was done under a key is done once.

use std::collections::{BTreeMap, HashMap};

use super::time::BootMs;

/// Answers that are remembered, and for how long; beyond, the oldest is forgotten.
pub const MAX_ANSWERS: usize = 4_096;
const KEEP_MS: i64 = 48 * 3_600 * 1_000;
/// The largest answer that is kept, and all of them together. Of what does not fit only the fact is kept that it was done.
pub const MAX_ANSWER_BYTES: usize = 16 << 10;
const MAX_KEPT_BYTES: usize = 8 << 20;

/// Hash of who asks, for what, under which key.
pub type Scope = [u8; 32];

/// How a request goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin<A> {
    /// It is the first: do it, then `finish` or `forget`.
    Fresh,
    /// It was done; the answer.
    Replay(A),
    /// It was done; why the answer is not here.
    NotKept(String),
    /// The key was used for something else.
    Reused,
    /// The first is not done yet.
    Running,
}

#[derive(Debug)]
enum State<A> {
    Running,
    Done { answer: A, bytes: usize },
    NotKept(String),
}

#[derive(Debug)]
struct Entry<A> {
    body_hash: [u8; 32],
    seq: u64,
    begun: BootMs,
    state: State<A>,
}

/// Time is boot time, which nobody can set.
#[derive(Debug)]
pub struct Answers<A> {
    entries: HashMap<Scope, Entry<A>>,
    /// In the order in which they were begun.
    order: BTreeMap<u64, Scope>,
    next_seq: u64,
    /// No answer is kept of what was begun before.
    kept_from: u64,
    kept_bytes: usize,
}

impl<A> Default for Answers<A> {
    fn default() -> Answers<A> {
        Answers { entries: HashMap::new(), order: BTreeMap::new(), next_seq: 0, kept_from: 0, kept_bytes: 0 }
    }
}

impl<A: Clone> Answers<A> {
    pub fn begin(&mut self, scope: Scope, body_hash: [u8; 32], now: BootMs) -> Begin<A> {
        self.make_room(now);
        if let Some(entry) = self.entries.get(&scope) {
            return match &entry.state {
                _ if entry.body_hash != body_hash => Begin::Reused,
                State::Running => Begin::Running,
                State::Done { answer, .. } => Begin::Replay(answer.clone()),
                State::NotKept(why) => Begin::NotKept(why.clone()),
            };
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.order.insert(seq, scope);
        self.entries.insert(scope, Entry { body_hash, seq, begun: now, state: State::Running });
        Begin::Fresh
    }

    /// It was done, with this answer of `bytes`; `Err` says why the answer must not or cannot be kept.
    pub fn finish(&mut self, scope: &Scope, answer: Result<(A, usize), String>) {
        let Some(entry) = self.entries.get_mut(scope) else { return };
        entry.state = match answer {
            Ok((answer, bytes)) if bytes <= MAX_ANSWER_BYTES => {
                self.kept_bytes += bytes;
                self.kept_from = self.kept_from.min(entry.seq);
                State::Done { answer, bytes }
            }
            Ok(_) => State::NotKept("its answer was too large to be kept".into()),
            Err(why) => State::NotKept(why),
        };
        self.bound_bytes();
    }

    /// Nothing was done: the key is free again.
    pub fn forget(&mut self, scope: &Scope) {
        if let Some(entry) = self.entries.remove(scope) {
            self.order.remove(&entry.seq);
            if let State::Done { bytes, .. } = entry.state {
                self.kept_bytes -= bytes;
            }
        }
    }

    fn make_room(&mut self, now: BootMs) {
        while let Some((_, scope)) = self.order.first_key_value() {
            let scope = *scope;
            let old = self.entries.get(&scope).is_none_or(|entry| now.0.saturating_sub(entry.begun.0) >= KEEP_MS);
            if !old && self.entries.len() < MAX_ANSWERS {
                return;
            }
            self.forget(&scope);
        }
    }

    /// The oldest answers become the mere fact that it was done.
    fn bound_bytes(&mut self) {
        if self.kept_bytes <= MAX_KEPT_BYTES {
            return;
        }
        for (seq, scope) in self.order.range(self.kept_from..) {
            self.kept_from = *seq;
            if self.kept_bytes <= MAX_KEPT_BYTES {
                return;
            }
            if let Some(entry) = self.entries.get_mut(scope)
                && let State::Done { bytes, .. } = entry.state
            {
                self.kept_bytes -= bytes;
                entry.state = State::NotKept("its answer made room for later ones".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(n: u32) -> Scope {
        let mut scope = [0; 32];
        scope[..4].copy_from_slice(&n.to_be_bytes());
        scope
    }

    #[test]
    fn what_was_done_is_answered_and_not_done_again() {
        let mut answers = Answers::default();
        let (a, t) = ([1; 32], BootMs(0));
        assert_eq!(answers.begin(scope(1), a, t), Begin::Fresh);
        assert_eq!(answers.begin(scope(1), a, t), Begin::Running);
        assert_eq!(answers.begin(scope(2), a, t), Begin::Fresh, "another scope is another request");
        answers.finish(&scope(1), Ok(("made", 4)));
        assert_eq!(answers.begin(scope(1), a, t), Begin::Replay("made"));
        assert_eq!(answers.begin(scope(1), [2; 32], t), Begin::Reused);
        answers.forget(&scope(2));
        assert_eq!(answers.begin(scope(2), [2; 32], t), Begin::Fresh, "what was refused did nothing");
        answers.finish(&scope(2), Err("secret".into()));
        assert_eq!(answers.begin(scope(2), [2; 32], t), Begin::NotKept("secret".into()));
        assert_eq!(answers.begin(scope(1), a, BootMs(KEEP_MS - 1)), Begin::Replay("made"));
        assert_eq!(answers.begin(scope(1), [2; 32], BootMs(KEEP_MS)), Begin::Fresh);
    }

    #[test]
    fn memory_is_bounded_in_number_and_bytes() {
        let mut answers = Answers::default();
        for n in 0..10_000 {
            assert_eq!(answers.begin(scope(n), [0; 32], BootMs(0)), Begin::Fresh);
            answers.finish(&scope(n), Ok((n, MAX_ANSWER_BYTES)));
            assert!(answers.entries.len() <= MAX_ANSWERS && answers.kept_bytes <= MAX_KEPT_BYTES);
            assert_eq!(answers.entries.len(), answers.order.len());
        }
        assert_eq!(answers.begin(scope(9_999), [0; 32], BootMs(0)), Begin::Replay(9_999));
        assert!(matches!(answers.begin(scope(9_000), [0; 32], BootMs(0)), Begin::NotKept(_)), "done, and the answer is gone");
        assert_eq!(answers.begin(scope(5_000), [0; 32], BootMs(0)), Begin::Fresh);
        answers.finish(&scope(5_000), Ok((0, MAX_ANSWER_BYTES + 1)));
        assert!(matches!(answers.begin(scope(5_000), [0; 32], BootMs(0)), Begin::NotKept(_)));
        let all: Vec<u32> = (0..10_000).collect();
        all.iter().for_each(|n| answers.forget(&scope(*n)));
        assert_eq!((answers.kept_bytes, answers.order.len()), (0, 0));
    }
}
