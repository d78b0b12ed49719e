//! A document says nothing that is not checked: each value of it is changed, left out, or added to.

use serde_json::{Map, Value, json};

use super::*;

/// The paths of all values that hold no others, and of all lists and objects.
fn places(value: &Value, at: &str, leaves: &mut Vec<String>, holders: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (format!("{at}/{name}"), value)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(n, value)| (format!("{at}/{n}"), value)).collect(),
        _ => return leaves.push(at.to_owned()),
    };
    holders.push(at.to_owned());
    below.into_iter().for_each(|(at, value)| places(value, &at, leaves, holders));
}

/// Other values of the same type, where the type has any.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => vec![json!("00".repeat(32)), json!(1), json!([]), json!({})],
        Value::Bool(b) => vec![json!(!b)],
        Value::Number(n) => {
            let n = n.as_i64().unwrap();
            vec![json!(n + 1), json!(n - 1), json!(0), json!(n + 65_536)].into_iter().filter(|other| *other != json!(n)).collect()
        }
        Value::String(text) => {
            let mut last = text.clone();
            let end = last.pop();
            last.push(if end == Some('0') { '1' } else { '0' });
            let mut all = vec![last, String::new(), text.to_uppercase(), format!("{text}0"), format!("0{text}"), format!(" {text}")];
            all.extend(["valid", "invalid", "pending", "USDT", "LUCID"].map(str::to_owned));
            all.retain(|other| other != text);
            all.into_iter().map(Value::from).collect()
        }
        _ => unreachable!("only values that hold no others"),
    }
}

/// What becomes of a document: none when it does not read.
fn verdict(document: &Value, pinned: &[u8; 32]) -> Option<Verdict> {
    match document["format"].as_str() {
        Some("lucid-poot-consistency/1") => {
            Some(Verdict::of(&check::consistency(&serde_json::from_value(document.clone()).ok()?, Some(pinned))))
        }
        _ => Some(Verdict::of(&check::proof(&serde_json::from_value(document.clone()).ok()?, Some(pinned)))),
    }
}

fn every_change_is_detected(document: &Value, pinned: &[u8; 32], unchecked: &[&str]) -> usize {
    assert_eq!(verdict(document, pinned), Some(Verdict::Good));
    let (mut leaves, mut holders) = (Vec::new(), Vec::new());
    places(document, "", &mut leaves, &mut holders);
    let mut tried = 0;
    let mut refused = |changed: Value, what: String, may_be_unchecked: bool| {
        tried += 1;
        let found = verdict(&changed, pinned);
        let is_detected = matches!(found, None | Some(Verdict::Wrong)) || (may_be_unchecked && found == Some(Verdict::Consistent));
        assert!(is_detected, "{what} is not noticed");
    };
    for at in &leaves {
        for other in others(document.pointer(at).unwrap()) {
            let mut changed = document.clone();
            *changed.pointer_mut(at).unwrap() = other.clone();
            refused(changed, format!("{at} as {other}"), false);
        }
    }
    for at in &holders {
        match document.pointer(at).unwrap() {
            Value::Object(fields) => {
                for name in fields.keys() {
                    let mut changed = document.clone();
                    changed.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(name);
                    refused(changed, format!("{at} without {name}"), unchecked.contains(&name.as_str()));
                    let mut null = document.clone();
                    if fields[name] != Value::Null {
                        null.pointer_mut(at).unwrap()[name] = Value::Null;
                        refused(null, format!("{at}/{name} as null"), unchecked.contains(&name.as_str()));
                    }
                }
                let mut changed = document.clone();
                changed.pointer_mut(at).unwrap().as_object_mut().unwrap().extend(Map::from_iter([("more".to_owned(), json!(1))]));
                refused(changed, format!("{at} with more"), false);
            }
            Value::Array(values) => {
                let edit = |f: &dyn Fn(&mut Vec<Value>)| {
                    let mut changed = document.clone();
                    f(changed.pointer_mut(at).unwrap().as_array_mut().unwrap());
                    changed
                };
                if let Some(last) = values.last() {
                    refused(edit(&|list| drop(list.pop())), format!("{at} without its last"), false);
                    refused(edit(&|list| list.push(last.clone())), format!("{at} with its last again"), false);
                }
                if values.len() > 1 && values[0] != values[1] {
                    refused(edit(&|list| list.swap(0, 1)), format!("{at} in another order"), false);
                }
                if at.starts_with("/window") || at == "/path" {
                    refused(edit(&|list| list.push(json!(0))), format!("{at} with a zero"), false);
                }
            }
            _ => unreachable!(),
        }
    }
    tried
}

