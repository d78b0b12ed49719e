//! Erasing people and operators of nodes, in one transaction each. What was written about them in the audit log goes with their key; the chain, the
//! ledger and the payouts stay as they are.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::tables::{ALERTS, Index, NODE_EVENTS, NODE_IDS, NODE_NAMES, NODES, PAYOUT_ADDRESSES, RETIRED_NODES, USER_NAMES, USERS};
use super::{audit, nodes, payouts, people, subject_keys};
use crate::domain::alert::Alert;
use crate::domain::audit::Act;
use crate::domain::ids::{NodeId, NodeIndex, UserId};
use crate::domain::ledger::{Book, Settlement};
use crate::domain::money::Currency;
use crate::domain::node::Node;
use crate::domain::privacy::{tombstone, without_operator, without_words};
use crate::domain::refusal::Refusal;
use crate::domain::user::username_key;
use crate::storage::directory::{self, Directory};
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Replaces the account with a tombstone, ends what it is signed in with, and destroys its key. People who were removed before can be erased too:
/// the log still names them.
pub fn erase_person(tx: &mut WriteTx<'_>, id: &UserId, act: &Act, reason: &str) -> Result<(), TxError> {
    if subject_keys::is_erased(tx, id.as_str())? {
        return Err(Refusal::AlreadyErased.into());
    }
    match people::user(tx, id)? {
        Some(user) => {
            if people::is_last_super_admin(tx, id)? {
                return Err(Refusal::LastSuperAdmin.into());
            }
            let left = tombstone(&user, act.now.wall);
            tx.delete(USER_NAMES, &username_key(&user.username))?;
            // The name may have been taken on purpose; then the tombstone is found by its id only.
            if tx.get(USER_NAMES, &left.username)?.is_none() {
                tx.put(USER_NAMES, &left.username, id)?;
            }
            tx.put(USERS, &id.to_string(), &left)?;
            people::end_sessions(tx, |_, session| session.user == *id)?;
        }
        None if !subject_keys::is_known(tx, id.as_str())? => return Err(Refusal::UserNotFound.into()),
        None => (),
    }
    subject_keys::erase(tx, id.as_str(), act.now.wall)?;
    audit::append(tx, act.draft("privacy.erase", id.as_str()).detailed(reason))
}

/// The node of this id, deleted or not.
pub fn node_ever(read: &impl Read, id: &NodeId) -> Result<Option<Node>, Fault> {
    match read.get(NODE_IDS, &id.as_str().to_owned())? {
        Some(Index(index)) => nodes::ever(read, NodeIndex(index)),
        None => Ok(None),
    }
}

/// Takes the operator out of a node: see `domain::privacy`. Its payout address goes; without one nothing more is paid, and a payout that is under way must
/// end first. Payouts that were made keep the address they went to: it is the record of money, and public on its chain.
pub fn erase_operator(tx: &mut WriteTx<'_>, directory: &Arc<Directory>, id: &NodeId, act: &Act, reason: &str) -> Result<(), TxError> {
    let before = node_ever(tx, id)?.ok_or(Refusal::NodeNotFound)?;
    if subject_keys::is_erased(tx, id.as_str())? {
        return Err(Refusal::AlreadyErased.into());
    }
    for settlement in [Settlement::Live, Settlement::Simulated] {
        for currency in [Currency::Usdt, Currency::Lucid] {
            if payouts::unresolved(tx, before.index, Book { settlement, currency })?.is_some() {
                return Err(Refusal::Rule("PayoutUnderWay", "a payout to the node is under way; it must end first".into()).into());
            }
        }
    }
    let left = without_operator(&before, act.now.wall);
    if nodes::by_index(tx, before.index)?.is_some() {
        tx.delete(NODE_NAMES, &nodes::name_key(before.pool_now(), &before.name))?;
        tx.put(NODE_NAMES, &nodes::name_key(left.pool_now(), &left.name), &Index(left.index.0))?;
        tx.put(NODES, &left.index.0, &left)?;
        directory::follow(tx, directory, &left);
    } else {
        tx.put(RETIRED_NODES, &left.index.0, &left)?;
    }
    tx.delete(PAYOUT_ADDRESSES, &left.index.0)?;
    silence_words(tx, &left)?;
    subject_keys::erase(tx, id.as_str(), act.now.wall)?;
    audit::append(tx, act.draft("privacy.erase", id.as_str()).detailed(reason))
}

/// Events and alerts say names in words.
fn silence_words(tx: &mut WriteTx<'_>, node: &Node) -> Result<(), TxError> {
    let (mut events, mut alerts) = (Vec::new(), Vec::new());
    tx.for_each(NODE_EVENTS, (node.index.0, 0)..=(node.index.0, u64::MAX), |key, event| {
        events.push((key, event));
        ControlFlow::Continue(())
    })?;
    for (key, event) in events {
        tx.put(NODE_EVENTS, &key, &without_words(event))?;
    }
    tx.for_each(ALERTS, .., |seq, alert| {
        if alert.subject == node.id.as_str() {
            alerts.push((seq, alert));
        }
        ControlFlow::Continue(())
    })?;
    for (seq, alert) in alerts {
        let message = format!("{} (its words were erased)", alert.kind);
        tx.put(ALERTS, &seq, &Alert { message, ..alert })?;
    }
    Ok(())
}
