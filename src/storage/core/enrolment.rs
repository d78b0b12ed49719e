//! Enrolment tokens, and the one verb that makes a machine a node.

use std::ops::Bound;
use std::sync::Arc;

use super::nodes::{self, name_key};
use super::tables::{ENROLMENT_TOKENS, ENROLMENT_USES, NODE_KEYS, NODE_NAMES};
use super::{audit, enrolment_requests, node_events, pools};
use crate::crypto::PublicKey;
use crate::domain::audit::Act;
use crate::domain::enrolment::{Drift, EnrolmentTarget, EnrolmentToken, Fingerprint, MAX_TOKENS, NewToken, TokenText, TokenUse};
use crate::domain::ids::{EnrolmentId, NodeId, NodeIndex, PoolIndex};
use crate::domain::node::{HardwareInfo, Identity, Node, NodeConfiguration, NodeType, OFFLINE_AFTER_SECONDS};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::registration::{NewNode, plain_name, unique_name};
use crate::domain::time::Timestamp;
use crate::storage::directory::Directory;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Keeps a token whose text the caller made from fresh random bytes and hands out once.
pub fn create_token(tx: &mut WriteTx<'_>, act: &Act, text: &TokenText, new: &NewToken) -> Result<EnrolmentToken, TxError> {
    let mut errors = FieldErrors::default();
    new.check(&mut errors);
    errors.finish()?;
    match &new.target {
        EnrolmentTarget::Node(id) => drop(nodes::require(tx, id)?),
        EnrolmentTarget::Pool(index) => drop(pools::by_index(tx, *index)?.ok_or(Refusal::PoolNotFound)?),
    }
    make_room(tx, act)?;
    let token = EnrolmentToken {
        id: text.id.clone(),
        secret_hash: text.secret_hash(),
        target: new.target.clone(),
        uses: new.uses,
        used: 0,
        used_before: Vec::new(),
        created_at: act.now.wall,
        expires_at: act.now.wall.plus_seconds(new.expires_in_seconds),
        revoked: false,
        needs_approval: new.needs_approval,
        created_by: act.actor.to_string(),
    };
    put(tx, &token)?;
    audit::append(tx, act.draft("enrolment_token.create", token.id.as_str()))?;
    Ok(token)
}

/// When the table is full, dead tokens leave; when all are alive, the new one is refused.
fn make_room(tx: &mut WriteTx<'_>, act: &Act) -> Result<(), TxError> {
    if tx.count(ENROLMENT_TOKENS)? < MAX_TOKENS as u64 {
        return Ok(());
    }
    let dead: Vec<String> = tx
        .scan(ENROLMENT_TOKENS, .., MAX_TOKENS)?
        .into_iter()
        .filter(|(_, token)| token.is_over(act.now.wall))
        .map(|(key, _)| key)
        .collect();
    if dead.is_empty() {
        return Err(Refusal::Rule("TooManyTokens", format!("{MAX_TOKENS} enrolment tokens are open; revoke some")).into());
    }
    for key in &dead {
        tx.delete(ENROLMENT_TOKENS, key)?;
    }
    Ok(())
}

fn put(tx: &mut WriteTx<'_>, token: &EnrolmentToken) -> Result<(), TxError> {
    tx.put(ENROLMENT_TOKENS, &token.id.as_str().to_owned(), token)
}

pub fn token(read: &impl Read, id: &EnrolmentId) -> Result<Option<EnrolmentToken>, Fault> {
    read.get(ENROLMENT_TOKENS, &id.as_str().to_owned())
}

/// Oldest first; there are at most `MAX_TOKENS`.
pub fn all_tokens(read: &impl Read) -> Result<Vec<EnrolmentToken>, Fault> {
    Ok(read.scan(ENROLMENT_TOKENS, .., MAX_TOKENS)?.into_iter().map(|(_, token)| token).collect())
}

/// Revoking twice changes nothing.
pub fn revoke(tx: &mut WriteTx<'_>, act: &Act, id: &EnrolmentId) -> Result<(), TxError> {
    let mut token = token(tx, id)?.ok_or(Refusal::TokenUnknown)?;
    if token.revoked {
        return Ok(());
    }
    token.revoked = true;
    put(tx, &token)?;
    enrolment_requests::end_of(tx, id)?;
    audit::append(tx, act.draft("enrolment_token.revoke", id.as_str()))
}

fn use_key(token: &EnrolmentId, key: &PublicKey) -> (String, [u8; 32]) {
    (token.to_string(), key.0)
}

