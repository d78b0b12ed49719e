//! Alerts that follow from a state: whoever looks says what is to be alerted about now, and what is no longer is over.

use std::collections::BTreeMap;

use super::{Context, Stopped};
use crate::domain::alert::Severity;
use crate::domain::time::Now;
use crate::storage::core::alerts;

/// Alerts of one kind that one run raises or resolves; the rest follows in the next.
pub const PER_RUN: usize = 100;

/// Subjects of one kind that are to be alerted about now: severity and words.
pub type Wanted = BTreeMap<String, (Severity, String)>;

/// Raises what is new of a kind and resolves what is over.
pub async fn settle(context: &Context, kind: &'static str, wanted: Wanted, now: Now) -> Result<(), Stopped> {
    let open = alerts::open_subjects(&context.store.read()?, kind)?;
    let over: Vec<String> = open.iter().filter(|subject| !wanted.contains_key(*subject)).take(PER_RUN).cloned().collect();
    let new: Wanted = wanted.into_iter().filter(|(subject, _)| !open.contains(subject)).take(PER_RUN).collect();
    if over.is_empty() && new.is_empty() {
        return Ok(());
    }
    let write = move |tx: &mut crate::storage::table::WriteTx<'_>| {
        for subject in &over {
            alerts::resolve(tx, kind, subject, now.wall)?;
        }
        for (subject, (severity, message)) in &new {
            alerts::raise(tx, kind, subject, *severity, message, now.wall)?;
        }
        Ok(())
    };
    Ok(context.store.write(write).await?)
}
