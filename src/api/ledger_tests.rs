//! Adjustments, rewards, statements and the check of the books, through the router.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::read_tests::{World, field, name};
use super::testing::T;
use crate::domain::ids::NodeIndex;
use crate::domain::ledger::{Account, Book, Entry, Settlement};
use crate::domain::money::{Currency, Units};
use crate::storage::core::tables::BALANCES;
use crate::storage::core::{audit, ledger};
use crate::storage::table::Read;

const LIVE: Book = Book { settlement: Settlement::Live, currency: Currency::Usdt };

impl World {
    async fn post(&self, token: &str, path: &str, body: Value) -> (StatusCode, Value) {
        self.site.as_bearer(token, Method::POST, &format!("/api/v1{path}"), Some(body)).await
    }

    fn adjustment(&self, amount: Value) -> Value {
        json!({"node_id": self.node.id.as_str(), "amount": amount, "currency": "USDT", "reason": "by agreement"})
    }

    fn postings(&self) -> u64 {
        self.site.state.store.read().unwrap().count(crate::storage::core::tables::POSTINGS).unwrap()
    }

    fn balance(&self, book: Book, node: NodeIndex) -> i64 {
        ledger::balance(&self.site.state.store.read().unwrap(), book, Account::NodePayable(node)).unwrap().0
    }
}

#[tokio::test]
async fn an_admin_corrects_a_balance_within_what_is_free() {
    let world = World::new().await;
    let (status, made) = world.post(&world.root, "/ledger/adjustments", world.adjustment(json!("12.500001"))).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let node = world.node.id.as_str();
    assert_eq!(made["settlement"], "simulated");
    assert_eq!(made["cause"]["reason"], "by agreement");
    assert_eq!(made["lines"][0], json!({"account": format!("node_payable:{node}"), "name": world.node.name, "amount": "12.500001"}));
    let (status, refused) = world.post(&world.root, "/ledger/adjustments", world.adjustment(json!(-12.500002))).await;
    assert_eq!((status.as_u16(), name(&refused), field(&refused)), (422, "AdjustmentTooLarge", "amount"));
    assert!(refused["error"]["message"].as_str().unwrap().contains("12.500001 USDT"), "{refused}");
    let mut live = world.adjustment(json!(1));
    live["settlement"] = json!("live");
    assert_eq!(world.post(&world.root, "/ledger/adjustments", live).await.0, StatusCode::CREATED);
    assert_eq!(world.post(&world.root, "/ledger/adjustments", world.adjustment(json!("-12.500001"))).await.0, StatusCode::CREATED);
    assert_eq!((world.balance(LIVE, world.node.index), world.postings()), (1_000_000, 3));
    let entry = &audit::page(&world.site.state.store.read().unwrap(), 0, 1).unwrap()[0];
    assert_eq!((entry.draft.operation.as_str(), entry.draft.subject.as_str()), ("ledger.adjust", node));
    let (_, history) = world.get(&format!("/nodes/{node}/history?limit=100")).await;
    assert_eq!(history.to_string().matches("\"adjusted\"").count(), 3, "{history}");
}

#[tokio::test]
async fn what_is_wrong_with_an_adjustment_is_named_and_only_admins_make_one() {
    let world = World::new().await;
    for (amount, what) in
        [(json!(0), "1000000"), (json!("1000000.000001"), "1000000"), (json!("0.0000001"), "decimal"), (json!("x"), "number")]
    {
        let (status, body) = world.post(&world.root, "/ledger/adjustments", world.adjustment(amount.clone())).await;
        assert_eq!((status.as_u16(), field(&body)), (400, "amount"), "{amount}");
        assert!(body.to_string().contains(what), "{body}");
    }
    let (status, body) = world
        .post(
            &world.root,
            "/ledger/adjustments",
            json!({"node_id": "node_nobody_at_all", "amount": 1, "currency": "USDT", "reason": "why"}),
        )
        .await;
    assert_eq!((status.as_u16(), field(&body)), (404, "node_id"));
    let (_, body) =
        world.post(&world.root, "/ledger/adjustments", json!({"node_id": "no", "amount": 0, "currency": "USDT", "reason": "  a "})).await;
    assert_eq!(body["error"]["details"]["fields"].as_array().unwrap().len(), 3, "{body}");
    let operator = world.site.person(&world.root, "olga", "operator").await;
    let made = world.post(&world.root, "/tokens", json!({"name": "program", "role": "admin", "expires_in_days": 3})).await.1;
    let program = made["token"].as_str().unwrap();
    for (path, body) in [
        ("/ledger/adjustments", world.adjustment(json!(1))),
        ("/pools/pool_default/rewards", json!({"amount": 1, "currency": "USDT", "split": "equal", "reason": "bonus"})),
        ("/ledger/check", json!({})),
    ] {
        for token in [operator.as_str(), program] {
            assert_eq!(world.post(token, path, body.clone()).await.0, StatusCode::FORBIDDEN, "{path}");
        }
    }
    world.site.driver.advance_ms(301_000);
    let (status, body) = world.post(&world.root, "/ledger/adjustments", world.adjustment(json!(1))).await;
    assert_eq!((status.as_u16(), name(&body)), (403, "FreshFactorNeeded"));
    assert_eq!(world.postings(), 0);
}