/// Uses of tokens that repeat no answer any more: expired, revoked, or gone. At most `limit`.
pub fn spent_uses(read: &impl Read, now: Timestamp, limit: usize) -> Result<Vec<(String, [u8; 32])>, Fault> {
    let mut spent = Vec::new();
    let mut from = Bound::Unbounded;
    // From one token to the next: the uses of those that still hold are not walked.
    while spent.len() < limit {
        let Some(((id, _), _)) = read.scan(ENROLMENT_USES, (from, Bound::Unbounded), 1)?.into_iter().next() else { break };
        let range = ((id.clone(), [0; 32]), (id.clone(), [u8::MAX; 32]));
        if read.get(ENROLMENT_TOKENS, &id)?.is_none_or(|token| token.is_over(now)) {
            let rows = read.scan(ENROLMENT_USES, range.0..=range.1.clone(), limit - spent.len())?;
            spent.extend(rows.into_iter().map(|(key, _)| key));
        }
        from = Bound::Excluded(range.1);
    }
    Ok(spent)
}

/// Deletes them; true when there may be more.
pub fn forget_uses(tx: &mut WriteTx<'_>, now: Timestamp, limit: usize) -> Result<bool, TxError> {
    let spent = spent_uses(tx, now, limit)?;
    for key in &spent {
        tx.delete(ENROLMENT_USES, key)?;
    }
    Ok(spent.len() == limit)
}

