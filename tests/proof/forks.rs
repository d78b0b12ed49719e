//! A manager that comes back from an older copy of its store says so, and cannot help saying so.

use lucid::domain::proof::head::SignedHead;

use super::*;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

async fn newest(site: &Site) -> SignedHead {
    serde_json::from_value(site.client.get("/poot/head").await).unwrap()
}

async fn alerts(site: &Site) -> Vec<Value> {
    let all = site.client.get("/alerts?limit=100").await["alerts"].as_array().unwrap().clone();
    all.into_iter().filter(|alert| alert["kind"] == "history_forked").collect()
}

#[tokio::test]
async fn an_older_copy_of_the_store_goes_on_as_a_declared_fork() {
    older_copy(0).await;
}

/// The copy closes epochs before any node is heard: the heads that the nodes have are behind its own by then.
#[tokio::test]
async fn a_copy_that_nobody_reported_to_at_first_is_found_out_too() {
    older_copy(60).await;
}

async fn older_copy(slots_alone: u32) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let site = Site::new(data.clone(), &[]).await;
    let mut nodes = fleet(&site, 2).await;
    live(&site, &mut nodes, 40, |_, _| false).await;
    let before = newest(&site).await;
    let driver = site.driver.clone();
    let client = site.client.clone();
    site.end().await;
    copy(&data, &dir.path().join("older"));

    let mut site = Site::open(data.clone(), driver.clone(), Vec::new()).await;
    site.client = client.at(site.client.base.clone());
    nodes.iter_mut().for_each(|node| node.rebase(&site.client.base));
    // With one more report they hear of the last epoch.
    live(&site, &mut nodes, 41, |_, _| false).await;
    let forgotten = newest(&site).await;
    assert_eq!((forgotten.head.incarnation, forgotten.head.restored_from), (1, None));
    assert!(alerts(&site).await.is_empty(), "a restart is no fork");
    site.end().await;

    // The card is put back as it was, and the manager starts: it knows nothing of what came after.
    let mut site = Site::open(dir.path().join("older"), driver, Vec::new()).await;
    site.client = client.at(site.client.base.clone());
    nodes.iter_mut().for_each(|node| node.rebase(&site.client.base));
    assert_eq!(newest(&site).await, before);
    live(&site, &mut nodes, slots_alone, |_, _| true).await;
    let went_on = newest(&site).await;
    assert_eq!(went_on.head.incarnation, 1, "nobody has said anything yet");
    live(&site, &mut nodes, 40, |_, _| false).await;
    let after = newest(&site).await;
    assert_eq!((after.head.incarnation, after.head.restored_from.map(|hash| hash.0)), (2, Some(went_on.hash())));
    assert!(after.is_signed() && after.head.chain == before.head.chain);
    let raised = alerts(&site).await;
    assert_eq!(raised.len(), 1, "{raised:?}");
    let evidence = raised[0]["message"].as_str().unwrap();
    assert!(evidence.contains(&lucid::crypto::hex(&forgotten.hash())) && evidence.contains(nodes[0].id.as_str()), "{evidence}");
    let audit = site.client.get("/audit?limit=50").await;
    assert!(audit["entries"].as_array().unwrap().iter().any(|entry| entry["operation"] == "poot.fork"), "{audit}");

    // The nodes follow the declared fork, and everything after it is one history again.
    live(&site, &mut nodes, 20, |_, _| false).await;
    let last = newest(&site).await;
    assert_eq!(last.head.incarnation, 2, "it is declared once");
    let document = site.client.get(&format!("/poot/consistency?first={}&second={}", before.head.epoch, last.head.epoch)).await;
    let document: ConsistencyDocument = serde_json::from_value(document).unwrap();
    assert_eq!(Verdict::of(&check::consistency(&document, Some(&key(&site)))), Verdict::Good);
    let mut silent = document.clone();
    (silent.second.head.incarnation, silent.second.head.restored_from) = (1, None);
    assert_eq!(Verdict::of(&check::consistency(&silent, Some(&key(&site)))), Verdict::Wrong, "a fork cannot be made silent later");
    let mut lost = document;
    lost.first = forgotten;
    assert_eq!(wrong(&check::consistency(&lost, Some(&key(&site)))), ["history"], "what was forgotten is not in the history");
    assert!(lucid::storage::verify::verify(&site.app.store).iter().all(|finding| finding.wrong.is_none()));
}

#[tokio::test]
async fn nobody_can_make_a_manager_declare_a_fork_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(dir.path().join("data"), &[]).await;
    let mut nodes = fleet(&site, 1).await;
    live(&site, &mut nodes, 40, |_, _| false).await;
    let honest = newest(&site).await;
    let liar = lucid::crypto::SigningKey::from_seed(lucid::crypto::SecretKey([9; 32]));
    let mut invented = honest.clone();
    invented.head.sequence += 100;
    let mut own_key = invented.clone();
    own_key.head.manager_key = lucid::domain::proof::text::Hex(liar.public().0);
    let said = lucid::domain::proof::head::signed_bytes(&own_key.hash());
    own_key.signature = lucid::domain::proof::text::Hex(liar.sign(&said));
    for shown in [honest.clone(), invented, own_key] {
        site.next_slot(5_000);
        nodes[0].shows = Some(shown);
        nodes[0].report(site.now_ms(), Sample::default()).await.expect("the report itself is good");
    }
    nodes[0].shows = None;
    live(&site, &mut nodes, 20, |_, _| false).await;
    assert_eq!(newest(&site).await.head.incarnation, 1);
    assert!(alerts(&site).await.is_empty());
}
