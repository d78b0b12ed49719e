//! The history of epochs: what each new head follows, and the declaration that it goes on from an older copy.

use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};

use super::tables::{AUDIT, CHAIN, EPOCHS, POSTINGS, SUCCESSIONS};
use super::{alerts, audit, epochs, ledger, meta};
use crate::crypto::{self, PublicKey, SigningKey};
use crate::domain::alert::Severity;
use crate::domain::audit::{Actor, Draft};
use crate::domain::credits::Epoch;
use crate::domain::epoch::{GENESIS, Head, LogEnd, Seal};
use crate::domain::proof::Hash;
use crate::domain::proof::head::{CommittedHead, SignedHead, signed_bytes};
use crate::domain::proof::merkle::{Frontier, leaf_hash};
use crate::domain::proof::succession::{Offices, Succession, led_to};
use crate::domain::time::Now;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Key, Read, WriteTx};

const ROW: &str = "row";
/// A head under this manager's signature was shown that its store does not have; about the chain and its new incarnation.
pub const ALERT: &str = "history_forked";
/// What the running hash of the postings begins with.
const LEDGER_TAG: &[u8] = b"lucid/ledger-head/v1\0";

/// One row. A store of a release that signed no heads has none: it is made from the heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Counts the lives of the history, from 1.
    pub incarnation: u32,
    /// The newest head of the copy that this life went on from.
    pub restored_from: Option<Hash>,
    /// Of the hashes of all heads.
    pub frontier: Frontier,
    /// The store's generation that this incarnation belongs to.
    pub generation: u32,
}

pub fn load(read: &impl Read) -> Result<Chain, Fault> {
    if let Some(chain) = read.get(CHAIN, &ROW.to_owned())? {
        return Ok(chain);
    }
    let (mut frontier, mut broken) = (Frontier::default(), None);
    read.for_each(EPOCHS, .., |_, head: Head| {
        match head.hash() {
            Ok(hash) => frontier.push(leaf_hash(&hash)),
            Err(error) => broken = Some(error),
        }
        ControlFlow::Continue(())
    })?;
    match broken {
        Some(error) => Err(Fault::Invariant(error.to_string())),
        None => Ok(Chain { incarnation: 1, restored_from: None, frontier, generation: meta::store(read)?.generation }),
    }
}

/// Puts a head behind the newest one: `head` without its seal and its predecessor. What it says of the logs is of this very transaction.
pub fn append(tx: &mut WriteTx<'_>, head: &Head, key: &SigningKey) -> Result<Head, TxError> {
    let broken = |error: postcard::Error| Fault::Invariant(error.to_string());
    let last = epochs::last(tx)?;
    if last.as_ref().is_some_and(|last| last.next_slot() != head.epoch.first_slot()) {
        return Err(Fault::Invariant(format!("epoch {} does not begin where the one before it ends", head.epoch.0)).into());
    }
    let mut chain = load(tx)?;
    let store = meta::store(tx)?;
    if chain.generation < store.generation {
        let next = chain.incarnation + 1;
        restored(&mut chain, last.as_ref(), next)?;
        chain.generation = store.generation;
    }
    let before = last.as_ref().and_then(|last| last.seal.as_ref()).map(|seal| seal.ledger).unwrap_or_default();
    let mut seal = Seal {
        chain: store.store_id,
        incarnation: chain.incarnation,
        restored_from: chain.restored_from,
        sequence: chain.frontier.size,
        history: chain.frontier.root(),
        audit: tx.last(AUDIT)?.map_or(LogEnd::default(), |(seq, entry)| LogEnd { seq, hash: entry.hash }),
        ledger: ledger_end(tx, before, u64::MAX)?,
        manager_key: key.public().0,
        signature: Vec::new(),
    };
    let previous = last.map_or(Ok(GENESIS), |last| last.hash()).map_err(broken)?;
    let unsigned = Head { previous, seal: Some(seal.clone()), ..head.clone() };
    let hash = unsigned.hash().map_err(broken)?;
    seal.signature = key.sign(&signed_bytes(&hash)).to_vec();
    let sealed = Head { seal: Some(seal), ..unsigned };
    epochs::put(tx, &sealed)?;
    chain.frontier.push(leaf_hash(&hash));
    tx.put(CHAIN, &ROW.to_owned(), &chain)?;
    Ok(sealed)
}