/// A machine that asks to be a node. Its signature over the request was checked before.
#[derive(Debug, Clone)]
pub struct Enrolling {
    pub token: TokenText,
    pub key: PublicKey,
    pub fingerprint: Fingerprint,
    pub hardware: HardwareInfo,
    /// What the machine would like to be called.
    pub name: String,
    /// Fresh; used only when a new node comes of it.
    pub new_id: NodeId,
    /// Nodes whose fingerprint identifies this machine (`Directory::on_machine`).
    pub on_machine: Vec<OnMachine>,
    /// The configured size of the fleet.
    pub max_nodes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnMachine {
    pub index: NodeIndex,
    /// Its agent was heard lately, so it is no earlier life of the one that asks now.
    pub heard: bool,
}

/// How a machine became, or turned out to be, a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    New,
    /// It claimed a node that was made for it.
    Claimed,
    /// A repeat of an answered request: nothing was changed.
    Again,
    /// Its key was known.
    SameKey,
    /// Its hardware was known under another key, which the new one replaces.
    SameMachine,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Enrolled {
    pub node: Node,
    pub how: How,
    /// Another live node of the same machine: worth an alert.
    pub twin: Option<NodeId>,
}

impl Enrolling {
    fn check(&self) -> Result<(), Refusal> {
        let mut errors = FieldErrors::default();
        errors.require(self.fingerprint.is_well_formed(), "fingerprint", "parts must be 32 hex digits");
        self.hardware.check(&mut errors, "hardware");
        errors.finish()
    }
}

/// The token that is presented, when it lets this key in; the first of the rules of `enrol`, which needs no write. `ours` are the hashes of this manager's
/// keys, the former ones too.
pub fn presented(read: &impl Read, ours: &[String], asked: &Enrolling, now: Timestamp) -> Result<(EnrolmentToken, TokenUse), TxError> {
    if !ours.contains(&asked.token.manager_key_hash) {
        return Err(Refusal::TokenForOtherManager.into());
    }
    let token = token(read, &asked.token.id)?.ok_or(Refusal::TokenUnknown)?;
    let earlier = read.get(ENROLMENT_USES, &use_key(&token.id, &asked.key))?;
    let usage = token.present(&asked.token, &asked.key, earlier, now)?;
    Ok((token, usage))
}

/// All rules of enrolment; a refusal changes nothing. `ours` as in `presented`.
pub fn enrol(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, ours: &[String], asked: &Enrolling) -> Result<Enrolled, TxError> {
    let (token, usage) = presented(tx, ours, asked, act.now.wall)?;
    asked.check()?;
    let known = nodes::by_key(tx, &asked.key)?;
    if let Some(node) = &known
        && drift(node, asked) == Some(Drift::OtherHardware)
    {
        return Err(Refusal::KeyOnOtherHardware.into());
    }
    match (usage, known) {
        (TokenUse::Again(id), Some(node)) if node.id == id => Ok(Enrolled { node, how: How::Again, twin: None }),
        // The node was deleted, or another key took its place: the use is spent.
        (TokenUse::Again(_), _) => Err(Refusal::TokenUsed.into()),
        (TokenUse::Fresh, Some(node)) => again_with_key(tx, directory, act, token, asked, node),
        (TokenUse::Fresh, None) => {
            enrolment_requests::admit(tx, &token, &asked.key)?;
            match &token.target {
                EnrolmentTarget::Node(id) => {
                    let node = nodes::require(tx, id)?;
                    claim(tx, directory, act, token, asked, node)
                }
                EnrolmentTarget::Pool(pool) => {
                    let pool = *pool;
                    enrol_into_pool(tx, directory, act, token, asked, pool)
                }
            }
        }
    }
}

fn drift(node: &Node, asked: &Enrolling) -> Option<Drift> {
    node.identity.as_ref().map(|identity| identity.fingerprint.drift(&asked.fingerprint))
}

/// The key is a node's already: the node goes on. A machine that changed is flagged, as it would be by its next report.
fn again_with_key(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    token: EnrolmentToken,
    asked: &Enrolling,
    before: Node,
) -> Result<Enrolled, TxError> {
    if matches!(&token.target, EnrolmentTarget::Node(id) if *id != before.id) {
        return Err(Refusal::NodeExists.into());
    }
    let mut node = before.clone();
    node.hardware = Some(asked.hardware.clone());
    if drift(&before, asked) == Some(Drift::Changed)
        && let Some(identity) = &mut node.identity
    {
        identity.drift = Some(asked.fingerprint.clone());
    }
    nodes::replace(tx, directory, act, &before, &mut node)?;
    finish(tx, act, token, asked, node, How::SameKey, None)
}

/// A node-bound token: the node made beforehand, or the same machine with a new key.
fn claim(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    token: EnrolmentToken,
    asked: &Enrolling,
    before: Node,
) -> Result<Enrolled, TxError> {
    let how = match &before.identity {
        None => How::Claimed,
        Some(identity) if identity.fingerprint.identifies(&asked.fingerprint) => How::SameMachine,
        Some(_) => return Err(Refusal::NodeClaimed.into()),
    };
    let twin = twin(tx, asked, before.index)?;
    let node = bind(tx, directory, act, asked, &before)?;
    finish(tx, act, token, asked, node, how, twin)
}

fn enrol_into_pool(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    token: EnrolmentToken,
    asked: &Enrolling,
    pool: PoolIndex,
) -> Result<Enrolled, TxError> {
    let name = plain_name(&asked.name);
    if let Some(before) = earlier_life(tx, asked, &name, act.now.wall)? {
        let node = bind(tx, directory, act, asked, &before)?;
        return finish(tx, act, token, asked, node, How::SameMachine, None);
    }
    let pool = pools::by_index(tx, pool)?.ok_or(Refusal::PoolNotFound)?;
    nodes::check_room(tx, Some(&pool), asked.max_nodes)?;
    let twin = twin(tx, asked, NodeIndex(u32::MAX))?;
    let new = NewNode {
        // As many tries as the pool can have nodes, and one: then one of them is free.
        name: unique_name(&name, pool.max_nodes + 2, |name| {
            Ok::<_, Fault>(tx.get(NODE_NAMES, &name_key(Some(pool.index), name))?.is_some())
        })?
        .ok_or(Refusal::NodeNameTaken)?,
        node_type: NodeType::Worker,
        hardware: Some(asked.hardware.clone()),
        location: None,
        pool: None,
        configuration: NodeConfiguration::default(),
    };
    let made = nodes::insert(tx, act, &asked.new_id, Some(pool.index), &new)?;
    let node = bind(tx, directory, act, asked, &made)?;
    finish(tx, act, token, asked, node, How::New, twin)
}

/// The node that this machine was before it lost its key. One whose agent is still heard, or enrolled too lately to have been missed, is another
/// agent on the same machine, unless it even goes by the same name.
fn earlier_life(tx: &WriteTx<'_>, asked: &Enrolling, name: &str, now: Timestamp) -> Result<Option<Node>, Fault> {
    let mut found: Option<Node> = None;
    for candidate in &asked.on_machine {
        let Some(node) = identified(tx, asked, candidate.index)? else { continue };
        let same_name = node.name == name;
        if same_name {
            return Ok(Some(node));
        }
        // Two agents that start together both enrol before either reports: neither may take the other's key away.
        let is_new = node.identity.as_ref().is_some_and(|i| (0..=OFFLINE_AFTER_SECONDS * 1_000).contains(&now.since(i.enrolled_at)));
        if !candidate.heard && !is_new && found.is_none() {
            found = Some(node);
        }
    }
    Ok(found)
}

fn twin(tx: &WriteTx<'_>, asked: &Enrolling, except: NodeIndex) -> Result<Option<NodeId>, Fault> {
    for candidate in asked.on_machine.iter().filter(|c| c.index != except) {
        if let Some(node) = identified(tx, asked, candidate.index)? {
            return Ok(Some(node.id));
        }
    }
    Ok(None)
}

/// The candidates come from memory, so the store has the last word.
fn identified(tx: &WriteTx<'_>, asked: &Enrolling, index: NodeIndex) -> Result<Option<Node>, Fault> {
    let node = nodes::by_index(tx, index)?;
    Ok(node.filter(|n| n.identity.as_ref().is_some_and(|i| i.fingerprint.identifies(&asked.fingerprint))))
}

/// Binds the node to the machine: the new key replaces an older one, history and slots of the past stay.
fn bind(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, act: &Act, asked: &Enrolling, before: &Node) -> Result<Node, TxError> {
    let mut node = before.clone();
    let identity = Identity { key: asked.key, fingerprint: asked.fingerprint.clone(), drift: None, enrolled_at: act.now.wall };
    let first = node.identity.replace(identity).is_none();
    node.hardware = Some(asked.hardware.clone());
    if first {
        // Without a trusted clock the slot is set when trust is earned (`nodes::date_enrolments`).
        node.enrolled_from = act.now.trusted.then(|| act.now.wall.slot().plus(1));
    }
    if let Some(old) = &before.identity {
        tx.delete(NODE_KEYS, &old.key.0)?;
    }
    tx.put(NODE_KEYS, &asked.key.0, &super::tables::Index(node.index.0))?;
    nodes::replace(tx, directory, act, before, &mut node)?;
    Ok(node)
}

fn finish(
    tx: &mut WriteTx<'_>,
    act: &Act,
    mut token: EnrolmentToken,
    asked: &Enrolling,
    node: Node,
    how: How,
    twin: Option<NodeId>,
) -> Result<Enrolled, TxError> {
    token.used = token.used.saturating_add(1);
    for (key, node) in std::mem::take(&mut token.used_before) {
        tx.put(ENROLMENT_USES, &use_key(&token.id, &key), &node)?;
    }
    tx.put(ENROLMENT_USES, &use_key(&token.id, &asked.key), &node.id)?;
    put(tx, &token)?;
    enrolment_requests::done(tx, &token.id, &asked.key)?;
    if how == How::SameKey {
        node_events::append(tx, node.index, NodeEvent::by(act, Kind::Reenrolled, Some("with the key it had".into())))?;
    }
    let operation = match how {
        How::SameMachine => "node.key.replace",
        How::SameKey => "node.enrol.again",
        How::New | How::Claimed | How::Again => "node.enrol",
    };
    audit::append(tx, act.draft(operation, node.id.as_str()).because(format!("token {}", token.id)))?;
    Ok(Enrolled { node, how, twin })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, T, act, at, fingerprint, hardware, key, new_node, new_pool, node_id, pool_id};
    use super::*;
    use crate::domain::node::MAX_NODES;
    use crate::domain::pool::DEFAULT_POOL_ID;
    use crate::domain::time::{Now, Timestamp};

