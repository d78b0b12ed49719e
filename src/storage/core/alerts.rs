//! Alerts: at most one open per kind, subject and topic. What happens to an alert about a node is in the node's history too.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::tables::{ALERTS, Index, Index64, NODE_IDS, OPEN_ALERTS};
use super::{audit, node_events};
use crate::domain::alert::{Alert, AlertChange, Severity, State, Turn};
use crate::domain::audit::{Act, Actor};
use crate::domain::ids::{AlertId, NodeIndex};
use crate::domain::node_event::{Kind, NodeEvent};
use crate::domain::refusal::Refusal;
use crate::domain::security::FINGERPRINT_DRIFT;
use crate::domain::time::Timestamp;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// Alerts kept; beyond, the oldest resolved ones go.
pub const MAX_ALERTS: u64 = 5_000;
/// Old alerts looked at per new one.
const PRUNE: usize = 100;
/// Kinds whose beginning and end are events of the node already.
const TOLD_ALREADY: [&str; 2] = ["node_unreachable", FINGERPRINT_DRIFT];

/// Which open alert is meant: there is one of each at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    pub kind: &'a str,
    pub subject: &'a str,
    pub topic: Option<&'a str>,
}

impl About<'_> {
    /// No part has a space in it.
    fn key(&self) -> String {
        match self.topic {
            None => format!("{} {}", self.kind, self.subject),
            Some(topic) => format!("{} {} {topic}", self.kind, self.subject),
        }
    }
}

fn untopical<'a>(kind: &'a str, subject: &'a str) -> About<'a> {
    About { kind, subject, topic: None }
}

/// Opens an alert, unless one of this kind about this subject is open: then that one stands as it is. True when it is new.
pub fn raise(tx: &mut WriteTx<'_>, kind: &str, subject: &str, severity: Severity, message: &str, now: Timestamp) -> Result<bool, TxError> {
    raise_about(tx, untopical(kind, subject), severity, message, now)
}

/// The same about a topic of the subject.
pub fn raise_about(tx: &mut WriteTx<'_>, about: About<'_>, severity: Severity, message: &str, now: Timestamp) -> Result<bool, TxError> {
    let key = about.key();
    if tx.get(OPEN_ALERTS, &key)?.is_some() {
        return Ok(false);
    }
    let seq = tx.last(ALERTS)?.map_or(1, |(seq, _)| seq + 1);
    let id = AlertId::parse(&format!("{ID}{seq:010}")).map_err(|e| Fault::Invariant(e.to_string()))?;
    let alert = Alert { topic: about.topic.map(str::to_owned), ..Alert::new(id, about.kind, about.subject, severity, message, now) };
    tx.put(OPEN_ALERTS, &key, &Index64(seq))?;
    record(tx, seq, &alert, Turn::Raised, now)?;
    prune(tx)?;
    Ok(true)
}

/// It is over. False when no such alert was open.
pub fn resolve(tx: &mut WriteTx<'_>, kind: &str, subject: &str, now: Timestamp) -> Result<bool, TxError> {
    resolve_about(tx, untopical(kind, subject), now)
}

pub fn resolve_about(tx: &mut WriteTx<'_>, about: About<'_>, now: Timestamp) -> Result<bool, TxError> {
    let changed = change(tx, about, now, |alert| {
        alert.resolve(now);
        Some(Turn::Resolved)
    })?;
    Ok(changed.is_some() && tx.delete(OPEN_ALERTS, &about.key())?)
}

/// It got worse or better. False when there is no such open alert, or it is as severe already.
pub fn set_severity(tx: &mut WriteTx<'_>, about: About<'_>, severity: Severity, message: &str, now: Timestamp) -> Result<bool, TxError> {
    Ok(change(tx, about, now, |alert| alert.set_severity(severity, message, now))?.is_some())
}

/// Its subject went silent, or is heard again. False when there is no such open alert, or that was known.
pub fn set_unknown(tx: &mut WriteTx<'_>, about: About<'_>, unknown: bool, now: Timestamp) -> Result<bool, TxError> {
    Ok(change(tx, about, now, |alert| alert.set_unknown(unknown, now))?.is_some())
}

