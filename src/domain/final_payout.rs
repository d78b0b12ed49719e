//! A node that leaves: out of service at once, paid once more whatever the threshold says, and deleted when nothing is owed to it any more.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::UserId;
use super::payout::Skip;
use super::time::{Slot, Timestamp};

/// What holds a final payout; about the node.
pub const ALERT: &str = "final_payout_blocked";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalPayout {
    pub requested_at: Timestamp,
    pub by: UserId,
    /// The first slot that is not of its service.
    pub from: Slot,
    pub stage: Stage,
    /// Sequence of the last payout that was planned for it.
    pub payout: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Epochs of its service are still open, or not posted.
    Closing,
    /// Everything that it earned is posted, and is on its way or will be with the next cycle.
    Paying,
    /// Nothing goes on until somebody does something, or time passes.
    Held(Hold),
}

/// Why it cannot be paid, or not be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// The same guards as for every payout.
    Guard(Skip),
    /// The chain refused it for good.
    Failed,
    /// This manager pays in a dry run: what is owed in the live book is real all the same.
    OwedLive,
}

impl Hold {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Hold::Failed => "payout_failed",
            Hold::OwedLive => "owed_live",
            Hold::Guard(skip) => skip.name(),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Guard(skip) => skip.fmt(f),
            Hold::Failed => f.write_str("the payout failed; ask for the final payout again, or forfeit what is owed"),
            Hold::OwedLive => {
                f.write_str("payouts are a dry run, and what is owed in the live book is not paid by one; go live, or forfeit it")
            }
        }
    }
}
