//! What goes wrong in a run, by its seed.

use crate::support::rig::{Shared, lock};
use crate::support::tron::block::VmResult;
use crate::support::tron::chain::SLOT_MS;
use crate::support::tron::node::Node;
use crate::support::tron::random::Random;
use crate::support::tron::{Address, Fault, Lie, Network, Replay, When};

use super::world::{PEERS, payee};

fn below(random: &mut Random, below: usize) -> usize {
    usize::try_from(random.below(below as u64)).unwrap()
}

fn pick<T: Clone>(random: &mut Random, of: &[T]) -> T {
    of[below(random, of.len())].clone()
}

fn slots(random: &mut Random, most: u64) -> i64 {
    SLOT_MS * i64::try_from(random.below(most)).unwrap()
}

/// Of any request.
fn mishap(random: &mut Random) -> Fault {
    let some = [
        Fault::LostResponse,
        Fault::NotReached,
        Fault::CutBody(30),
        Fault::TimeoutAfter,
        Fault::TimeoutBefore,
        Fault::Status(pick(random, &[401, 403, 404, 413, 429, 500, 503])),
        Fault::StatusAfter(pick(random, &[500, 502, 503])),
        Fault::Limiter,
        Fault::LiteText,
        Fault::HistoryOff,
        Fault::ErrorBody("class java.lang.NullPointerException : null"),
        Fault::Truncated,
        Fault::NotJson,
        Fault::WrongShape,
        Fault::EmptyBody,
        Fault::Stale(1 + random.below(60)),
    ];
    pick(random, &some)
}

/// Of a broadcast.
fn refusal(random: &mut Random) -> Fault {
    let codes = [
        "SERVER_BUSY",
        "NO_CONNECTION",
        "BLOCK_UNSOLIDIFIED",
        "TAPOS_ERROR",
        "SIGERROR",
        "CONTRACT_VALIDATE_ERROR",
        "CONTRACT_EXE_ERROR",
        "BANDWITH_ERROR",
        "DUP_TRANSACTION_ERROR",
        "TRANSACTION_EXPIRATION_ERROR",
        "OTHER_ERROR",
    ];
    let some = [
        Fault::P2pFailed,
        Fault::Refused(pick(random, &codes)),
        Fault::Refused(pick(random, &codes)),
        Fault::NeverIncluded,
        Fault::NeverIncluded,
        Fault::IncludedAfter(slots(random, 230)),
        Fault::LostResponse,
        Fault::TimeoutAfter,
    ];
    pick(random, &some)
}

fn lie(random: &mut Random, owner: Address) -> Lie {
    let to = payee(below(random, 3), 0);
    let amount = u128::from(random.below(90_000_000));
    let some = [
        Lie::Amount(amount),
        Lie::LogContract(Address::labelled("another token")),
        Lie::Recipient(Address::labelled("somebody else")),
        Lie::Sender(Address::labelled("somebody else")),
        Lie::NoLog,
        Lie::Result(VmResult::Revert),
        Lie::Result(VmResult::Success),
        Lie::Id,
        Lie::BlockNumber(80_000_001 + random.below(100)),
        Lie::Paid { from: owner, to, amount },
        Lie::NoReceipt,
        Lie::NoReceipt,
        Lie::Accepted,
        Lie::Value(amount),
        Lie::Unlinked,
        Lie::EmptyBlocks,
        Lie::ShortHistory,
        Lie::Ahead(1 + random.below(100)),
        Lie::JunkHistory { contract: Address::labelled("another token"), to, amount },
    ];
    pick(random, &some)
}

/// One more thing goes wrong. `liar` is the only node that says what is not so.
pub fn strike(random: &mut Random, shared: &Shared, liar: Option<usize>, owner: Address) {
    let mut network = lock(shared);
    let Network { chain, nodes } = &mut *network;
    let at = below(random, PEERS);
    match random.below(24) {
        0..=3 => nodes[at].faults.add("", When::Chance(20 + u16::try_from(random.below(300)).unwrap()), mishap(random)),
        4..=6 => {
            let fault = refusal(random);
            let everywhere = random.chance(500);
            for (number, node) in nodes.iter_mut().enumerate() {
                if everywhere || number == at {
                    node.faults.add("broadcasthex", When::Chance(200 + u16::try_from(random.below(801)).unwrap()), fault.clone());
                }
            }
        }
        7..=9 => {
            if let Some(liar) = liar {
                nodes[liar].faults.add("", When::Chance(200 + u16::try_from(random.below(801)).unwrap()), Fault::Lie(lie(random, owner)));
            }
        }
        10 => nodes[at].lag = random.below(120),
        11 => nodes[at].stuck_at = Some(chain.head().number),
        12 => nodes[at].solid_stuck_at = Some(nodes[at].solid_stuck_at.unwrap_or(u64::MAX).min(chain.solid())),
        13 => {
            let depth = random.below(30);
            nodes[at].fork_off(chain, depth.min(chain.head().number - chain.solid()));
            // Few producers build on such a branch: nothing of it becomes final.
            nodes[at].solid_stuck_at = Some(chain.solid());
        }
        14 => nodes[at].history = false,
        15 => match random.below(4) {
            0 => nodes[at].lite = true,
            1 => nodes[at].grid = false,
            2 => nodes[at].transaction_cache = true,
            _ => nodes[at].requests_per_second = Some(1 + u32::try_from(random.below(30)).unwrap()),
        },
        16 if liar == Some(at) => nodes[at].genesis = Some([7; 32]),
        16 | 17 => {
            let fate = random.below(3);
            chain.reorg(1 + random.below(17), |id| match (u64::from(id[0]) + fate) % 4 {
                0 => Replay::Included,
                1 | 2 => Replay::After(30_000),
                _ => Replay::Dropped,
            });
        }
        18 => chain.freeze_solid(random.chance(600)),
        19 => {
            let results = [VmResult::Revert, VmResult::OutOfEnergy, VmResult::OutOfTime, VmResult::BadJumpDestination];
            chain.forced_results.push_back(pick(random, &results));
        }
        20 => match random.below(3) {
            0 => chain.token.paused = !chain.token.paused,
            _ => drop(chain.token.blacklisted.insert(payee(below(random, 3), 0))),
        },
        21 => chain.set_trx(owner, i64::try_from(random.below(20_000_000)).unwrap()),
        22 => nodes.iter_mut().for_each(calm),
        _ => nodes[at] = quiet(random),
    }
}

/// One that has forgotten what it was sent, as after its own restart.
fn quiet(random: &mut Random) -> Node {
    Node::new(random.next())
}

fn calm(node: &mut Node) {
    node.faults.clear();
    (node.lag, node.stuck_at, node.solid_stuck_at, node.genesis) = (0, None, None, None);
    (node.history, node.lite, node.grid, node.transaction_cache, node.requests_per_second) = (true, false, true, false, None);
    node.rejoin();
}

/// Everybody is honest and well from now on, and there is money.
pub fn heal(shared: &Shared, owners: &[Address]) {
    let mut network = lock(shared);
    let Network { chain, nodes } = &mut *network;
    nodes.iter_mut().for_each(calm);
    chain.freeze_solid(false);
    chain.forced_results.clear();
    (chain.token.paused, chain.producing) = (false, true);
    chain.token.blacklisted.clear();
    for owner in owners {
        chain.set_trx(*owner, 10_000_000_000);
    }
}
