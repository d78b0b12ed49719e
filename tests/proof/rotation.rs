//! A manager whose key is replaced by the real command: proofs of before and of after, under either key, and nodes that go on.

use lucid::domain::enrolment::TokenText;
use lucid::domain::proof::head::SignedHead;
use lucid::domain::proof::succession::Succession;

use super::*;
use crate::support::binary::BINARY;
use crate::support::fleet::Machine;

/// Runs `keys rotate` on the store of this manager, and starts it again. What the command printed.
async fn rotated(site: Site, nodes: &mut [Node]) -> (Site, String) {
    let (dir, driver, client) = (site.dir.clone(), site.driver.clone(), site.client.clone());
    site.end().await;
    let output = Command::new(BINARY).args(["keys", "rotate", "--data-dir"]).arg(&dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut site = Site::open(dir, driver, Vec::new()).await;
    site.client = client.at(site.client.base.clone());
    let said: Vec<Succession> = serde_json::from_value(site.client.get("/poot/manager-key").await["successions"].clone()).unwrap();
    for node in nodes {
        node.rebase(&site.client.base);
        (node.manager_key, node.successions) = (site.app.store.manager_key(), said.clone());
    }
    (site, String::from_utf8(output.stdout).unwrap())
}

fn verified(file: &Path, key: &[u8; 32]) -> [Option<i32>; 2] {
    let hex = lucid::crypto::hex(key);
    [verify_proof(file, Some(&hex)).0, verify_in_python(file, Some(&hex)).0]
}

#[tokio::test]
async fn proofs_of_before_and_after_are_good_under_every_key_of_the_manager() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = fleet(&site, 2).await;
    live(&site, &mut nodes, 40, |_, _| false).await;
    let mut keys = vec![key(&site)];
    let early = proof(&site, &nodes[0]).await;
    let anchor = site.client.get("/audit/anchor").await;
    let output = Command::new(BINARY).args(["keys", "rotate", "--data-dir"]).arg(&site.dir).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "not while the manager runs");
    assert_eq!(key(&site), keys[0]);

    let (site, printed) = rotated(site, &mut nodes).await;
    keys.push(key(&site));
    for key in &keys {
        assert!(printed.contains(&lucid::crypto::hex(key)), "{printed}");
    }
    live(&site, &mut nodes, 40, |_, _| false).await;
    let between = proof(&site, &nodes[0]).await;
    let (site, _) = rotated(site, &mut nodes).await;
    keys.push(key(&site));
    live(&site, &mut nodes, 40, |_, _| false).await;

    let epochs = [&early, &between].map(|document| document["head"]["epoch"].as_u64().unwrap());
    let asked = async |epoch: u64| site.client.get(&format!("/poot/{}?epoch={epoch}", nodes[0].id)).await;
    let documents = [asked(epochs[0]).await, asked(epochs[1]).await, proof(&site, &nodes[0]).await];
    let stranger = [7; 32];
    for (document, signer) in documents.iter().zip(&keys) {
        assert_eq!(document["head"]["manager_key"], lucid::crypto::hex(signer));
        assert_eq!(document["successions"].as_array().unwrap().len(), 2);
        let file = written(dir.path(), document);
        for known in &keys {
            assert_eq!(Verdict::of(&checked(document, Some(known))), Verdict::Good);
            assert_eq!(verified(&file, known), [Some(0), Some(0)]);
        }
        assert_eq!(wrong(&checked(document, Some(&stranger))), ["signer"]);
        assert_eq!(verified(&file, &stranger), [Some(1), Some(1)]);
    }
    // A document of before knows of no other key, and is good to who knows its own.
    let file = written(dir.path(), &early);
    assert_eq!((verified(&file, &keys[0]), verified(&file, &keys[1])), ([Some(0), Some(0)], [Some(1), Some(1)]));
    // The agent has followed, and knows which key was in office.
    let folder = receipts::agent_folder(dir.path(), &mut nodes[0]);
    let (status, said) = receipts::verified(&file, &folder);
    assert!(status == Some(3) && said.contains("signer: good") && said.contains("receipt: not checked"), "{said}");
    let mut unsaid = documents[2].clone();
    unsaid["successions"] = json!([]);
    assert_eq!(wrong(&checked(&unsaid, Some(&keys[0]))), ["signer"]);
    unsaid["successions"] = json!([documents[2]["successions"][1]]);
    assert_eq!(wrong(&checked(&unsaid, Some(&keys[0]))), ["signer"], "with a gap");

    // One history, across the keys.
    let document = site.client.get(&format!("/poot/consistency?first={}", epochs[0])).await;
    let file = written(dir.path(), &document);
    assert_eq!(keys.iter().map(|key| verified(&file, key)).collect::<Vec<_>>(), [[Some(0), Some(0)]; 3]);
    assert!(lucid::storage::verify::verify(&site.app.store).iter().all(|finding| finding.wrong.is_none()));
    let verdict = site.client.post("/audit/anchor/check", anchor).await;
    assert_eq!(verdict["verdict"], "present", "an anchor by the first key");
    let audit = site.client.get("/audit?limit=100").await;
    let rotations = audit["entries"].as_array().unwrap().iter().filter(|entry| entry["operation"] == "manager_key.rotate").count();
    assert_eq!(rotations, 2);
    // The heads that nodes keep from before are still of this history.
    let newest: SignedHead = serde_json::from_value(site.client.get("/poot/head").await).unwrap();
    assert_eq!((newest.head.incarnation, newest.head.manager_key.0), (1, keys[2]));
    let alerts = site.client.get("/alerts?limit=100").await;
    assert!(alerts["alerts"].as_array().unwrap().iter().all(|alert| alert["kind"] != "history_forked"), "{alerts}");
}