fn change(
    tx: &mut WriteTx<'_>,
    about: About<'_>,
    now: Timestamp,
    change: impl FnOnce(&mut Alert) -> Option<Turn>,
) -> Result<Option<Turn>, TxError> {
    let Some(Index64(seq)) = tx.get(OPEN_ALERTS, &about.key())? else { return Ok(None) };
    let Some(mut alert) = tx.get(ALERTS, &seq)? else { return Ok(None) };
    let turn = change(&mut alert);
    if let Some(turn) = turn {
        record(tx, seq, &alert, turn, now)?;
    }
    Ok(turn)
}

/// Someone has seen it. Doing it again changes nothing: the first acknowledgement stands.
pub fn acknowledge(tx: &mut WriteTx<'_>, act: &Act, id: &AlertId, note: Option<String>) -> Result<Alert, TxError> {
    let (seq, mut alert) = find(tx, id)?.ok_or(Refusal::AlertNotFound)?;
    if alert.state() == State::Resolved {
        return Err(Refusal::AlertResolved.into());
    }
    if alert.acknowledge(act.actor.clone(), note, act.now.wall) {
        record(tx, seq, &alert, Turn::Acknowledged, act.now.wall)?;
        audit::append(tx, act.draft("alert.acknowledge", id.as_str()))?;
    }
    Ok(alert)
}

/// Writes an alert that took a turn, and tells whoever watches it or its node.
fn record(tx: &mut WriteTx<'_>, seq: u64, alert: &Alert, turn: Turn, now: Timestamp) -> Result<(), TxError> {
    tx.put(ALERTS, &seq, alert)?;
    tx.tell(AlertChange::of(alert, turn));
    if TOLD_ALREADY.contains(&alert.kind.as_str()) {
        return Ok(());
    }
    let Some(Index(node)) = tx.get(NODE_IDS, &alert.subject)? else { return Ok(()) };
    let kind = match turn {
        Turn::Raised => Kind::AlertRaised,
        Turn::Resolved => Kind::AlertResolved,
        Turn::Acknowledged => Kind::AlertAcknowledged,
        Turn::Escalated | Turn::Eased => Kind::AlertChanged,
        // The silence itself is an event.
        Turn::Unknown | Turn::Known => return Ok(()),
    };
    let actor = alert.history.last().map_or(Actor::System, |step| step.by.clone());
    node_events::append(tx, NodeIndex(node), NodeEvent { at: now, kind, detail: Some(alert.message.clone()), actor })
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

const ID: &str = "alert_";

/// The alert with its key.
fn find(read: &impl Read, id: &AlertId) -> Result<Option<(u64, Alert)>, Fault> {
    let Some(seq) = id.as_str().strip_prefix(ID).and_then(|text| text.parse().ok()) else { return Ok(None) };
    Ok(read.get(ALERTS, &seq)?.filter(|alert| alert.id == *id).map(|alert| (seq, alert)))
}

pub fn by_id(read: &impl Read, id: &AlertId) -> Result<Option<Alert>, Fault> {
    Ok(find(read, id)?.map(|(_, alert)| alert))
}

/// True while an alert of this kind about this subject is open.
pub fn is_open(read: &impl Read, kind: &str, subject: &str) -> Result<bool, Fault> {
    Ok(read.get(OPEN_ALERTS, &untopical(kind, subject).key())?.is_some())
}

/// Subjects of the open alerts of a kind that has no topics.
pub fn open_subjects(read: &impl Read, kind: &str) -> Result<BTreeSet<String>, Fault> {
    let from = untopical(kind, "").key();
    let mut subjects = BTreeSet::new();
    for_each_open_key(read, &from, |key| {
        subjects.insert(key[from.len()..].to_owned());
    })?;
    Ok(subjects)
}

/// Number of open alerts of every subject that has any.
pub fn open_counts(read: &impl Read) -> Result<BTreeMap<String, u32>, Fault> {
    let mut counts = BTreeMap::new();
    for_each_open_key(read, "", |key| {
        if let Some(subject) = key.split(' ').nth(1).filter(|subject| !subject.is_empty()) {
            *counts.entry(subject.to_owned()).or_insert(0) += 1;
        }
    })?;
    Ok(counts)
}

fn for_each_open_key(read: &impl Read, from: &str, mut visit: impl FnMut(&str)) -> Result<(), Fault> {
    read.for_each(OPEN_ALERTS, from.to_owned().., |key, _| {
        if !key.starts_with(from) {
            return ControlFlow::Break(());
        }
        visit(&key);
        ControlFlow::Continue(())
    })
}

/// Open alerts of one kind.
pub fn open_of_kind(read: &impl Read, kind: &str) -> Result<Vec<Alert>, Fault> {
    let from = untopical(kind, "").key();
    let mut seqs = Vec::new();
    read.for_each(OPEN_ALERTS, from.clone().., |key, Index64(seq)| {
        if !key.starts_with(&from) {
            return ControlFlow::Break(());
        }
        seqs.push(seq);
        ControlFlow::Continue(())
    })?;
    let mut alerts = Vec::with_capacity(seqs.len());
    for seq in seqs {
        alerts.extend(read.get(ALERTS, &seq)?);
    }
    Ok(alerts)
}

/// Which states are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Everything that is not over.
    Active,
    Exactly(State),
}

