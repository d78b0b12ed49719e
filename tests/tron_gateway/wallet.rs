//! What the wallet holds and what left it, by list and by search.

use lucid::domain::money::Units;
use lucid::domain::time::Timestamp;
use lucid::domain::wallet::WalletRow;
use lucid::gateways::payment::PaymentGateway;

use crate::support::rig::{Rig, USDT, attempt, payee, tron};
use crate::support::tron::chain::Inclusion;
use crate::support::tron::token::{TRANSFER_FROM, number};
use crate::support::tron::transaction::Call;
use crate::support::tron::wallet::Wallet;
use crate::support::tron::{Address, Fault, Lie, When};

#[tokio::test]
async fn the_wallet_is_read_as_it_is_final() {
    let rig = Rig::new(0);
    let reading = rig.gateway.wallet().await.unwrap().unwrap();
    assert_eq!((reading.address, reading.network), (rig.wallet.account.to_string(), rig.gateway.pin().network));
    assert_eq!((reading.balance, reading.trx_sun), (Units(1_000_000_000_000), 100_000_000_000));
    assert_eq!((reading.energy_price_sun, reading.bandwidth_price_sun), (100, 1_000));
    assert_eq!((reading.energy_known, reading.energy_new), (64_285, 130_285));
    assert_eq!((reading.energy_free, reading.bandwidth_free), (0, 600));
    assert_eq!(reading.head_at.0 - reading.solid_at.0, 54_000);
    rig.sent(1).await;
    rig.advance(30);
    let balance = async || rig.gateway.wallet().await.unwrap().unwrap().balance;
    assert_eq!(balance().await, Units(1_000_000_000_000), "what is not final has not left");
    rig.advance(90);
    assert_eq!(balance().await, Units(999_990_000_000));
    let owner = rig.owner;
    rig.network().chain.set_usdt(owner, 0);
    let poor = rig.gateway.wallet().await.unwrap().unwrap();
    assert_eq!((poor.balance, poor.energy_known, poor.energy_new), (Units(0), 64_285, 130_285), "what cannot be simulated is known");
    rig.network().nodes[0].faults.add("getaccount", When::Always, Fault::Status(503));
    assert!(rig.gateway.wallet().await.is_err());
}

/// So many transfers, with time between them: their transactions, and the final block before the first.
async fn spent(rig: Rig, transfers: u64, seconds_between: i64) -> (Rig, Vec<String>, u64) {
    let start = rig.network().chain.solid();
    let mut ids = Vec::new();
    for number in 1..=transfers {
        let (payout, _) = rig.sent(number).await;
        ids.push(attempt(&payout).prepared.txid.clone().unwrap());
        rig.advance(seconds_between);
    }
    (rig, ids, start)
}

/// Transfers over some hours, and a node with or without lists.
async fn lived(grid: bool) -> (Rig, Vec<String>, u64) {
    let rig = Rig::new(0);
    rig.network().nodes[0].grid = grid;
    spent(rig, 6, 900).await
}

#[tokio::test]
async fn every_transfer_out_is_found_by_list_and_by_search() {
    for grid in [true, false] {
        let (rig, ids, start) = lived(grid).await;
        let (mut after, mut found, mut pages) = (start, Vec::new(), 0);
        loop {
            let page = rig.gateway.outgoing(after).await.unwrap();
            assert!(
                page.through_block > after
                    && page.transfers.iter().all(|transfer| (after + 1..=page.through_block).contains(&transfer.block))
            );
            pages += 1;
            found.extend(page.transfers);
            after = page.through_block;
            if page.is_last {
                assert_eq!((page.balance, page.balance_block), (Units(1_000_000_000_000 - 60 * USDT), after));
                break;
            }
        }
        assert_eq!(found.iter().map(|transfer| transfer.txid.clone()).collect::<Vec<_>>(), ids, "grid: {grid}");
        assert!(found.iter().all(|transfer| transfer.amount == Units(10 * USDT)));
        assert_eq!(found[0].to, tron(&payee(1)).to_string());
        let searched = rig.network().nodes[0].requests.get("/walletsolidity/gettransactioninfobyblocknum").copied().unwrap_or(0);
        assert_eq!((pages, searched < 100), (if grid { 1 } else { 2 }, grid), "{searched} blocks were searched");
        assert!(rig.gateway.outgoing(after).await.unwrap().transfers.is_empty());
        assert_eq!(rig.gateway.outgoing(after + 7).await.unwrap().through_block, after, "who is behind says so");
    }
}