/// The running hash of the postings through `through`, from where `before` ends: over the tag, the hash so far and the record as it is stored.
pub fn ledger_end(read: &impl Read, before: LogEnd, through: u64) -> Result<LogEnd, Fault> {
    let bounds = (Bound::Excluded(Key::encode(&before.seq)), Bound::Included(Key::encode(&through)));
    let mut end = before;
    read.with(POSTINGS.name, |raw| {
        raw.walk_bytes(bounds, false, &mut |key, stored| {
            end = LogEnd { seq: u64::decode(key).unwrap_or(end.seq), hash: crypto::sha256_parts(&[LEDGER_TAG, &end.hash, stored]) };
            Ok(ControlFlow::Continue(()))
        })
    })?;
    Ok(end)
}

fn restored(chain: &mut Chain, last: Option<&Head>, incarnation: u32) -> Result<(), Fault> {
    chain.incarnation = incarnation;
    chain.restored_from = Some(last.map_or(Ok(GENESIS), Head::hash).map_err(|error| Fault::Invariant(error.to_string()))?);
    Ok(())
}

/// Whether the history of this store has this head; nothing is known of one of another chain.
pub fn has(read: &impl Read, shown: &SignedHead) -> Result<bool, Fault> {
    let found = epochs::by_epoch(read, Epoch(shown.head.epoch))?;
    Ok(found.is_some_and(|head| head.hash().ok() == Some(shown.hash())))
}

/// The same of one of which only its epoch and its hash, in hex, are known.
pub fn has_hash(read: &impl Read, epoch: u32, hash: &str) -> Result<bool, Fault> {
    let found = epochs::by_epoch(read, Epoch(epoch))?;
    Ok(found.and_then(|head| head.hash().ok()).is_some_and(|found| crypto::hex(&found) == hash))
}

/// Whether a head that somebody shows tells that this store is an older copy: it is of this chain, under one of this manager's keys (`is_ours`), of this
/// life of the history or a later one, and not here.
pub fn is_news(read: &impl Read, shown: &SignedHead, is_ours: impl Fn(&CommittedHead) -> bool) -> Result<bool, Fault> {
    let is_of_chain = shown.head.chain == meta::store(read)?.store_id && is_ours(&shown.head);
    Ok(is_of_chain && shown.head.incarnation >= load(read)?.incarnation && !has(read, shown)? && shown.is_signed())
}

/// Goes on as another life of the history: the next head says from where. The caller has asked `is_news` in this transaction.
pub fn declare_fork(tx: &mut WriteTx<'_>, shown: &SignedHead, node: &str, now: Now) -> Result<(), TxError> {
    let last = epochs::last(tx)?;
    let mut chain = load(tx)?;
    let next = shown.head.incarnation.max(chain.incarnation).saturating_add(1);
    restored(&mut chain, last.as_ref(), next)?;
    tx.put(CHAIN, &ROW.to_owned(), &chain)?;
    let (theirs, hash) = (&shown.head, crypto::hex(&shown.hash()));
    let ours = last.map_or("no head".to_owned(), |last| format!("epoch {}", last.epoch.0));
    let message = format!(
        "{node} has head {} of epoch {} under this manager's signature ({hash}), and this store ends with {ours} and does not have it: the store is an older \
         copy. The history goes on as incarnation {}",
        theirs.sequence, theirs.epoch, chain.incarnation
    );
    // One for each fork: a later one must not hide behind an earlier one.
    let about = format!("{} {}", theirs.chain, chain.incarnation);
    alerts::raise(tx, ALERT, &about, Severity::Critical, &message, now.wall)?;
    audit::append(tx, Draft::new(now, Actor::Node(node.to_owned()), "poot.fork", theirs.chain.clone()).because(message))
}

/// The hashes of the first `count` heads, as leaves of the history's tree.
pub fn hashes(read: &impl Read, count: u64) -> Result<Vec<Hash>, Fault> {
    let (mut hashes, mut broken) = (Vec::new(), None);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    read.for_each(EPOCHS, .., |_, head: Head| {
        match head.hash() {
            Ok(hash) if hashes.len() < count => hashes.push(leaf_hash(&hash)),
            Ok(_) => return ControlFlow::Break(()),
            Err(error) => broken = Some(error),
        }
        ControlFlow::Continue(())
    })?;
    broken.map_or(Ok(hashes), |error| Err(Fault::Invariant(error.to_string())))
}

/// Keys of the manager that took over from each other, oldest first.
pub fn successions(read: &impl Read) -> Result<Vec<Succession>, Fault> {
    Ok(read.scan(SUCCESSIONS, .., usize::MAX)?.into_iter().map(|(_, statement)| statement).collect())
}