    const OURS: &str = "00000000000000000000000000000000";

    fn text(n: u32) -> TokenText {
        TokenText {
            id: EnrolmentId::parse(&format!("enrol_{n:06}")).unwrap(),
            secret: "s3cret".into(),
            manager_key_hash: OURS.into(),
            first_key_hash: None,
        }
    }

    fn make(f: &Fixture, n: u32, new: NewToken) -> TokenText {
        f.write(move |tx, _| create_token(tx, &act(), &text(n), &new)).unwrap();
        text(n)
    }

    fn pool_token(f: &Fixture, n: u32, uses: u32) -> TokenText {
        let id = crate::domain::ids::PoolId::parse(DEFAULT_POOL_ID).unwrap();
        let pool = pools::by_id(&f.store.read().unwrap(), &id).unwrap().unwrap().index;
        make(f, n, NewToken { target: EnrolmentTarget::Pool(pool), uses, expires_in_seconds: 3_600, needs_approval: false })
    }

    fn node_token(f: &Fixture, n: u32, node: u32) -> TokenText {
        make(f, n, NewToken { target: EnrolmentTarget::Node(node_id(node)), uses: 1, expires_in_seconds: 3_600, needs_approval: false })
    }

    /// Machine `machine` with key `k`, which would become node `n`.
    fn asking(token: &TokenText, k: u8, machine: u32, n: u32) -> Enrolling {
        Enrolling {
            token: token.clone(),
            key: key(k),
            fingerprint: fingerprint(machine),
            hardware: hardware(),
            name: "rpi".into(),
            new_id: node_id(n),
            on_machine: vec![],
            max_nodes: MAX_NODES,
        }
    }

