//! Alerts: at most one open per kind and subject.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::tables::{ALERTS, Index64, OPEN_ALERTS};
use crate::domain::alert::{Alert, AlertChange, Severity};
use crate::domain::ids::AlertId;
use crate::domain::time::Timestamp;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Alerts kept; beyond, the oldest resolved ones go.
pub const MAX_ALERTS: u64 = 5_000;
/// Old alerts looked at per new one.
const PRUNE: usize = 100;

fn open_key(kind: &str, subject: &str) -> String {
    format!("{kind} {subject}")
}

/// Opens an alert, unless one of this kind about this subject is open: then that one stands as it is. True when it is new.
pub fn raise(tx: &mut WriteTx<'_>, kind: &str, subject: &str, severity: Severity, message: &str, now: Timestamp) -> Result<bool, TxError> {
    let key = open_key(kind, subject);
    if tx.get(OPEN_ALERTS, &key)?.is_some() {
        return Ok(false);
    }
    let seq = tx.last(ALERTS)?.map_or(1, |(seq, _)| seq + 1);
    let id = AlertId::parse(&format!("alert_{seq:010}")).map_err(|e| Fault::Invariant(e.to_string()))?;
    let (kind, subject, message) = (kind.to_owned(), subject.to_owned(), message.to_owned());
    let alert = Alert { id, kind, subject, severity, message, raised_at: now, resolved_at: None };
    tx.put(ALERTS, &seq, &alert)?;
    tx.tell(AlertChange::of(&alert));
    tx.put(OPEN_ALERTS, &key, &Index64(seq))?;
    prune(tx)?;
    Ok(true)
}

/// It is over. False when no such alert was open.
pub fn resolve(tx: &mut WriteTx<'_>, kind: &str, subject: &str, now: Timestamp) -> Result<bool, TxError> {
    let key = open_key(kind, subject);
    let Some(Index64(seq)) = tx.get(OPEN_ALERTS, &key)? else { return Ok(false) };
    tx.delete(OPEN_ALERTS, &key)?;
    if let Some(alert) = tx.get(ALERTS, &seq)? {
        let alert = Alert { resolved_at: Some(now), ..alert };
        tx.put(ALERTS, &seq, &alert)?;
        tx.tell(AlertChange::of(&alert));
    }
    Ok(true)
}

fn prune(tx: &mut WriteTx<'_>) -> Result<(), TxError> {
    if tx.count(ALERTS)? <= MAX_ALERTS {
        return Ok(());
    }
    let oldest = tx.scan(ALERTS, .., PRUNE)?;
    for (seq, _) in oldest.into_iter().filter(|(_, alert)| alert.resolved_at.is_some()) {
        tx.delete(ALERTS, &seq)?;
    }
    Ok(())
}

/// True while an alert of this kind about this subject is open.
pub fn is_open(read: &impl Read, kind: &str, subject: &str) -> Result<bool, Fault> {
    Ok(read.get(OPEN_ALERTS, &open_key(kind, subject))?.is_some())
}

/// Subjects of the open alerts of a kind.
pub fn open_subjects(read: &impl Read, kind: &str) -> Result<BTreeSet<String>, Fault> {
    let from = open_key(kind, "");
    let mut subjects = BTreeSet::new();
    read.for_each(OPEN_ALERTS, from.clone().., |key, _| match key.strip_prefix(&from) {
        Some(subject) => {
            subjects.insert(subject.to_owned());
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    })?;
    Ok(subjects)
}

/// Which alerts are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    pub is_open: Option<bool>,
    pub severity: Option<Severity>,
}

impl Filter {
    fn fits(self, alert: &Alert) -> bool {
        self.is_open.is_none_or(|open| open == alert.resolved_at.is_none()) && self.severity.is_none_or(|s| s == alert.severity)
    }
}

