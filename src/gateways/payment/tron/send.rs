//! Sends the bytes of an attempt, the same ones every time, so that they can land once only.

use super::super::SendOutcome;
use super::SignedTransfer;
use super::answers::Told;
use super::gateway::{TronGateway, own};
use super::link::NodeError;
use super::node::Node;
use crate::domain::payout::Attempt;

/// What one node said.
enum Heard {
    /// In its pool, or on its way to others.
    Taken,
    /// It knows the transaction, or remembers that it once refused it: others may not have it.
    Known,
    /// It may be in its pool.
    Unclear(String),
    /// Refused before its pool, for a reason that is this node's own.
    Elsewhere(String),
    /// Refused for a reason of this transaction.
    Refused(String),
    /// Refused for a reason that others would have too.
    Stop(String),
}

impl TronGateway {
    pub(super) async fn send_bytes(&self, attempt: &Attempt) -> SendOutcome {
        if let Err(why) = own(attempt, self.wallet.account, self.contract) {
            return SendOutcome::Stop(format!("not sent: {why}"));
        }
        if SignedTransfer::read(&attempt.prepared.bytes).is_err() {
            // It may have left before, so it is looked for until it has landed or cannot any more.
            return SendOutcome::Refused("not sent: its signature did not come back from the cluster, where no signed transfer is".into());
        }
        let (mut known, mut unclear, mut elsewhere) = (false, None, None);
        for node in self.nodes() {
            match self.send_to(node, &attempt.prepared.bytes).await {
                Heard::Taken => return SendOutcome::Accepted,
                Heard::Known => known = true,
                Heard::Unclear(why) => unclear = unclear.or(Some(why)),
                Heard::Elsewhere(why) => elsewhere = elsewhere.or(Some(why)),
                // After one node that may hold it, what another one refuses proves nothing.
                Heard::Refused(_) | Heard::Stop(_) if known || unclear.is_some() => (),
                Heard::Refused(why) => return SendOutcome::Refused(why),
                Heard::Stop(why) => return SendOutcome::Stop(why),
            }
        }
        match (known, unclear, elsewhere) {
            (true, ..) => SendOutcome::Accepted,
            (_, Some(why), _) => SendOutcome::Unknown(why),
            (.., why) => SendOutcome::Refused(why.unwrap_or_else(|| "no node took it".into())),
        }
    }

    async fn send_to(&self, node: &Node, bytes: &[u8]) -> Heard {
        // Nothing is sent to a node that was not seen to be of the network.
        if let Err(why) = node.check(&self.network).await {
            return Heard::Elsewhere(why.to_string());
        }
        match node.broadcast(bytes).await {
            Ok(told) => heard(&node.url, &told),
            Err(NodeError::Resting(why)) => Heard::Elsewhere(why),
            Err(NodeError::Missing(why) | NodeError::Failed(why)) => Heard::Unclear(why),
        }
    }
}

/// By java-tron's `Wallet.broadcastTransaction`.
fn heard(url: &str, told: &Told) -> Heard {
    let said = format!("{url} says {}: {}", told.code, told.message);
    match told.code.as_str() {
        // Of the second one java-tron speaks after it has put the transaction in its pool.
        "SUCCESS" | "NOT_ENOUGH_EFFECTIVE_CONNECTION" => Heard::Taken,
        "DUP_TRANSACTION_ERROR" => Heard::Known,
        "SERVER_BUSY" | "NO_CONNECTION" | "BLOCK_UNSOLIDIFIED" | "TAPOS_ERROR" => Heard::Elsewhere(said),
        "TRANSACTION_EXPIRATION_ERROR" => Heard::Refused(said),
        _ => Heard::Stop(said),
    }
}
