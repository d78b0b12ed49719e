//! A leaf or a row of evidence that was changed on the disk is found by `verify`, in the epoch that it belongs to and in those that look back at it.

use std::path::Path;

use lucid::domain::credits::{Epoch, Leaf};
use lucid::domain::money::Pico;
use lucid::storage::Lane;
use lucid::storage::core::epochs;
use lucid::storage::core::ledger_check::Depth;
use lucid::storage::hot::leaves;
use lucid::storage::verify::{Finding, verify_to};
use redb::ReadableTable;

use super::*;

type Change = fn(&mut Leaf);
type Rows<'a> = redb::Table<'a, &'static [u8], &'static [u8]>;

fn found(site: &Site, depth: Depth) -> Finding {
    let mut findings = verify_to(&site.app.store, depth);
    let place = findings.iter().position(|finding| finding.part == "leaves and evidence").unwrap();
    let others: Vec<&Finding> =
        findings.iter().filter(|finding| finding.wrong.is_some() && finding.part != "leaves and evidence").collect();
    assert!(others.is_empty(), "{others:?}");
    findings.swap_remove(place)
}

/// Three nodes over six epochs, of which one is silent now and then.
async fn lived(dir: &Path) -> (Site, Vec<Node>, Vec<Epoch>) {
    let site = Site::new(dir.join("data"), &[]).await;
    let mut nodes = fleet(&site, 3).await;
    live(&site, &mut nodes, 60, |place, slot| place == 1 && slot % 7 == 0).await;
    let epochs = epochs::with_leaves(&site.app.store.read().unwrap(), Epoch(0), Epoch(u32::MAX)).unwrap();
    assert!(epochs.len() >= 5, "{epochs:?}");
    (site, nodes, epochs)
}

#[tokio::test]
async fn a_leaf_that_was_changed_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (site, nodes, epochs) = lived(dir.path()).await;
    let good = found(&site, Depth::Full);
    assert_eq!((good.wrong, good.left_out, good.records), (None, None, epochs.len() as u64 * 3));
    assert_eq!(found(&site, Depth::SinceCheckpoint).records, epochs.len() as u64 * 3, "there are not many");
    let of = "is not what its evidence says";
    let changes: [(Change, &str); 8] = [
        (|leaf| leaf.slots.proven += 1, of),
        (|leaf| leaf.inputs.window.proven += 1, of),
        (|leaf| leaf.inputs.samples_within -= 1, of),
        (|leaf| leaf.score.score_hundredths += 1, of),
        (|leaf| leaf.accrual = Pico(leaf.accrual.0 + 1), of),
        (|leaf| leaf.window_slots -= 1, of),
        // What no evidence says: the root does.
        (|leaf| leaf.reports = None, "not what its head commits to"),
        (|leaf| leaf.payer = None, ""),
    ];
    for (n, (change, why)) in changes.into_iter().enumerate() {
        let epoch = epochs[n % (epochs.len() - 1)];
        let before = leaves::of_epoch(&site.app.store.hot.read().unwrap(), epoch).unwrap();
        let mut changed = before.clone();
        change(&mut changed[1]);
        if changed == before {
            assert_eq!(n, 6, "only that may have been as it is");
            continue;
        }
        for (leaves, is_good) in [(changed, false), (before, true)] {
            site.app.store.hot.write(Lane::Ordinary, move |tx| leaves::put(tx, epoch, &leaves)).await.unwrap();
            let wrong = found(&site, Depth::Full).wrong;
            assert_eq!(wrong.is_none(), is_good, "change {n}: {wrong:?}");
            if let Some(wrong) = wrong {
                assert!(wrong.starts_with(&format!("epoch {}: ", epoch.0)) && wrong.contains(why), "change {n}: {wrong}");
                assert!(why != of || wrong.contains(nodes[1].id.as_str()), "change {n}: {wrong}");
            }
        }
    }
    // A leaf less; the other epochs are good.
    let epoch = epochs[2];
    let fewer: Vec<Leaf> = leaves::of_epoch(&site.app.store.hot.read().unwrap(), epoch).unwrap()[..2].to_vec();
    site.app.store.hot.write(Lane::Ordinary, move |tx| leaves::put(tx, epoch, &fewer)).await.unwrap();
    let wrong = found(&site, Depth::Full).wrong.unwrap();
    assert_eq!(wrong, format!("epoch {}: 1 of its 3 leaves are missing", epoch.0));
}

/// Changes the rows of evidence of a store that nobody has open.
fn with_evidence(dir: &Path, change: impl Fn(&mut Rows<'_>, Vec<(Vec<u8>, Vec<u8>)>)) {
    let database = redb::Database::open(dir.join("data/hot.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table: Rows<'_> = transaction.open_table(redb::TableDefinition::new("evidence")).unwrap();
        let rows =
            table.iter().unwrap().map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).unwrap()).collect();
        change(&mut table, rows);
    }
    transaction.commit().unwrap();
}

async fn without_opener(site: Site, change: impl Fn()) -> Site {
    let (dir, driver) = (site.dir.clone(), site.driver.clone());
    site.end().await;
    change();
    Site::open(dir, driver, Vec::new()).await
}

#[tokio::test]
async fn evidence_that_was_changed_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (site, _, epochs) = lived(dir.path()).await;
    // Of the fourth epoch: what one slot says becomes what another one does.
    let slot = |n: u32| (epochs[3].0 + n).to_be_bytes().to_vec();
    let of = |rows: &[(Vec<u8>, Vec<u8>)], n| rows.iter().find(|(key, _)| *key == slot(n)).unwrap().1.clone();
    let site = without_opener(site, || {
        with_evidence(dir.path(), |table, rows| {
            let whole = of(&rows, 4);
            let other = (0..10).map(|n| (n, of(&rows, n))).find(|(_, row)| *row != whole).expect("somebody was silent in one of ten slots");
            table.insert(slot(other.0).as_slice(), whole.as_slice()).unwrap();
        });
    })
    .await;
    let wrong = found(&site, Depth::Full).wrong.unwrap();
    assert!(wrong.contains(&format!("epoch {}: ", epochs[3].0)) && wrong.contains("is not what its evidence says"), "{wrong}");
    assert!(!wrong.contains(&epochs[2].0.to_string()), "what was before it is good: {wrong}");
    // All of it.
    let site = without_opener(site, || {
        with_evidence(dir.path(), |table, rows| {
            for (key, _) in rows {
                table.remove(key.as_slice()).unwrap();
            }
        });
    })
    .await;
    assert!(found(&site, Depth::Full).wrong.unwrap().contains("its evidence is missing"));
}