/// Those that fit, newest first, and how many there are. Reads them all, of which there are at most `MAX_ALERTS` and the open ones.
pub fn page_of(read: &impl Read, filter: Filter, offset: usize, limit: usize) -> Result<(Vec<Alert>, u64), Fault> {
    if filter == Filter::default() {
        return page(read, offset, limit);
    }
    let (mut total, mut alerts) = (0, Vec::new());
    read.for_each_back(ALERTS, .., |_, alert| {
        if filter.fits(&alert) {
            if total >= offset && alerts.len() < limit {
                alerts.push(alert);
            }
            total += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok((alerts, u64::try_from(total).unwrap_or(u64::MAX)))
}

/// Every alert that is not over, newest first. There is at most one per kind and subject.
pub fn all_open(read: &impl Read) -> Result<Vec<Alert>, Fault> {
    let mut seqs = Vec::new();
    read.for_each(OPEN_ALERTS, .., |_, Index64(seq)| {
        seqs.push(seq);
        ControlFlow::Continue(())
    })?;
    seqs.sort_unstable();
    let mut alerts = Vec::with_capacity(seqs.len());
    for seq in seqs.into_iter().rev() {
        alerts.extend(read.get(ALERTS, &seq)?);
    }
    Ok(alerts)
}

/// Newest first, and how many there are.
pub fn page(read: &impl Read, offset: usize, limit: usize) -> Result<(Vec<Alert>, u64), Fault> {
    let (mut skipped, mut alerts) = (0, Vec::new());
    read.for_each_back(ALERTS, .., |_, alert| {
        if skipped < offset {
            skipped += 1;
        } else {
            alerts.push(alert);
        }
        if alerts.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok((alerts, read.count(ALERTS)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Store;
    use crate::storage::testing::store;

    const T: Timestamp = Timestamp(1_000);

    fn up(store: &Store, kind: &'static str, subject: String) -> bool {
        store.core.write_now(move |tx| raise(tx, kind, &subject, Severity::Warning, "m", T)).unwrap()
    }

    fn down(store: &Store, kind: &'static str, subject: &'static str) -> bool {
        store.core.write_now(move |tx| resolve(tx, kind, subject, T.plus_ms(5))).unwrap()
    }

    #[test]
    fn an_alert_is_open_once_until_it_is_resolved() {
        let (_dir, store) = store();
        assert!(up(&store, "node_unreachable", "node_a".into()));
        assert!(!up(&store, "node_unreachable", "node_a".into()));
        assert!(up(&store, "node_unreachable", "node_b".into()));
        assert!(down(&store, "node_unreachable", "node_a") && !down(&store, "node_unreachable", "node_a"));
        assert!(up(&store, "node_unreachable", "node_a".into()), "it may come again");
        let (alerts, total) = page(&store.read().unwrap(), 0, 10).unwrap();
        assert_eq!(total, 3);
        let shown: Vec<_> = alerts.iter().map(|a| (a.subject.as_str(), a.resolved_at.is_some())).collect();
        assert_eq!(shown, [("node_a", false), ("node_b", false), ("node_a", true)]);
        assert_eq!(page(&store.read().unwrap(), 2, 1).unwrap().0.first().map(|a| a.id.as_str()), Some("alert_0000000001"));
    }

    #[test]
    fn alerts_are_found_by_state_and_severity_and_told_after_their_commit() {
        use crate::domain::alert::Turn;
        use std::sync::{Arc, Mutex};
        let (_dir, store) = store();
        let told: Arc<Mutex<Vec<(String, Turn)>>> = Arc::default();
        let hears = Arc::clone(&told);
        store.core.watch_alerts(move |change| hears.lock().unwrap().push((change.subject, change.change)));
        for (n, severity) in [(0, Severity::Warning), (1, Severity::Critical), (2, Severity::Warning)] {
            store.core.write_now(move |tx| raise(tx, "kind", &n.to_string(), severity, "m", T)).unwrap();
        }
        up(&store, "kinder", "other".into());
        down(&store, "kind", "0");
        let read = store.read().unwrap();
        let found = |is_open, severity, offset, limit| {
            let (alerts, total) = page_of(&read, Filter { is_open, severity }, offset, limit).unwrap();
            (alerts.into_iter().map(|a| a.subject).collect::<Vec<_>>(), total)
        };
        let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(found(Some(true), None, 0, 9), (named(&["other", "2", "1"]), 3));
        assert_eq!(found(Some(true), Some(Severity::Warning), 1, 9), (named(&["2"]), 2));
        assert_eq!(found(Some(false), None, 0, 9), (named(&["0"]), 1));
        assert_eq!(found(None, None, 0, 1), (named(&["other"]), 4));
        assert_eq!(open_subjects(&read, "kind").unwrap(), ["1", "2"].map(String::from).into());
        assert!(is_open(&read, "kind", "1").unwrap() && !is_open(&read, "kind", "0").unwrap());
        let refused = store.core.write_now(|tx| {
            raise(tx, "kind", "never", Severity::Info, "m", T)?;
            Err::<(), _>(crate::domain::refusal::Refusal::NodeNotFound.into())
        });
        assert!(refused.is_err());
        let told = told.lock().unwrap().iter().map(|(s, t)| (s.clone(), *t)).collect::<Vec<_>>();
        let raised = |s: &str| (s.to_owned(), Turn::Raised);
        assert_eq!(told, [raised("0"), raised("1"), raised("2"), raised("other"), ("0".to_owned(), Turn::Resolved)]);
    }

    #[test]
    fn old_resolved_alerts_make_room_and_open_ones_stay() {
        let (_dir, store) = store();
        up(&store, "open", "stays".into());
        store
            .core
            .write_now(|tx| {
                (0..MAX_ALERTS + 50).try_for_each(|n| {
                    raise(tx, "k", &n.to_string(), Severity::Info, "m", T)?;
                    resolve(tx, "k", &n.to_string(), T).map(|_| ())
                })
            })
            .unwrap();
        let read = store.read().unwrap();
        assert!(read.count(ALERTS).unwrap() <= MAX_ALERTS + 1);
        assert_eq!(read.get(ALERTS, &1).unwrap().map(|a| a.resolved_at), Some(None));
    }
}