#[tokio::test]
async fn a_long_search_goes_page_by_page() {
    let rig = Rig::new(0);
    rig.network().nodes[0].grid = false;
    let start = rig.network().chain.solid();
    rig.sent(1).await;
    rig.advance(3 * 1_500);
    rig.sent(2).await;
    rig.advance(120);
    let first = rig.gateway.outgoing(start).await.unwrap();
    assert_eq!((first.transfers.len(), first.through_block, first.is_last), (1, start + 1_000, false));
    let second = rig.gateway.outgoing(first.through_block).await.unwrap();
    assert_eq!((second.transfers.len(), second.is_last), (1, true));
    // The balance, which has lost the second already, accuses nobody on the first page.
    let row = WalletRow { through_block: start, floor: Units(1_000_000_000_000), ..WalletRow::default() };
    let (row, missing) = row.followed_by(&first, Timestamp(1)).unwrap();
    assert_eq!(missing, Units::ZERO);
    assert_eq!(row.followed_by(&second, Timestamp(2)).unwrap().1, Units::ZERO);
}

#[tokio::test]
async fn a_list_of_hundreds_is_read_to_its_end() {
    let rig = Rig::new(0);
    let start = rig.network().chain.solid();
    for wave in 0..3 {
        for number in 0..100 {
            rig.sent(wave * 100 + number).await;
        }
        rig.advance(300);
    }
    let page = rig.gateway.outgoing(start).await.unwrap();
    assert_eq!((page.transfers.len(), page.is_last), (300, true));
}

#[tokio::test]
async fn a_list_that_leaves_something_out_is_told_by_the_balance() {
    let (rig, ids, start) = lived(true).await;
    rig.network().nodes[0].faults.add("v1", When::Always, Fault::Lie(Lie::ShortHistory));
    let page = rig.gateway.outgoing(start).await.unwrap();
    assert_eq!(page.transfers.len(), ids.len() - 1);
    let row = WalletRow { through_block: start, floor: Units(1_000_000_000_000), ..WalletRow::default() };
    assert!(row.followed_by(&page, Timestamp(1)).unwrap().1 > Units::ZERO);
}