    fn run_at(f: &Fixture, now: Now, mut asked: Enrolling, heard: bool) -> Result<Enrolled, Refusal> {
        let known = f.store.directory.on_machine(&asked.fingerprint);
        asked.on_machine = known.into_iter().map(|index| OnMachine { index, heard }).collect();
        f.write(move |tx, d| enrol(tx, d, &Act { now, ..act() }, &[OURS.to_owned()], &asked))
    }

    fn run(f: &Fixture, asked: Enrolling) -> Result<Enrolled, Refusal> {
        run_at(f, at(0), asked, false)
    }

    #[test]
    fn a_new_machine_becomes_a_node_from_the_next_slot_and_a_lost_answer_is_no_loss() {
        let f = Fixture::new();
        let token = pool_token(&f, 1, 1);
        let first = run(&f, asking(&token, 1, 1, 1)).unwrap();
        assert_eq!((first.how, first.node.enrolled_from), (How::New, Some(at(0).wall.slot().plus(1))));
        let entry = f.store.directory.by_id(&node_id(1)).unwrap();
        assert_eq!((entry.key, entry.counts_in(at(30).wall.slot())), (Some(key(1)), true));
        let audited = f.audited();
        let again = run(&f, asking(&token, 1, 1, 2)).unwrap();
        assert_eq!((again.how, again.node), (How::Again, first.node));
        assert_eq!(f.audited(), audited);
        assert_eq!(run_at(&f, at(3_600), asking(&token, 1, 1, 2), false), Err(Refusal::TokenExpired));
    }

    #[test]
    fn each_refusal_has_its_own_name_and_changes_nothing() {
        let f = Fixture::new();
        let token = pool_token(&f, 1, 2);
        run(&f, asking(&token, 1, 1, 1)).unwrap();
        let revoked = pool_token(&f, 2, 1);
        f.write(|tx, _| revoke(tx, &act(), &text(2).id)).unwrap();
        let used = pool_token(&f, 3, 1);
        run(&f, asking(&used, 2, 2, 2)).unwrap();
        make_prepared(&f, 7);
        let bound = node_token(&f, 4, 7);
        run(&f, asking(&bound, 3, 3, 99)).unwrap();
        let bound_again = node_token(&f, 5, 7);
        let gone = node_token(&f, 6, 7);
        let audited = f.audited();
        let with = |change: &dyn Fn(&mut Enrolling)| {
            let mut asked = asking(&token, 9, 9, 9);
            change(&mut asked);
            asked
        };
        let other_board = |a: &mut Enrolling| a.key = key(1);
        let cases: Vec<(Enrolling, Refusal)> = vec![
            (with(&|a| a.token.manager_key_hash = "f".repeat(32)), Refusal::TokenForOtherManager),
            (with(&|a| a.token.id = text(99).id), Refusal::TokenUnknown),
            (with(&|a| a.token.secret = "guess".into()), Refusal::TokenWrongSecret),
            (with(&|a| a.token = revoked.clone()), Refusal::TokenRevoked),
            (with(&|a| a.token = used.clone()), Refusal::TokenUsed),
            (with(&other_board), Refusal::KeyOnOtherHardware),
            (asking(&bound_again, 4, 4, 9), Refusal::NodeClaimed),
            (asking(&bound_again, 1, 1, 9), Refusal::NodeExists),
        ];
        for (asked, refusal) in cases {
            assert_eq!(run(&f, asked), Err(refusal));
        }
        let invalid = run(&f, with(&|a| a.hardware.cpu.cores = 0));
        assert!(matches!(invalid, Err(Refusal::Invalid(fields)) if fields[0].field == "hardware.cpu.cores"));
        let forged_parts = run(&f, with(&|a| a.fingerprint.macs = Some("x".into())));
        assert!(matches!(forged_parts, Err(Refusal::Invalid(fields)) if fields[0].field == "fingerprint"));
        assert_eq!(f.audited(), audited, "no refusal left a trace of its own");
        f.write(|tx, d| nodes::delete(tx, d, &act(), &node_id(7), false).map(drop)).unwrap();
        assert_eq!(run(&f, asking(&gone, 4, 4, 9)), Err(Refusal::NodeNotFound));
        assert_eq!(run(&f, asking(&bound, 3, 3, 9)), Err(Refusal::TokenUsed), "an answered token does not raise the dead");
        assert_eq!(run(&f, asking(&token, 9, 9, 9)).unwrap().how, How::New, "the second use is still there");
    }