/// The row agrees with the heads, and each head with those before it, with the logs and with the keys that took over from each other, up to the store's own;
/// the number of sealed heads, or what is wrong.
pub fn verify(read: &impl Read, key: &PublicKey) -> Result<Result<u64, String>, Fault> {
    let said = successions(read)?;
    let id = meta::store(read)?.manager_id;
    // Who knows any key of them is led to the present one.
    let leads_here = said.is_empty() || led_to(&said, Some(id.as_str()), |_| true) == Some(key.0);
    let Some(offices) = Some(Offices::of(&said)).filter(|_| leads_here) else {
        return Ok(Err("the statements do not hold together that keys of the manager took over from each other".into()));
    };
    let signs = |seal: &Seal| *offices.as_ref().map_or(&key.0, |offices| offices.signer(seal.sequence)) == seal.manager_key;
    let (mut frontier, mut sealed, mut wrong) = (Frontier::default(), 0, None);
    let archived = ledger::archived(read)?;
    let (mut ledger, mut place, mut failed) = (LogEnd::default(), (0, 0), None);
    read.for_each(EPOCHS, .., |_, head: Head| {
        match judged(read, &head, &signs, &frontier, &mut ledger, &mut place, archived) {
            Err(fault) => failed = Some(fault),
            Ok(Err(why)) => wrong = Some(format!("epoch {}: {why}", head.epoch.0)),
            Ok(Ok(hash)) => {
                sealed += u64::from(head.seal.is_some());
                frontier.push(leaf_hash(&hash));
                return ControlFlow::Continue(());
            }
        }
        ControlFlow::Break(())
    })?;
    if let Some(fault) = failed {
        return Err(fault);
    }
    if wrong.is_none() && read.get(CHAIN, &ROW.to_owned())?.is_some_and(|chain| chain.frontier != frontier) {
        wrong = Some("the row of the history is not the one of its heads".into());
    }
    Ok(wrong.map_or(Ok(sealed), Err))
}

type Judged = Result<Result<Hash, &'static str>, Fault>;