/// A card is put back as it was, and the key replaced before the manager starts: what nodes keep by the former key is beyond what its statement counts.
#[tokio::test]
async fn an_older_copy_whose_key_was_replaced_is_found_out_too() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let site = Site::new(data.clone(), &[]).await;
    let mut nodes = fleet(&site, 2).await;
    live(&site, &mut nodes, 40, |_, _| false).await;
    let (driver, client) = (site.driver.clone(), site.client.clone());
    site.end().await;
    crate::support::copy(&data, &dir.path().join("older"));
    let open = async |dir: std::path::PathBuf| {
        let mut site = Site::open(dir, driver.clone(), Vec::new()).await;
        site.client = client.at(site.client.base.clone());
        site
    };
    let site = open(data).await;
    nodes.iter_mut().for_each(|node| node.rebase(&site.client.base));
    live(&site, &mut nodes, 61, |_, _| false).await;
    let forgotten: SignedHead = serde_json::from_value(site.client.get("/poot/head").await).unwrap();
    site.end().await;
    let (site, _) = rotated(open(dir.path().join("older")).await, &mut nodes).await;
    assert!(site.app.store.successions[0].from_sequence < forgotten.head.sequence);
    live(&site, &mut nodes, 60, |_, _| false).await;
    let newest: SignedHead = serde_json::from_value(site.client.get("/poot/head").await).unwrap();
    assert_eq!((newest.head.incarnation, newest.head.manager_key.0), (2, key(&site)));
    let alerts = site.client.get("/alerts?limit=100").await;
    let raised: Vec<&Value> = alerts["alerts"].as_array().unwrap().iter().filter(|alert| alert["kind"] == "history_forked").collect();
    assert_eq!(raised.len(), 1, "{alerts}");
    assert!(lucid::storage::verify::verify(&site.app.store).iter().all(|finding| finding.wrong.is_none()));
}

/// Fingerprints are salted with the hash of the first key, which tokens of after name besides the present one.
#[tokio::test]
async fn tokens_of_before_let_in_and_tokens_of_after_name_both_keys() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let before = site.token(1).await;
    assert_eq!(before.split('.').count(), 3);
    let first = site.app.store.manager_key();
    let (site, _) = rotated(site, &mut []).await;
    let node = Machine::new("late").enrol(&site.client.base, &before).await.unwrap();
    assert_eq!(node.manager_key, site.app.store.manager_key());
    let after = site.token(1).await;
    let parsed = TokenText::parse(&after).unwrap();
    assert_eq!(
        parsed,
        TokenText { secret: parsed.secret.clone(), ..TokenText::new(parsed.id.clone(), &[0; 16], &node.manager_key, &first) }
    );
    Machine::new("later").enrol(&site.client.base, &after).await.unwrap();
    let foreign = TokenText { manager_key_hash: "0".repeat(32), ..parsed };
    let refused = Machine::new("nobody").enrol(&site.client.base, &foreign.to_text()).await.err().unwrap();
    assert_eq!(error_name(&refused.1), "TokenForOtherManager");
}