#[tokio::test]
async fn a_reward_is_shown_before_it_is_given_and_owed_in_both_books() {
    let world = World::new().await;
    let ask = |split: &str, dry_run: bool| json!({"amount": "10.000001", "currency": "USDT", "split": split, "reason": "bonus", "dry_run": dry_run});
    let path = "/pools/pool_default/rewards";
    let (status, shown) = world.post(&world.root, path, ask("equal", true)).await;
    assert_eq!((status, shown["posted"].clone(), world.postings()), (StatusCode::OK, json!(false), 0), "{shown}");
    let amounts = |body: &Value| body["shares"].as_array().unwrap().iter().map(|share| share["amount"].clone()).collect::<Vec<_>>();
    assert_eq!(amounts(&shown), ["5.000001", "5"]);
    let (_, given) = world.post(&world.root, path, ask("equal", false)).await;
    assert_eq!((given["posted"].clone(), given["shares"].clone(), world.postings()), (json!(true), shown["shares"].clone(), 2));
    for settlement in [Settlement::Live, Settlement::Simulated] {
        let book = Book { settlement, ..LIVE };
        assert_eq!([&world.node, &world.other].map(|node| world.balance(book, node.index)), [5_000_001, 5_000_000]);
    }
    let (_, refused) = world.post(&world.root, path, ask("credits", false)).await;
    assert_eq!(name(&refused), "NoCredits");
    let mut wrong = ask("equal", true);
    wrong["from"] = json!("2026-08-01T00:00:00Z");
    assert_eq!(field(&world.post(&world.root, path, wrong).await.1), "from");
    let mut backwards = ask("credits", true);
    (backwards["from"], backwards["to"]) = (json!("2026-08-02T00:00:00Z"), json!("2026-08-01T00:00:00Z"));
    assert_eq!(field(&world.post(&world.root, path, backwards).await.1), "to");
    assert_eq!(world.post(&world.root, "/pools/pool_nothing/rewards", ask("equal", true)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.postings(), 2);
}

#[tokio::test]
async fn statements_add_up_and_go_out_as_a_table() {
    let world = World::new().await;
    world.owe(&world.node, 20_000_000).await;
    world.plan_payout(&world.node, 1, 12_500_000).await;
    let month = crate::domain::statement::Month::of(T);
    let node = world.node.id.as_str();
    let (_, body) = world.get(&format!("/nodes/{node}/statements")).await;
    assert_eq!(body["pagination"]["total"], 1, "{body}");
    let expected = json!({
        "month": month.to_string(), "node_id": node, "name": world.node.name, "settlement": "simulated", "currency": "USDT", "opening": "0", "earned": "0",
        "commission": "0", "rewards": "0", "adjustments": "20", "reserved": "12.5", "reserved_change": "12.5", "paid": "0", "unplanned": "0",
        "forfeited": "0", "fees_sun": 0, "credits": null, "multiplier": null, "closing": "7.5"
    });
    assert_eq!(body["statements"][0], expected);
    assert_eq!(world.get("/ledger/statements").await.1["statements"], json!([expected]));
    assert_eq!(world.get("/ledger/statements?settlement=live").await.1["statements"], json!([]));
    assert_eq!(world.get(&format!("/ledger/statements?month={}", month.previous())).await.1["statements"], json!([]));
    assert_eq!(world.get(&format!("/ledger/statements?month={}", month.next())).await.1["statements"][0]["opening"], "7.5");
    assert_eq!(field(&world.get("/ledger/statements?month=2026-13").await.1), "month");
    let index = world.node.index;
    let named = crate::domain::ids::NodeIndex(index.0);
    let rename = move |tx: &mut crate::storage::table::WriteTx<'_>| {
        let mut node = crate::storage::core::nodes::by_index(tx, named)?.unwrap();
        node.name = "=1+1".into();
        tx.put(crate::storage::core::tables::NODES, &named.0, &node)
    };
    world.site.state.store.write(rename).await.unwrap();
    let (status, text) = world.text("/ledger/statements?format=csv").await;
    assert_eq!(status, StatusCode::OK);
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines[0].split(',').count(), 19);
    assert_eq!(lines[1], format!("{month},{node},'=1+1,simulated,USDT,0,0,0,0,20,12.5,12.5,0,0,0,0,,,7.5"));
    assert_eq!((lines.len(), lines[2]), (3, ""));
    let entry = &audit::page(&world.site.state.store.read().unwrap(), 0, 1).unwrap()[0];
    assert_eq!(entry.draft.operation, "ledger.export");
    let viewer = world.site.person(&world.root, "vera", "viewer").await;
    assert_eq!(world.get_as(&viewer, &format!("/nodes/{node}/statements")).await.0, StatusCode::OK);
    assert_eq!(world.get_as(&viewer, "/ledger/statements").await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn books_that_do_not_add_up_stop_payouts_until_a_check_finds_them_good() {
    let world = World::new().await;
    world.owe(&world.node, 5_000_000).await;
    let check = async || world.post(&world.root, "/ledger/check", json!({})).await.1;
    assert_eq!(check().await, json!({"postings": 1, "wrong": null, "latched": null}));
    let key = ledger::key(Book { settlement: Settlement::Simulated, ..LIVE }, Account::NodePayable(world.node.index));
    let store = &world.site.state.store;
    let before = store.read().unwrap().get(BALANCES, &key).unwrap().unwrap();
    let wrong = ledger::Balance { units: Units(1), ..before };
    store.write(move |tx| tx.put(BALANCES, &key, &wrong)).await.unwrap();
    let (status, _) = world.post(&world.root, "/ledger/adjustments", world.adjustment(json!(1))).await;
    assert_eq!((status, world.postings()), (StatusCode::INTERNAL_SERVER_ERROR, 1));
    let latched = async || world.get("/ledger/balances").await.1["latched"].clone();
    assert!(latched().await.is_string());
    assert!(world.get("/alerts").await.1.to_string().contains("ledger_broken"));
    let found = check().await;
    assert!(found["wrong"].is_string() && found["latched"].is_string(), "{found}");
    store.write(move |tx| tx.put(BALANCES, &key, &before)).await.unwrap();
    assert_eq!(check().await, json!({"postings": 1, "wrong": null, "latched": null}));
    assert_eq!(latched().await, Value::Null);
    // A check that finds something stops payouts by itself.
    store.write(move |tx| tx.put(BALANCES, &key, &wrong)).await.unwrap();
    assert!(check().await["latched"].is_string());
}

#[tokio::test]
async fn every_new_cause_is_shown_in_the_list_of_postings() {
    let world = World::new().await;
    let (now, index) = (world.site.state.now(), world.node.index);
    let by = || crate::domain::ids::UserId::parse("user_root").unwrap();
    let verb = move |tx: &mut crate::storage::table::WriteTx<'_>| {
        for entry in [
            Entry::unexplained_transfer(LIVE, Some(index), Units(7), "ab".into()),
            Entry::unexplained_transfer(LIVE, None, Units(8), "cd".into()),
            Entry::adjustment(LIVE, index, Units(17), "some".into(), by()),
            Entry::go_live(index, Currency::Usdt, Units(10), T, by()),
        ] {
            ledger::post(tx, entry.unwrap(), now)?;
        }
        Ok(())
    };
    world.site.state.store.write(verb).await.unwrap();
    let (_, body) = world.get("/ledger?settlement=live").await;
    let causes: Vec<Value> = body["postings"].as_array().unwrap().iter().map(|posting| posting["cause"].clone()).collect();
    let node = world.node.id.as_str();
    assert_eq!(causes[0], json!({"kind": "go_live", "node_id": node, "from": T.rfc3339(), "by": "user_root"}));
    assert_eq!(causes[2], json!({"kind": "unexplained", "node_id": null, "txid": "cd"}));
    assert_eq!(causes[3], json!({"kind": "unexplained", "node_id": node, "txid": "ab"}));
    assert_eq!(world.balance(LIVE, index), 0);
}
