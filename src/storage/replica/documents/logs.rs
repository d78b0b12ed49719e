//! What is written down: alerts, the audit log, closed epochs, changed settings, requests that were answered.

use super::plain;
use crate::crypto::hex;
use crate::domain::alert::{Alert, Step};
use crate::domain::audit::{Actor, Entry};
use crate::domain::epoch::Head;
use crate::domain::idempotency::{Outcome, Remembered};
use crate::domain::proof::leaf::CommittedParams;
use crate::domain::replica::{Fields, Value};
use crate::storage::core::settings::StoredSetting;
use crate::storage::fault::Fault;

/// In the order of what happened, `history` has at most `alert::MAX_STEPS`.
pub(super) fn alert(alert: &Alert) -> Result<Fields, Fault> {
    let acknowledged = alert.acknowledged.as_ref();
    let history = alert.history.iter().map(step).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![
        ("alert_id", alert.id.as_str().into()),
        ("kind", alert.kind.as_str().into()),
        ("state", plain(&alert.state())?),
        ("severity", plain(&alert.severity)?),
        ("security", alert.is_security().into()),
        ("subject", alert.subject.as_str().into()),
        ("topic", alert.topic.clone().into()),
        ("message", alert.message.as_str().into()),
        ("raised_at", alert.raised_at.into()),
        ("updated_at", alert.updated_at().into()),
        ("resolved_at", alert.resolved_at.into()),
        ("acknowledged_at", acknowledged.map(|ack| ack.at).into()),
        ("acknowledged_by", acknowledged.and_then(|ack| doer(&ack.by)).into()),
        ("acknowledged_note", acknowledged.and_then(|ack| ack.note.clone()).into()),
        ("unknown_since", alert.unknown_since.into()),
        ("history", history.into()),
    ])
}

fn step(step: &Step) -> Result<Fields, Fault> {
    Ok(vec![
        ("at", step.at.into()),
        ("change", plain(&step.turn)?),
        ("severity", plain(&step.severity)?),
        ("by", doer(&step.by).into()),
        ("note", step.note.clone().into()),
    ])
}

/// None when the manager itself did it.
fn doer(actor: &Actor) -> Option<String> {
    (*actor != Actor::System).then(|| actor.to_string())
}

/// What it was changed to is sealed, because some settings are secrets.
pub(super) fn setting(key: String, setting: &StoredSetting) -> Fields {
    vec![("setting", key.into()), ("changed_at", setting.changed_at.into()), ("changed_by", setting.changed_by.as_str().into())]
}

/// Names, network addresses and remarks of people are not in it: they are in the record alone, under the key of whose they are. `hash` and `previous` are hex SHA-256.
pub(super) fn audit(entry: &Entry) -> Fields {
    let draft = &entry.draft;
    vec![
        ("seq", entry.seq.into()),
        ("at", draft.at.into()),
        ("at_trusted", draft.at_trusted.into()),
        ("actor", draft.actor.to_string().into()),
        ("operation", draft.operation.as_str().into()),
        ("resource_type", draft.resource_type().into()),
        ("subject", draft.subject.as_str().into()),
        ("success", draft.success.into()),
        ("reason", draft.reason.clone().into()),
        ("request_id", draft.request_id.clone().into()),
        ("times", draft.times.into()),
        ("compliance_required", draft.compliance_required().into()),
        ("previous", hex(&entry.previous).into()),
        ("hash", hex(&entry.hash).into()),
    ]
}

/// Hashes are hex; `signed` is what anybody can check with the manager's key, null in epochs before heads were signed.
pub(super) fn epoch(head: &Head) -> Result<Fields, Fault> {
    let hash = head.hash().map_err(|why| Fault::Invariant(why.to_string()))?;
    Ok(vec![
        ("epoch", head.epoch.0.into()),
        ("last_slot", head.last_slot.0.into()),
        ("slots_per_epoch", head.slots_per_epoch.into()),
        ("start", head.epoch.first_slot().start().into()),
        ("end", head.last_slot.end().into()),
        ("closed_at", head.closed_at.into()),
        ("gap", head.is_gap.into()),
        ("params", plain(&CommittedParams::from(head.params))?),
        ("valid", head.counts.valid.into()),
        ("pending", head.counts.pending.into()),
        ("invalid", head.counts.invalid.into()),
        ("leaves_at", head.leaves_at.map(|epoch| epoch.0).into()),
        ("root", hex(&head.root).into()),
        ("previous", hex(&head.previous).into()),
        ("hash", hex(&hash).into()),
        ("signed", head.signed().map_or(Ok(Value::Null), |signed| plain(&signed))?),
    ])
}

/// What was answered is sealed, and its key is a hash: what the request was about is in neither.
pub(super) fn remembered(remembered: &Remembered) -> Fields {
    let (outcome, status, content_type, note) = match &remembered.outcome {
        Outcome::Committed => ("committed", None, None, None),
        Outcome::Answered { status, content_type, .. } => ("answered", Some(u32::from(*status)), content_type.clone(), None),
        Outcome::NotKept(why) => ("not_kept", None, None, Some(why.clone())),
    };
    vec![
        ("begun_at", remembered.begun_at.into()),
        ("forget_at", remembered.forget_at.into()),
        ("outcome", outcome.into()),
        ("status", status.into()),
        ("content_type", content_type.into()),
        ("note", note.into()),
    ]
}