#[tokio::test]
async fn no_field_of_a_document_can_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = fleet(&site, 5).await;
    live(&site, &mut nodes, 150, |place, slot| place == 2 && (slot % 11 == 4 || slot == 60)).await;
    let pinned = key(&site);
    let document = proof(&site, &nodes[2]).await;
    assert!(document["leaf"]["payer"].is_object(), "{document}");
    let tried = every_change_is_detected(&document, &pinned, &["window"]);
    assert!(tried > 400, "{tried}");

    let epochs = site.client.get("/poot/epochs?limit=100").await;
    let first = epochs["epochs"].as_array().unwrap().iter().rev().nth(2).unwrap()["epoch"].clone();
    let consistency = site.client.get(&format!("/poot/consistency?first={first}")).await;
    assert!(consistency["consistency"].is_array(), "{consistency}");
    every_change_is_detected(&consistency, &pinned, &[]);

    // A neighbour's leaf, path and window do not stand in for each other.
    let other = proof(&site, &nodes[3]).await;
    for field in ["leaf", "path", "window", "leaf_index"] {
        let mut mixed = document.clone();
        mixed[field] = other[field].clone();
        assert_eq!(verdict(&mixed, &pinned), Some(Verdict::Wrong), "{field} of another node");
    }
}

/// What a manager with its own key could try: a head and a leaf that are signed and contradict the rules.
#[tokio::test]
async fn a_manager_cannot_sign_more_time_than_an_epoch_has() {
    use lucid::domain::credits;
    use lucid::domain::money::Units;
    use lucid::domain::proof::document::ProofDocument;
    use lucid::domain::proof::head::signed_bytes;
    use lucid::domain::proof::merkle;
    use lucid::domain::proof::text::Hex;

    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = fleet(&site, 1).await;
    live(&site, &mut nodes, 150, |_, _| false).await;
    let honest: ProofDocument = serde_json::from_value(proof(&site, &nodes[0]).await).unwrap();
    let resigned = |change: &dyn Fn(&mut ProofDocument)| {
        // Without evidence nothing but the rules of the epoch is left to say it.
        let mut document = ProofDocument { window: None, ..honest.clone() };
        change(&mut document);
        document.head.root = Hex(merkle::root(&[document.leaf.hash()]));
        document.signature = Hex(site.app.store.signing_key.sign(&signed_bytes(&document.head.hash())));
        document
    };
    let verdict = |document: &ProofDocument| Verdict::of(&check::proof(document, Some(&key(&site))));
    assert_eq!(verdict(&resigned(&|_| ())), Verdict::Consistent);
    let paid = |document: &mut ProofDocument, proven: u16| {
        let leaf = &document.leaf;
        let multiplier = credits::Multiplier::grown(leaf.multiplier_grown_slots).unwrap();
        let reward = Units(leaf.payer.as_ref().unwrap().reward_per_hour);
        let accrual = credits::accrue(proven, leaf.score_hundredths, multiplier, &document.head.params.into(), reward).unwrap();
        document.leaf.accrual_pico = accrual.0;
        (document.leaf.proven, document.leaf.observed) = (proven, proven);
    };
    let greedy = resigned(&|document| paid(document, 20));
    assert_eq!(wrong(&check::proof(&greedy, Some(&key(&site)))), ["epoch"], "twenty slots of an epoch of ten");
    let longer = resigned(&|document| {
        document.head.epoch -= 10;
        (document.leaf.epoch, document.head.leaves_at) = (document.head.epoch, Some(document.head.epoch));
        paid(document, 20);
    });
    assert_eq!(wrong(&check::proof(&longer, Some(&key(&site)))), ["epoch"], "an epoch of twice its length");
}
