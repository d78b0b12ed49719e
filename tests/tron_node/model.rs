//! Random lives of the chain: what it holds is what its blocks say, and the same seed lives the same life.

use std::collections::BTreeMap;

use serde_json::json;

use super::{USDT, network_of, send};
use crate::support::random::Random as Seeds;
use crate::support::tron::block::VmResult;
use crate::support::tron::random::Random;
use crate::support::tron::{Address, Fault, Lie, Network, Replay, Wallet, When};

const STEPS: usize = 120;

fn payees() -> Vec<Address> {
    ["a", "b", "c", "d"].map(Address::labelled).to_vec()
}

fn step(network: &mut Network, wallet: &Wallet, random: &mut Random) -> Vec<u8> {
    let pick = usize::try_from(random.below(4)).unwrap();
    match random.below(12) {
        0..5 => {
            let mut raw = wallet.raw(&network.chain, payees()[pick], u128::from(1 + random.below(60)) * USDT);
            raw.timestamp_ms = i64::try_from(random.next() >> 24).unwrap();
            raw.fee_limit = if random.chance(100) { 1_000_000 } else { 30_000_000 };
            let transaction = wallet.sign(raw);
            let node = usize::try_from(random.below(2)).unwrap();
            return send(network, node, &transaction).to_string().into_bytes();
        }
        5..8 => network.chain.advance(i64::try_from(random.below(20_000)).unwrap()),
        8 => network.chain.token.paused = random.chance(300),
        9 => {
            let depth = random.below(20);
            let salt = u8::try_from(random.below(256)).unwrap();
            network.chain.reorg(depth, |txid| match (txid[0] ^ salt) % 3 {
                0 => Replay::Included,
                1 => Replay::After(i64::from(txid[1]) * 100),
                _ => Replay::Dropped,
            });
        }
        10 => network.nodes[1].lag = random.below(30),
        _ => {
            let asked = json!({ "address": wallet.address.hex() });
            return network.post(pick % 2, "/wallet/getaccount", &asked).body;
        }
    }
    network.post(pick % 2, "/wallet/getnowblock", &json!({})).body
}

fn life(seed: u64, mut after: impl FnMut(&Network, &Wallet)) -> Vec<Vec<u8>> {
    let (mut network, wallet) = network_of(2);
    let mut random = Random::new(seed);
    network.nodes[0].faults.add("broadcasthex", When::Chance(100), Fault::NeverIncluded);
    network.nodes[0].faults.add("broadcasthex", When::Chance(100), Fault::IncludedAfter(20_000));
    network.nodes[1].faults.add("", When::Chance(50), Fault::Lie(Lie::Ahead(3)));
    (0..STEPS)
        .map(|_| {
            let answer = step(&mut network, &wallet, &mut random);
            after(&network, &wallet);
            answer
        })
        .collect()
}

#[test]
fn balances_are_what_the_blocks_say() {
    let mut seeds = Seeds::new();
    let mut paid = 0;
    for _ in 0..10 {
        let seed = seeds.within(0, u64::from(u32::MAX));
        life(seed, |network, wallet| {
            let chain = &network.chain;
            let mut usdt: BTreeMap<Address, i128> = [(wallet.address, 1_000_000_000)].into();
            for paid in chain.audit().iter().filter(|paid| paid.result == VmResult::Success) {
                *usdt.entry(paid.from).or_default() -= i128::try_from(paid.amount).unwrap();
                *usdt.entry(paid.to).or_default() += i128::try_from(paid.amount).unwrap();
            }
            for (address, amount) in &usdt {
                assert_eq!(chain.usdt(address), *amount, "seed {seed}");
            }
            assert_eq!(chain.holders().values().sum::<i128>(), 1_000_000_000, "seed {seed}");
            assert_eq!(chain.trx(&wallet.address), Some(1_000_000_000 - chain.fees(&wallet.address)), "seed {seed}");
            // As it was at the solid head.
            let solid: i128 = chain
                .audit()
                .iter()
                .filter(|paid| paid.solid && paid.result == VmResult::Success)
                .map(|paid| i128::try_from(paid.amount).unwrap())
                .sum();
            assert_eq!(chain.usdt_at(&wallet.address, chain.solid()), 1_000_000_000 - solid, "seed {seed}");
            let mut txids: Vec<_> = chain.audit().iter().map(|paid| paid.txid).collect();
            txids.sort_unstable();
            txids.dedup();
            assert_eq!(txids.len(), chain.audit().len(), "seed {seed}: a transaction is in one block");
            paid = paid.max(txids.len());
        });
    }
    assert!(paid > 5, "{paid} transfers in the busiest life");
}

#[test]
fn the_same_seed_lives_the_same_life() {
    assert!(life(5, |_, _| {}) == life(5, |_, _| {}), "to the last byte");
    assert!(life(5, |_, _| {}) != life(6, |_, _| {}));
}
