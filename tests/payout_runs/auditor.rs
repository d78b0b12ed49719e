//! Counts what the chain really paid. No product code decides anything here: the chain's own state, what the signers signed, and what was owed.

use std::collections::BTreeMap;

use lucid::domain::ledger::Account;
use lucid::domain::money::Units;
use lucid::domain::payout::State;
use lucid::storage::core::{alerts, ledger, money};
use lucid::storage::verify::verify;

use super::world::{BOOK, World};
use crate::support::rig::lock;
use crate::support::tron::address::hex;
use crate::support::tron::auditor::Paid;
use crate::support::tron::block::VmResult;

pub type Found = String;

pub fn transfers(world: &World) -> Vec<Paid> {
    let network = lock(&world.network);
    network.chain.audit().into_iter().filter(|paid| paid.result == VmResult::Success).collect()
}

fn paid_to(world: &World, transfers: &[Paid]) -> BTreeMap<u32, i64> {
    let mut sums = BTreeMap::new();
    for (node, (_, addresses)) in &world.owed {
        let sum: u128 = transfers.iter().filter(|paid| addresses.contains(&paid.to)).map(|paid| paid.amount).sum();
        sums.insert(node.0, i64::try_from(sum).unwrap());
    }
    sums
}

/// What holds at every moment: no payout twice, no node more than it is owed, and nothing believed that is not so.
pub fn look(world: &World) -> Result<(), Found> {
    let transfers = transfers(world);
    let mut by_payout: BTreeMap<String, Vec<&Paid>> = BTreeMap::new();
    for paid in &transfers {
        let issued = lock(&world.issued).get(&paid.txid).cloned();
        let issued = issued.ok_or_else(|| format!("nobody signed {}", hex(&paid.txid)))?;
        if issued.to != paid.to.base58() || u128::from(issued.amount) != paid.amount {
            return Err(format!("{issued:?} is not what was executed: {paid:?}"));
        }
        by_payout.entry(issued.payout).or_default().push(paid);
    }
    for (payout, paid) in &by_payout {
        if paid.len() > 1 {
            return Err(format!("{payout} was paid {} times: {paid:?}", paid.len()));
        }
    }
    let sums = paid_to(world, &transfers);
    for (node, (owed, _)) in &world.owed {
        if sums[&node.0] > owed.0 {
            return Err(format!("node {} was owed {} and paid {}: {transfers:?}", node.0, owed.0, sums[&node.0]));
        }
    }
    for payout in world.payouts() {
        let paid = by_payout.get(payout.id.as_str()).map(|paid| paid[0]);
        match (&payout.state, paid) {
            (State::Open, _) => (),
            (State::Paid { .. }, Some(paid)) => {
                let exact = paid.to.base58() == payout.address.as_str() && i64::try_from(paid.amount) == Ok(payout.amount.0);
                if !exact || !paid.solid {
                    return Err(format!("{payout:?} is believed paid by {paid:?}"));
                }
            }
            (State::Paid { .. }, None) => return Err(format!("{payout:?} is believed paid")),
            // A person booked it as a transfer that this copy of the store does not know.
            (_, Some(paid)) if is_booked(world, &hex(&paid.txid)) => (),
            // The other card paid it: this one learns of it when it next reconciles, and is asked at the end.
            (_, Some(_)) if world.is_copied => (),
            (_, Some(paid)) => return Err(format!("{payout:?} is believed unpaid, and {paid:?}")),
            (_, None) => (),
        }
    }
    Ok(())
}

fn is_booked(world: &World, txid: &str) -> bool {
    money::unknown(&world.store().read().unwrap(), txid).unwrap().is_some_and(|row| row.booked_at.is_some())
}

/// Everything that was owed has been paid on the chain, whatever the books say.
pub fn is_paid(world: &World) -> bool {
    let sums = paid_to(world, &transfers(world));
    world.owed.iter().all(|(node, (owed, _))| sums[&node.0] == owed.0)
}

/// The same, and no payout is open.
pub fn is_settled(world: &World) -> bool {
    is_paid(world) && world.payouts().iter().all(|payout| !payout.is_open())
}

/// What somebody is told of.
pub fn alarms(world: &World) -> Vec<String> {
    let all = alerts::all_open(&world.store().read().unwrap()).unwrap();
    all.into_iter().map(|alert| format!("{} {}: {}", alert.kind, alert.subject, alert.message)).collect()
}

/// The books say what the chain did, and add up.
pub fn settle(world: &World) -> Result<(), Found> {
    let transfers = transfers(world);
    let sums = paid_to(world, &transfers);
    let store = world.store();
    let read = store.read().unwrap();
    let balance = |account| ledger::balance(&read, BOOK, account).unwrap();
    for (node, (owed, _)) in &world.owed {
        let [paid, reserved, payable] = [Account::NodePaid(*node), Account::NodeReserved(*node), Account::NodePayable(*node)].map(balance);
        if paid != Units(sums[&node.0]) || reserved != Units::ZERO || payable.plus(paid) != Ok(*owed) {
            let told = format!("owed {owed:?}, paid {paid:?}, reserved {reserved:?}, payable {payable:?}");
            return Err(format!("node {}: {told}; the chain paid {}", node.0, sums[&node.0]));
        }
    }
    for finding in verify(&store) {
        if let Some(wrong) = finding.wrong {
            return Err(format!("{}: {wrong}", finding.part));
        }
    }
    Ok(())
}