    fn make_prepared(f: &Fixture, n: u32) {
        f.write(move |tx, d| nodes::create(tx, d, &act(), &node_id(n), &new_node(&format!("made-{n}"), None), MAX_NODES)).unwrap();
    }

    #[test]
    fn a_made_node_is_claimed_and_its_machine_may_come_back_with_a_new_key() {
        let f = Fixture::new();
        make_prepared(&f, 7);
        let first = run(&f, asking(&node_token(&f, 1, 7), 1, 1, 9)).unwrap();
        assert_eq!((first.how, first.node.id.clone(), first.node.name.as_str()), (How::Claimed, node_id(7), "made-7"));
        let back = run(&f, asking(&node_token(&f, 2, 7), 2, 1, 9)).unwrap();
        assert_eq!((back.how, back.node.index, back.node.enrolled_from), (How::SameMachine, first.node.index, first.node.enrolled_from));
        let read = f.store.read().unwrap();
        assert_eq!(nodes::by_key(&read, &key(1)).unwrap(), None, "the old key is worth nothing");
        assert_eq!(nodes::by_key(&read, &key(2)).unwrap().map(|n| n.id), Some(node_id(7)));
    }

    #[test]
    fn a_known_key_goes_on_as_its_node_and_a_changed_machine_is_flagged() {
        let f = Fixture::new();
        let first = run(&f, asking(&pool_token(&f, 1, 1), 1, 1, 1)).unwrap();
        let mut rebuilt = asking(&pool_token(&f, 2, 1), 1, 1, 2);
        let other = fingerprint(2);
        rebuilt.fingerprint = Fingerprint { memory: other.memory, disk_id: other.disk_id, macs: other.macs, ..fingerprint(1) };
        let back = run(&f, rebuilt).unwrap();
        assert_eq!((back.how, back.node.index), (How::SameKey, first.node.index));
        let identity = back.node.identity.unwrap();
        assert!(identity.drift.is_some() && identity.fingerprint == fingerprint(1), "payouts hold until an admin accepts");
    }

    #[test]
    fn a_machine_that_lost_its_key_is_told_from_a_second_agent_on_it() {
        let f = Fixture::new();
        let token = pool_token(&f, 1, 9);
        let first = run(&f, asking(&token, 1, 1, 1)).unwrap().node;
        let named = |k: u8, n: u32, name: &str| Enrolling { name: name.into(), ..asking(&token, k, 1, n) };
        let second = run_at(&f, at(0), named(2, 2, "rpi-b"), true).unwrap();
        assert_eq!((second.how, second.node.name.as_str(), second.twin), (How::New, "rpi-b", Some(node_id(1))));
        let same_name = run_at(&f, at(0), named(3, 3, "rpi"), true).unwrap();
        assert_eq!((same_name.how, same_name.node.index), (How::SameMachine, first.index));
        let at_once = run_at(&f, at(OFFLINE_AFTER_SECONDS), named(4, 4, "rpi-c"), false).unwrap();
        assert_eq!(at_once.how, How::New, "neither of the others can have been missed yet");
        let silent = run_at(&f, at(OFFLINE_AFTER_SECONDS + 1), named(5, 5, "rpi-d"), false).unwrap();
        assert_eq!((silent.how, silent.node.index), (How::SameMachine, first.index));
    }

    #[test]
    fn names_are_made_unique_and_capacity_binds() {
        let f = Fixture::new();
        f.write(|tx, _| pools::create(tx, &act(), &pool_id(1), &new_pool("small", 3))).unwrap();
        let pool = pools::by_id(&f.store.read().unwrap(), &pool_id(1)).unwrap().unwrap().index;
        let new = NewToken { target: EnrolmentTarget::Pool(pool), uses: 9, expires_in_seconds: 3_600, needs_approval: false };
        let token = make(&f, 1, new);
        let names: Vec<_> = (1..4u8).map(|n| run(&f, asking(&token, n, n.into(), n.into())).unwrap().node).collect();
        assert_eq!(names.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["rpi", "rpi-2", "rpi-3"]);
        assert_eq!(run(&f, asking(&token, 4, 4, 4)), Err(Refusal::PoolFull));
    }