#[tokio::test]
async fn junk_in_a_list_is_not_ours() {
    let (rig, ids, start) = lived(true).await;
    let (contract, to) = (Address::labelled("another token"), Address::labelled("a thief"));
    rig.network().nodes[0].faults.add("v1", When::Always, Fault::Lie(Lie::JunkHistory { contract, to, amount: 5 }));
    let page = rig.gateway.outgoing(start).await.unwrap();
    assert_eq!(page.transfers.iter().map(|transfer| transfer.txid.clone()).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_reconciles_nothing() {
    for (path, fault) in [
        ("v1", Fault::Status(429)),
        ("v1", Fault::Truncated),
        ("v1", Fault::NotJson),
        ("walletsolidity/getnowblock", Fault::Limiter),
        ("triggerconstantcontract", Fault::NotReached),
        ("gettransactioninfobyid", Fault::HistoryOff),
        ("gettransactioninfobyblocknum", Fault::WrongShape),
        ("getblockbynum", Fault::Lie(Lie::Ahead(0))),
    ] {
        let (rig, ids, start) = lived(true).await;
        rig.network().nodes[0].faults.add(path, When::Always, fault.clone());
        match rig.gateway.outgoing(start).await {
            Ok(page) => {
                assert!(matches!(fault, Fault::Lie(_) | Fault::WrongShape) && page.transfers.len() == ids.len(), "{path} {fault:?}")
            }
            Err(why) => assert!(!why.0.is_empty(), "{path} {fault:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_that_keeps_no_receipts_lists_nothing() {
    let (rig, _, start) = lived(false).await;
    rig.network().nodes[0].history = false;
    let told = rig.gateway.outgoing(start).await.unwrap_err().0;
    assert!(told.contains("no receipts"), "{told}");
}

#[tokio::test]
async fn the_signer_says_when_all_that_it_signed_is_over() {
    let rig = Rig::new(1);
    rig.advance(300);
    assert_eq!(rig.gateway.signed_span().await, Ok(None));
    let payout = rig.signed(&rig.payout(1, 10)).await;
    let prepared = &payout.attempts[0].prepared;
    let first = prepared.timestamp_ms;
    let span = rig.gateway.signed_span().await.unwrap().unwrap();
    assert_eq!(span.last_timestamp_ms, first);
    assert!(span.over_at >= prepared.expires_at.unwrap() && span.begins_at.0 < first);
    rig.advance(7_000);
    let later = rig.signed(&rig.payout(2, 10)).await;
    let span = rig.gateway.signed_span().await.unwrap().unwrap();
    assert_eq!(span.last_timestamp_ms, later.attempts[0].prepared.timestamp_ms);
    assert!(span.begins_at.0 < first);
    // Where the first one of them could be, at the earliest.
    let before = rig.gateway.block_before(span.begins_at).await.unwrap();
    let network = rig.network();
    let at = |number: u64| network.chain.block(number).unwrap().timestamp_ms;
    assert_eq!(before.at.0, at(before.number));
    assert!(before.at < span.begins_at && at(before.number + 1) >= span.begins_at.0);
}

/// Transfers over some minutes, and witnesses.
async fn witnessed(witnesses: usize) -> (Rig, Vec<String>, u64) {
    spent(Rig::new(witnesses), 4, 300).await
}

fn sorted(transfers: &[lucid::domain::wallet::Outgoing]) -> Vec<String> {
    transfers.iter().map(|transfer| transfer.txid.clone()).collect()
}

#[tokio::test]
async fn two_nodes_have_to_list_the_same_transfers() {
    // Each knows it in its own way: by list or by search.
    for (mine, theirs) in [(true, true), (true, false), (false, true), (false, false)] {
        let (rig, ids, start) = witnessed(1).await;
        (rig.network().nodes[0].grid, rig.network().nodes[1].grid) = (mine, theirs);
        let page = rig.gateway.outgoing(start).await.unwrap();
        assert_eq!((sorted(&page.transfers), page.is_last), (ids, true), "{mine} {theirs}");
    }
    let hidden: [&[(&str, Lie)]; 3] = [
        &[("v1", Lie::ShortHistory)],
        &[("gettransactioninfobyid", Lie::Amount(1))],
        &[("v1", Lie::ShortHistory), ("triggerconstantcontract", Lie::Value(1_000_000_000_000))],
    ];
    for (lies, liar) in hidden.iter().flat_map(|lies| [(lies, 0), (lies, 1)]) {
        let (rig, ids, start) = witnessed(2).await;
        for (path, lie) in *lies {
            rig.network().nodes[liar].faults.add(path, When::Always, Fault::Lie(lie.clone()));
        }
        match rig.gateway.outgoing(start).await {
            Err(why) => assert!(liar == 0 && why.0.contains("different transfers"), "{why}"),
            // The other witness and the node say the same.
            Ok(page) => assert_eq!((liar, sorted(&page.transfers)), (1, ids), "{lies:?}"),
        }
    }
}

#[tokio::test]
async fn a_witness_may_be_ahead_or_behind_but_not_away() {
    for (node, lag) in [(0, 7), (1, 7), (0, 1), (1, 1), (0, 100), (1, 100)] {
        let (rig, ids, start) = witnessed(1).await;
        rig.network().nodes[node].lag = lag;
        let solid = rig.network().chain.solid();
        let page = rig.gateway.outgoing(start).await.unwrap();
        assert!(page.is_last && page.through_block <= solid, "{node} {lag}");
        let listed = sorted(&page.transfers);
        assert_eq!(listed, ids[..listed.len()], "{node} {lag}");
        // What the balance lost after the page accuses nobody, nor does what is listed twice by time.
        let row = WalletRow { through_block: start, floor: Units(1_000_000_000_000), ..WalletRow::default() };
        let (row, missing) = row.followed_by(&page, Timestamp(1)).unwrap();
        assert_eq!(missing, Units::ZERO, "{node} {lag}");
        rig.network().nodes[node].lag = 0;
        let next = rig.gateway.outgoing(page.through_block).await.unwrap();
        assert_eq!(listed.len() + next.transfers.len(), ids.len());
        assert_eq!(row.followed_by(&next, Timestamp(2)).unwrap().1, Units::ZERO, "{node} {lag}");
    }
    let (rig, _, start) = witnessed(2).await;
    rig.network().nodes[1].faults.add("", When::Always, Fault::NotReached);
    assert!(rig.gateway.outgoing(start).await.is_ok(), "one witness is enough");
    rig.network().nodes[2].faults.add("", When::Always, Fault::Status(503));
    let why = rig.gateway.outgoing(start).await.unwrap_err();
    assert!(why.0.contains("two nodes"), "{why}");
}

/// Anybody moves nothing out of the wallet, so that it looks as if it had paid `to`.
fn poison(rig: &Rig, to: Address) {
    let (mut network, thief) = (rig.network(), Wallet::labelled("thief"));
    network.chain.give_trx(thief.address, 1_000_000_000);
    let mut raw = thief.raw(&network.chain, to, 0);
    let Call::TriggerSmartContract { data, .. } = &mut raw.call else { panic!("no call") };
    *data = [&TRANSFER_FROM[..], &rig.owner.word(), &to.word(), &number(0)].concat();
    let signed = thief.sign(raw);
    network.broadcast(0, signed, Inclusion::Next);
}

#[tokio::test]
async fn what_moved_nothing_has_not_left_the_wallet() {
    for grid in [true, false] {
        let (rig, ids, start) = witnessed(1).await;
        rig.network().nodes[0].grid = grid;
        for number in 0..5 {
            poison(&rig, Address::labelled(&format!("who looks like a payee {number}")));
            rig.advance(40);
        }
        rig.advance(200);
        {
            let network = rig.network();
            let blocks = (start..=network.chain.solid()).filter_map(|number| network.chain.block(number));
            let logged = blocks.flat_map(|block| &block.transactions).filter(|held| held.receipt.logs.len() == 1).count();
            assert_eq!(logged, ids.len() + 5, "they are on the chain");
        }
        let page = rig.gateway.outgoing(start).await.unwrap();
        assert_eq!((sorted(&page.transfers), page.is_last), (ids, true), "grid: {grid}");
    }
}

#[tokio::test]
async fn a_witness_that_hangs_does_not_hold_the_other_one_up() {
    for hangs in [1, 2] {
        let (rig, ids, start) = witnessed(2).await;
        rig.network().nodes[hangs].lag = 400;
        let solid = rig.network().chain.solid();
        let page = rig.gateway.outgoing(start).await.unwrap();
        assert_eq!((sorted(&page.transfers), page.through_block), (ids, solid), "{hangs}");
    }
    let (rig, _, start) = witnessed(2).await;
    (rig.network().nodes[1].lag, rig.network().nodes[2].lag) = (300, 200);
    let solid = rig.network().chain.solid();
    assert!(rig.gateway.outgoing(start).await.unwrap().through_block > solid - 250, "the one that knows more");
}