/// Which alerts are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    pub state: Option<Wanted>,
    pub severity: Option<Severity>,
    pub kind: Option<String>,
    pub subject: Option<String>,
    /// Ids of which its subject must be one.
    pub among: Option<BTreeSet<String>>,
    /// Whether it is about security.
    pub security: Option<bool>,
    /// Raised in `[from, to)`.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl Filter {
    fn fits(&self, alert: &Alert) -> bool {
        let state = match self.state {
            None => true,
            Some(Wanted::Active) => alert.resolved_at.is_none(),
            Some(Wanted::Exactly(state)) => alert.state() == state,
        };
        state
            && self.severity.is_none_or(|s| s == alert.severity)
            && self.kind.as_ref().is_none_or(|kind| *kind == alert.kind)
            && self.security.is_none_or(|security| security == alert.is_security())
            && self.subject.as_ref().is_none_or(|subject| *subject == alert.subject)
            && self.among.as_ref().is_none_or(|ids| ids.contains(&alert.subject))
            && self.from.is_none_or(|from| alert.raised_at >= from)
            && self.to.is_none_or(|to| alert.raised_at < to)
    }
}

/// What a list is in order of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    #[default]
    Raised,
    Updated,
    Severity,
    State,
}

/// Those that fit, and how many there are; of equals the newest first. Reads them all, of which there are at most `MAX_ALERTS` and the open ones.
pub fn sorted(
    read: &impl Read,
    filter: &Filter,
    sort: Sort,
    descending: bool,
    offset: usize,
    limit: usize,
) -> Result<(Vec<Alert>, u64), Fault> {
    if *filter == Filter::default() && sort == Sort::Raised && descending {
        return page(read, offset, limit);
    }
    let mut alerts = Vec::new();
    read.for_each_back(ALERTS, .., |_, alert| {
        if filter.fits(&alert) {
            alerts.push(alert);
        }
        ControlFlow::Continue(())
    })?;
    let total = u64::try_from(alerts.len()).unwrap_or(u64::MAX);
    match sort {
        Sort::Raised if descending => (),
        Sort::Raised => alerts.reverse(),
        Sort::Updated => sort_by(&mut alerts, descending, Alert::updated_at),
        Sort::Severity => sort_by(&mut alerts, descending, |alert| alert.severity),
        Sort::State => sort_by(&mut alerts, descending, Alert::state),
    }
    Ok((alerts.into_iter().skip(offset).take(limit).collect(), total))
}