    #[test]
    fn machines_with_a_token_that_wants_it_wait_for_an_admins_word() {
        use crate::domain::enrolment_request::request_id;
        let f = Fixture::new();
        let id = crate::domain::ids::PoolId::parse(DEFAULT_POOL_ID).unwrap();
        let pool = pools::by_id(&f.store.read().unwrap(), &id).unwrap().unwrap().index;
        let new = |uses| NewToken { target: EnrolmentTarget::Pool(pool), uses, expires_in_seconds: 3_600, needs_approval: true };
        let token = make(&f, 1, new(2));
        let ask = |k: u8| {
            let asked = asking(&token, k, k.into(), k.into());
            f.write(move |tx, _| enrolment_requests::ask(tx, &asked, &act()))
        };
        let decide = |k: u8, approved: bool, now: Now| {
            let request = request_id(&text(1).id, &key(k));
            f.write(move |tx, _| enrolment_requests::decide(tx, &request, approved, &Act { now, ..act() }).map(drop))
        };
        let waiting = |now: Now| enrolment_requests::requests(&f.store.read().unwrap(), now.wall).unwrap().len();
        let become_node = |k: u8| run(&f, asking(&token, k, k.into(), k.into())).map(|enrolled| enrolled.how);
        assert_eq!(become_node(1), Err(Refusal::ApprovalPending));
        assert_eq!((waiting(at(0)), decide(1, true, at(0))), (0, Err(Refusal::EnrolmentRequestNotFound)));
        for k in [1, 1, 2, 3] {
            ask(k).unwrap();
        }
        assert_eq!(waiting(at(0)), 3, "the same machine waits once");
        assert_eq!(become_node(1), Err(Refusal::ApprovalPending));
        decide(1, true, at(0)).unwrap();
        let audited = f.audited();
        decide(1, true, at(0)).unwrap();
        assert_eq!((f.audited(), decide(1, false, at(0))), (audited, Err(Refusal::EnrolmentRequestDecided)));
        decide(2, false, at(0)).unwrap();
        assert_eq!((become_node(1), become_node(2)), (Ok(How::New), Err(Refusal::EnrolmentRejected)));
        assert_eq!((become_node(1), waiting(at(0))), (Ok(How::Again), 2), "who became a node waits no more");
        assert_eq!((waiting(at(3_600)), decide(3, true, at(3_600))), (0, Err(Refusal::EnrolmentRequestNotFound)), "with its token");
        let other = make(&f, 2, new(2));
        assert_eq!(run(&f, asking(&other, 1, 1, 9)).unwrap().how, How::SameKey, "a node needs no word");
        f.write(|tx, _| revoke(tx, &act(), &text(1).id)).unwrap();
        assert_eq!(waiting(at(0)), 0);
        let many = make(&f, 3, new(1_000));
        let mut last = Ok(());
        for k in 0..=u8::MAX {
            let asked = asking(&many, k, k.into(), 9);
            last = f.write(move |tx, _| enrolment_requests::ask(tx, &asked, &act()));
        }
        assert!(matches!(last, Err(Refusal::Rule("TooManyEnrolmentRequests", _))), "{last:?}");
        assert_eq!(waiting(at(0)), crate::domain::enrolment_request::MAX_PER_TOKEN);
    }

    #[test]
    fn without_a_trusted_clock_the_first_slot_is_set_later() {
        let f = Fixture::new();
        let untrusted = Now { trusted: false, wall: Timestamp::from_seconds(T - 86_400 * 300), ..at(0) };
        let token = pool_token(&f, 1, 1);
        let node = run_at(&f, untrusted, asking(&token, 1, 1, 1), false).unwrap().node;
        assert_eq!(node.enrolled_from, None);
        let date = |now| f.write(move |tx, d| nodes::date_enrolments(tx, d, &Act { now, ..act() }));
        assert_eq!(date(untrusted), Err(Refusal::ClockUntrusted));
        assert_eq!((date(at(60)), date(at(90))), (Ok(1), Ok(0)));
        assert_eq!(f.store.directory.by_id(&node_id(1)).unwrap().enrolled_from, Some(at(90).wall.slot()));
    }

    fn used(f: &Fixture, n: u32) -> (u32, usize) {
        let read = f.store.read().unwrap();
        let rows = read.scan(ENROLMENT_USES, .., 100).unwrap().into_iter().filter(|((id, _), _)| *id == text(n).id.to_string());
        (token(&read, &text(n).id).unwrap().map_or(0, |token| token.used), rows.count())
    }