fn judged(
    read: &impl Read,
    head: &Head,
    signs: &impl Fn(&Seal) -> bool,
    before: &Frontier,
    ledger: &mut LogEnd,
    place: &mut (u32, u64),
    archived: u64,
) -> Judged {
    let Ok(hash) = head.hash() else { return Ok(Err("does not encode")) };
    let Some(seal) = &head.seal else { return Ok(Ok(hash)) };
    if seal.sequence != before.size || seal.history != before.root() {
        return Ok(Err("does not name the history before it"));
    }
    if !head.signed().is_some_and(|signed| signed.is_signed()) {
        return Ok(Err("is not signed by the key that it names"));
    }
    if !signs(seal) {
        return Ok(Err("is signed by a key that was not in office"));
    }
    let here = (seal.incarnation, seal.sequence);
    if here <= *place {
        return Ok(Err("is of an earlier life of the history than the one before"));
    }
    *place = here;
    let entry = audit::entry(read, seal.audit.seq)?;
    if entry.is_some_and(|entry| entry.hash != seal.audit.hash) {
        return Ok(Err("names another entry of the audit log"));
    }
    if ledger.seq < archived {
        // Postings in between are in archives: what a signed head says of them is believed, and the archives are held against checkpoints.
        *ledger = seal.ledger;
        return Ok(Ok(hash));
    }
    *ledger = ledger_end(read, *ledger, seal.ledger.seq)?;
    if *ledger != seal.ledger {
        return Ok(Err("names other postings of the ledger"));
    }
    Ok(Ok(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::proof::merkle;
    use crate::domain::time::{BootMs, Timestamp};
    use crate::storage::testing::{gap, store};
    use crate::storage::{Store, verify};

    const NOW: Now = Now { wall: Timestamp(1_790_000_000_000), boot: BootMs(0), trusted: true };

    fn appended(store: &Store, epoch: u32) -> Head {
        let key = SigningKey::from_seed(store.signing_key.seed().clone());
        store.core.write_now(move |tx| append(tx, &gap(epoch), &key)).unwrap()
    }

    fn wrong(store: &Store) -> Option<String> {
        let findings = verify::verify(store);
        findings.into_iter().find(|finding| finding.part == "history of epochs").unwrap().wrong
    }

    #[test]
    fn each_head_names_those_before_it_and_the_logs() {
        let (_dir, store) = store();
        let first = appended(&store, 1_000);
        store.core.write_now(|tx| audit::append(tx, Draft::new(NOW, Actor::Console, "test", ""))).unwrap();
        let second = appended(&store, 1_010);
        let (a, b) = (first.seal.clone().unwrap(), second.seal.clone().unwrap());
        assert_eq!((a.sequence, a.incarnation, a.restored_from, first.previous), (0, 1, None, GENESIS));
        assert_eq!((b.sequence, second.previous), (1, first.hash().unwrap()));
        assert_eq!(b.history, merkle::root(&[leaf_hash(&first.hash().unwrap())]));
        assert_eq!((b.audit.seq, b.ledger.seq), (a.audit.seq + 1, 0));
        assert!(second.signed().unwrap().is_signed());
        assert_eq!(wrong(&store), None);
    }

    #[test]
    fn an_epoch_begins_where_the_one_before_it_ends() {
        let (_dir, store) = store();
        let first = appended(&store, 1_000);
        for epoch in [990, 1_000, 1_005, 1_011] {
            let key = SigningKey::from_seed(store.signing_key.seed().clone());
            assert!(store.core.write_now(move |tx| append(tx, &gap(epoch), &key)).is_err(), "{epoch}");
        }
        assert_eq!(epochs::last(&store.read().unwrap()).unwrap(), Some(first), "and nothing is written over");
        assert_eq!(wrong(&store), None);
    }

    #[test]
    fn heads_of_before_they_were_signed_are_the_beginning_of_the_history() {
        let (_dir, store) = store();
        let old = Head { previous: GENESIS, ..gap(1_000) };
        let put = old.clone();
        store.core.write_now(move |tx| epochs::put(tx, &put)).unwrap();
        let first = appended(&store, 1_010);
        let seal = first.seal.clone().unwrap();
        assert_eq!((seal.sequence, first.previous), (1, old.hash().unwrap()));
        assert_eq!(seal.history, merkle::root(&[leaf_hash(&old.hash().unwrap())]));
        assert_eq!(wrong(&store), None);
    }

    #[test]
    fn a_restored_store_goes_on_as_another_life_of_the_history() {
        let (_dir, store) = store();
        let before = appended(&store, 1_000);
        // What a restore does: another generation.
        store
            .core
            .write_now(|tx| {
                let mut restored = meta::store(tx)?;
                restored.generation += 1;
                meta::put_store(tx, &restored)
            })
            .unwrap();
        let after = appended(&store, 1_010).seal.unwrap();
        assert_eq!((after.incarnation, after.restored_from), (2, Some(before.hash().unwrap())));
        let later = appended(&store, 1_020).seal.unwrap();
        assert_eq!((later.incarnation, later.restored_from), (2, Some(before.hash().unwrap())), "declared once, and named ever after");
        assert_eq!(wrong(&store), None);
    }

    #[test]
    fn what_was_changed_of_the_history_is_found() {
        type Change = fn(&mut Head);
        let changes: [(Change, &str); 6] = [
            (|head| head.closed_at = head.closed_at.plus_ms(1), "not signed"),
            (|head| head.seal.as_mut().unwrap().sequence += 1, "history before it"),
            (|head| head.seal.as_mut().unwrap().history[0] ^= 1, "history before it"),
            (|head| head.seal.as_mut().unwrap().incarnation = 7, "not signed"),
            (|head| head.seal.as_mut().unwrap().signature[0] ^= 1, "not signed"),
            (|head| head.seal.as_mut().unwrap().ledger.hash[0] ^= 1, "not signed"),
        ];
        for (change, why) in changes {
            let (_dir, store) = store();
            appended(&store, 1_000);
            let mut changed = appended(&store, 1_010);
            change(&mut changed);
            store.core.write_now(move |tx| epochs::put(tx, &changed)).unwrap();
            assert!(wrong(&store).is_some_and(|found| found.contains(why)), "{why}: {:?}", wrong(&store));
        }
        // The manager's own key signs what contradicts its logs, or another history.
        let resigned: [(Change, &str); 3] = [
            (|head| head.seal.as_mut().unwrap().audit.hash[0] ^= 1, "another entry of the audit log"),
            (|head| head.seal.as_mut().unwrap().ledger.hash[0] ^= 1, "other postings"),
            (|head| head.closed_at = head.closed_at.plus_ms(1), "not the one of its heads"),
        ];
        for (change, why) in resigned {
            let (_dir, store) = store();
            appended(&store, 1_000);
            let mut changed = appended(&store, 1_010);
            change(&mut changed);
            let signature = store.signing_key.sign(&signed_bytes(&changed.hash().unwrap()));
            changed.seal.as_mut().unwrap().signature = signature.to_vec();
            store.core.write_now(move |tx| epochs::put(tx, &changed)).unwrap();
            assert!(wrong(&store).is_some_and(|found| found.contains(why)), "{why}: {:?}", wrong(&store));
        }
    }
}