fn sort_by<K: Ord>(alerts: &mut [Alert], descending: bool, key: impl Fn(&Alert) -> K) {
    alerts.sort_by(|a, b| if descending { key(b).cmp(&key(a)) } else { key(a).cmp(&key(b)) });
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
        let found = |state: Option<Wanted>, severity, offset, limit| {
            let filter = Filter { state, severity, ..Filter::default() };
            let (alerts, total) = sorted(&read, &filter, Sort::Raised, true, offset, limit).unwrap();
            (alerts.into_iter().map(|a| a.subject).collect::<Vec<_>>(), total)
        };
        let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(found(Some(Wanted::Active), None, 0, 9), (named(&["other", "2", "1"]), 3));
        assert_eq!(found(Some(Wanted::Active), Some(Severity::Warning), 1, 9), (named(&["2"]), 2));
        assert_eq!(found(Some(Wanted::Exactly(State::Resolved)), None, 0, 9), (named(&["0"]), 1));
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

    fn about<'a>(topic: Option<&'a str>) -> About<'a> {
        About { kind: "resource_threshold", subject: "node_000001", topic }
    }

    #[test]
    fn topics_are_alerts_of_their_own_and_change_as_one() {
        use crate::domain::node_event::Kind;
        use crate::storage::core::testing::{Fixture, act, new_node, node_id};
        use crate::storage::core::{node_events, nodes};
        let f = Fixture::new();
        let node = f.write(|tx, d| nodes::create(tx, d, &act(), &node_id(1), &new_node("one", None), 9)).unwrap();
        f.write(|tx, _| {
            for topic in ["cpu", "disk"] {
                assert!(raise_about(tx, about(Some(topic)), Severity::Warning, "warm", T)?);
            }
            assert!(!raise_about(tx, about(Some("cpu")), Severity::Critical, "hot", T)?);
            assert!(set_severity(tx, about(Some("cpu")), Severity::Critical, "hot", T.plus_ms(1))?);
            assert!(!set_severity(tx, about(Some("cpu")), Severity::Critical, "hot", T.plus_ms(2))?);
            assert!(!set_severity(tx, about(None), Severity::Critical, "hot", T)?, "nothing of the whole node is open");
            assert!(set_unknown(tx, about(Some("disk")), true, T.plus_ms(3))? && !set_unknown(tx, about(Some("disk")), true, T)?);
            resolve_about(tx, about(Some("cpu")), T.plus_ms(4)).map(drop)
        })
        .unwrap();
        let read = f.store.read().unwrap();
        let open = open_of_kind(&read, "resource_threshold").unwrap();
        assert_eq!(open.iter().map(|a| (a.topic.as_deref(), a.state())).collect::<Vec<_>>(), [(Some("disk"), State::Unknown)]);
        assert_eq!(open_counts(&read).unwrap(), BTreeMap::from([("node_000001".to_owned(), 1)]));
        let (events, _) = node_events::page(&read, node.index, 0, 9).unwrap();
        let kinds: Vec<Kind> = events.into_iter().rev().map(|(_, event)| event.kind).collect();
        assert_eq!(kinds, [Kind::Created, Kind::AlertRaised, Kind::AlertRaised, Kind::AlertChanged, Kind::AlertResolved]);
    }

    #[test]
    fn acknowledging_is_audited_once_and_what_is_over_refuses() {
        use crate::storage::core::testing::{Fixture, act};
        let f = Fixture::new();
        f.write(|tx, _| raise(tx, "k", "s", Severity::Warning, "m", T)).unwrap();
        let id = || AlertId::parse("alert_0000000001").unwrap();
        let audited = f.audited();
        let acknowledge = |note: &'static str| f.write(move |tx, _| acknowledge(tx, &act(), &id(), Some(note.into())));
        let first = acknowledge("mine").unwrap();
        assert_eq!(first.state(), State::Acknowledged);
        assert_eq!((acknowledge("no, mine").unwrap(), f.audited()), (first, audited + 1));
        f.write(|tx, _| resolve(tx, "k", "s", T)).unwrap();
        assert_eq!(acknowledge("late").unwrap_err(), Refusal::AlertResolved);
        let missing = ["alert_0000000009", "alert_1x", "alert_00000000001"].map(|id| AlertId::parse(id).unwrap());
        for id in missing {
            let verb = move |tx: &mut WriteTx<'_>, _: &_| super::acknowledge(tx, &act(), &id, None);
            assert_eq!(f.write(verb).unwrap_err(), Refusal::AlertNotFound);
        }
        assert_eq!(f.audited(), audited + 1);
    }
}