    #[test]
    fn a_use_is_a_row_and_the_list_of_an_earlier_release_becomes_rows() {
        let f = Fixture::new();
        let text_of = pool_token(&f, 1, 4);
        for n in 1..3u8 {
            run(&f, asking(&text_of, n, n.into(), n.into())).unwrap();
        }
        assert_eq!(used(&f, 1), (2, 2));
        // As the first release left it: the list in the token, no rows.
        f.write(|tx, _| {
            let rows = tx.scan(ENROLMENT_USES, .., 9)?;
            let mut token = token(tx, &text(1).id)?.unwrap();
            for ((id, key), node) in rows {
                tx.delete(ENROLMENT_USES, &(id, key))?;
                token.used_before.push((PublicKey(key), node));
            }
            put(tx, &token)
        })
        .unwrap();
        assert_eq!(used(&f, 1), (2, 0));
        assert_eq!(run(&f, asking(&text_of, 2, 2, 9)).unwrap().how, How::Again);
        assert_eq!(run(&f, asking(&text_of, 3, 3, 3)).unwrap().how, How::New);
        assert_eq!(used(&f, 1), (3, 3));
        assert!(token(&f.store.read().unwrap(), &text(1).id).unwrap().unwrap().used_before.is_empty());
        for n in 1..4u8 {
            let again = run(&f, asking(&text_of, n, n.into(), 9)).unwrap();
            assert_eq!((again.how, again.node.id), (How::Again, node_id(n.into())));
        }
        assert_eq!(run(&f, asking(&text_of, 4, 4, 4)).unwrap().how, How::New);
        assert_eq!(run(&f, asking(&text_of, 5, 5, 5)), Err(Refusal::TokenUsed));
    }

    #[test]
    fn uses_go_with_their_token_a_few_at_a_time_and_those_of_others_stay() {
        let f = Fixture::new();
        let tokens: Vec<TokenText> = (1..5).map(|n| pool_token(&f, n, 9)).collect();
        for (t, token) in (0u8..).zip(&tokens) {
            for n in 0..3u8 {
                let k = t * 10 + n;
                run(&f, asking(token, k, k.into(), k.into())).unwrap();
            }
        }
        let spent = |at: Now, limit| enrolment_uses_of(&spent_uses(&f.store.read().unwrap(), at.wall, limit).unwrap());
        assert_eq!(spent(at(0), 99), []);
        f.write(|tx, _| revoke(tx, &act(), &text(2).id)).unwrap();
        f.write(|tx, _| tx.delete(ENROLMENT_TOKENS, &text(4).id.to_string()).map(drop)).unwrap();
        assert_eq!(spent(at(0), 99), [(2, 3), (4, 3)]);
        assert_eq!((spent(at(0), 1), spent(at(0), 4)), (vec![(2, 1)], vec![(2, 3), (4, 1)]));
        let forget = |at: Now| f.write(move |tx, _| forget_uses(tx, at.wall, 4)).unwrap();
        assert_eq!((forget(at(0)), forget(at(0)), forget(at(0))), (true, false, false));
        let rows: Vec<(u32, usize)> = (1..5).map(|n| used(&f, n)).collect();
        assert_eq!(rows, [(3, 3), (3, 0), (3, 3), (0, 0)], "how often a token was used is told until it goes");
        assert_eq!(run(&f, asking(&tokens[0], 1, 1, 99)).unwrap().how, How::Again);
        assert_eq!(spent(at(3_600), 99), [(1, 3), (3, 3)], "with their time");
    }

    /// (token, how many of its uses)
    fn enrolment_uses_of(rows: &[(String, [u8; 32])]) -> Vec<(u32, usize)> {
        let of = |n: u32| rows.iter().filter(|(id, _)| *id == text(n).id.to_string()).count();
        (1..9).map(|n| (n, of(n))).filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn tokens_are_listed_revoked_once_and_bounded() {
        let f = Fixture::new();
        for n in 1..4 {
            pool_token(&f, n, 1);
        }
        let ids: Vec<_> = all_tokens(&f.store.read().unwrap()).unwrap().into_iter().map(|t| t.id.as_str().to_owned()).collect();
        assert_eq!(ids, ["enrol_000001", "enrol_000002", "enrol_000003"]);
        for _ in 0..2 {
            f.write(|tx, _| revoke(tx, &act(), &text(1).id)).unwrap();
        }
        assert_eq!(f.write(|tx, _| revoke(tx, &act(), &text(9).id)), Err(Refusal::TokenUnknown));
        let wrong = NewToken { target: EnrolmentTarget::Node(node_id(1)), uses: 2, expires_in_seconds: 1, needs_approval: false };
        let Err(Refusal::Invalid(fields)) = f.write(move |tx, _| create_token(tx, &act(), &text(5), &wrong)) else { panic!("accepted") };
        assert_eq!(fields.len(), 2);
    }
}
