//! Proof of operational time: what epochs keep of nodes, and who proved which slot.

use super::{node_id, plain};
use crate::domain::bits::Bitmap;
use crate::domain::evidence::SlotRow;
use crate::domain::output::Proof;
use crate::domain::replica::{Fields, Value};
use crate::domain::time::Slot;
use crate::domain::validation::Validation;
use crate::storage::core::nodes;
use crate::storage::fault::Fault;
use crate::storage::hot::leaves::LeafGroup;
use crate::storage::hot::outputs::ProofRows;
use crate::storage::table::Read;

/// Up to 96 nodes that neighbour each other; scores are 0 to 100, confidence 0 to 1.
pub(super) fn leaves(read: &impl Read, (epoch, _): (u32, u32), leaves: &LeafGroup) -> Result<Fields, Fault> {
    let hundredths = |of: u16| Value::Float(f64::from(of) / 100.0);
    let scores = leaves.0.iter().map(|leaf| {
        Ok(Value::Fields(vec![
            ("node_id", node_id(read, leaf.node)?),
            ("state", plain(&leaf.score.state)?),
            ("score", hundredths(leaf.score.score_hundredths)),
            ("confidence", hundredths(leaf.score.confidence_hundredths.into())),
            ("window_slots", u32::from(leaf.window_slots).into()),
        ]))
    });
    Ok(vec![
        ("epoch", epoch.into()),
        ("timestamp", Slot(epoch).start().into()),
        ("scores", Value::List(scores.collect::<Result<_, Fault>>()?)),
    ])
}

/// What was said of outputs that follow each other; of `first` and those after it.
pub(super) fn validations(read: &impl Read, first: u64, ProofRows(proofs): &ProofRows) -> Result<Fields, Fault> {
    let one = |(number, proof): (u64, &Proof)| {
        let node = nodes::ever(read, proof.node)?.map(|node| node.id.to_string());
        let said = Validation::of(node.as_deref().unwrap_or_default(), number, proof);
        Ok(Value::Fields(vec![
            ("validation_id", said.validation_id.into()),
            ("node_id", node.into()),
            ("output_hash", said.output_hash.into()),
            ("timestamp", proof.timestamp.into()),
            ("score", said.score.into()),
            ("confidence", said.confidence.into()),
            ("is_valid", said.is_valid.into()),
            ("counted", said.counted.into()),
            ("validation_time_ms", said.validation_time_ms.into()),
            ("errors", said.errors.into()),
            ("batch_id", said.batch_id.into()),
            ("created_at", proof.received_at.into()),
        ]))
    };
    let validations = (first..).zip(proofs).map(one).collect::<Result<_, Fault>>()?;
    let last = proofs.last().map(|proof| proof.received_at);
    Ok(vec![("first", first.into()), ("timestamp", last.into()), ("validations", Value::List(validations))])
}

/// Bits are in the record; here is how many nodes there are of each.
pub(super) fn evidence(slot: u32, row: &SlotRow) -> Fields {
    let count = |of: &Bitmap| Value::from(u64::try_from(of.iter().count()).unwrap_or(u64::MAX));
    vec![
        ("slot", slot.into()),
        ("timestamp", Slot(slot).start().into()),
        ("proven", count(&row.proven)),
        ("observed", count(&row.observed)),
        ("attested", count(&row.attested)),
    ]
}
