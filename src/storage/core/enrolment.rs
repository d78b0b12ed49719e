//! Enrolment tokens, and the one verb that makes a machine a node.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::nodes::{self, name_key};
use super::tables::{ENROLMENT_TOKENS, NODE_KEYS, NODE_NAMES};
use super::{audit, pools};
use crate::crypto::PublicKey;
use crate::domain::audit::Act;
use crate::domain::enrolment::{Drift, EnrolmentTarget, EnrolmentToken, Fingerprint, MAX_TOKENS, NewToken, TokenText, TokenUse};
use crate::domain::ids::{EnrolmentId, NodeId, NodeIndex, PoolIndex};
use crate::domain::node::{Eligible, HardwareInfo, Identity, Node, NodeConfiguration, NodeType};
use crate::domain::refusal::{FieldErrors, Refusal};
use crate::domain::registration::{NewNode, plain_name, unique_name};
use crate::domain::time::Timeline;
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
        used_by: Vec::new(),
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
        .filter(|(_, token)| token.revoked || token.expires_at <= act.now.wall)
        .map(|(key, _)| key)
        .collect();
    if dead.is_empty() {
        return Err(Refusal::TooManyTokens.into());
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

/// Newest first.
pub fn tokens(read: &impl Read, offset: usize, limit: usize) -> Result<Vec<EnrolmentToken>, Fault> {
    let (mut seen, mut page) = (0, Vec::new());
    read.for_each_back(ENROLMENT_TOKENS, .., |_, token| {
        if seen >= offset && page.len() < limit {
            page.push(token);
        }
        seen += 1;
        if page.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(page)
}

pub fn token_count(read: &impl Read) -> Result<u64, Fault> {
    read.count(ENROLMENT_TOKENS)
}

/// Revoking twice changes nothing.
pub fn revoke(tx: &mut WriteTx<'_>, act: &Act, id: &EnrolmentId) -> Result<(), TxError> {
    let mut token = token(tx, id)?.ok_or(Refusal::TokenUnknown)?;
    if token.revoked {
        return Ok(());
    }
    token.revoked = true;
    put(tx, &token)?;
    audit::append(tx, act.draft("enrolment_token.revoke", id.as_str()))
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

/// All rules of enrolment; a refusal changes nothing. `manager_key_hash` is this manager's.
pub fn enrol(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    manager_key_hash: &str,
    asked: &Enrolling,
) -> Result<Enrolled, TxError> {
    if asked.token.manager_key_hash != manager_key_hash {
        return Err(Refusal::TokenForOtherManager.into());
    }
    let token = token(tx, &asked.token.id)?.ok_or(Refusal::TokenUnknown)?;
    let usage = token.present(&asked.token, &asked.key, act.now.wall)?;
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
        (TokenUse::Fresh, None) => match &token.target {
            EnrolmentTarget::Node(id) => {
                let node = nodes::require(tx, id)?;
                claim(tx, directory, act, token, asked, node)
            }
            EnrolmentTarget::Pool(pool) => {
                let pool = *pool;
                enrol_into_pool(tx, directory, act, token, asked, pool)
            }
        },
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
    let node = bind(tx, directory, act, &token, asked, &before)?;
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
    if let Some(before) = earlier_life(tx, asked, &name)? {
        let node = bind(tx, directory, act, &token, asked, &before)?;
        return finish(tx, act, token, asked, node, How::SameMachine, None);
    }
    let pool = pools::by_index(tx, pool)?.ok_or(Refusal::PoolNotFound)?;
    nodes::check_room(tx, Some(&pool))?;
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
    let node = bind(tx, directory, act, &token, asked, &made)?;
    finish(tx, act, token, asked, node, How::New, twin)
}

/// The node that this machine was before it lost its key. One whose agent is still heard is another agent on the same machine, unless it even goes
/// by the same name.
fn earlier_life(tx: &WriteTx<'_>, asked: &Enrolling, name: &str) -> Result<Option<Node>, Fault> {
    let mut found: Option<Node> = None;
    for candidate in &asked.on_machine {
        let Some(node) = identified(tx, asked, candidate.index)? else { continue };
        let same_name = node.name == name;
        if same_name {
            return Ok(Some(node));
        }
        if !candidate.heard && found.is_none() {
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
fn bind(
    tx: &mut WriteTx<'_>,
    directory: &Arc<Directory>,
    act: &Act,
    token: &EnrolmentToken,
    asked: &Enrolling,
    before: &Node,
) -> Result<Node, TxError> {
    let mut node = before.clone();
    let identity = Identity { key: asked.key, fingerprint: asked.fingerprint.clone(), drift: None, enrolled_at: act.now.wall };
    let first = node.identity.replace(identity).is_none();
    node.hardware = Some(asked.hardware.clone());
    if first {
        // Without a trusted clock the slot is set when trust is earned (`nodes::date_enrolments`).
        node.enrolled_from = act.now.trusted.then(|| act.now.wall.slot().plus(1));
        if token.needs_approval {
            node.eligible = Timeline::new(Eligible::Suspended);
        }
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
    token.used_by.push((asked.key, node.id.clone()));
    put(tx, &token)?;
    let operation = match how {
        How::SameMachine => "node.key.replace",
        How::SameKey => "node.enrol.again",
        How::New | How::Claimed | How::Again => "node.enrol",
    };
    audit::append(tx, act.draft(operation, node.id.as_str()).because(format!("token {}", token.id)))?;
    Ok(Enrolled { node, how, twin })
}
