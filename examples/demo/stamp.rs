//! What a later run of the program has to know about a store that it filled: `demo.json` in the data folder.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lucid::clock::Driver;
use lucid::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cast::{Member, cast, wallet};
use crate::gateway::Scripted;
use crate::past::real_now;
use crate::story::{Span, Story};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Silence,
    Wake,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stamp {
    pub seed: u64,
    pub days: u32,
    pub nodes: usize,
    /// Where the story ends and the present begins, in unix milliseconds.
    pub ends_at_ms: i64,
    /// By how much this manager's clock is ahead of the machine's.
    pub ahead_ms: i64,
    /// Machines that were told to be silent, or to wake.
    pub told: BTreeMap<String, Told>,
    /// The past has been told to its end.
    pub filled: bool,
}

impl Stamp {
    pub fn new(seed: u64, days: u32, nodes: usize) -> Stamp {
        Stamp { seed, days, nodes, ends_at_ms: real_now().0, ahead_ms: 0, told: BTreeMap::new(), filled: false }
    }

    fn file(dir: &Path) -> PathBuf {
        dir.join("demo.json")
    }

    pub fn read(dir: &Path) -> Result<Stamp, Box<dyn Error>> {
        let text = std::fs::read(Stamp::file(dir)).map_err(|e| format!("{} holds no demo: {e}", dir.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    pub fn exists(dir: &Path) -> bool {
        Stamp::file(dir).exists()
    }

    /// Replaces the file in one step: the process may be killed at any moment.
    pub fn write(&self, dir: &Path) -> Result<(), Box<dyn Error>> {
        let fresh = dir.join("demo.json.new");
        std::fs::write(&fresh, serde_json::to_vec_pretty(self)?)?;
        Ok(std::fs::rename(fresh, Stamp::file(dir))?)
    }

    /// The present of this manager's clock.
    pub fn present(&self) -> Timestamp {
        real_now().plus_ms(self.ahead_ms)
    }

    pub fn story(&self) -> (Vec<Member>, Story) {
        let members = cast(self.nodes);
        let story = Story::new(Span::new(Timestamp(self.ends_at_ms), self.days), &members, self.seed);
        (members, story)
    }

    pub fn settings(&self, span: &Span) -> Vec<(&'static str, String)> {
        vec![
            ("payout.threshold_usdt", span.threshold_usdt()),
            ("payout.address_cooldown_hours", span.cooldown_hours().to_string()),
            ("payout.max_fee_percent", span.max_fee_percent().to_owned()),
            ("payout.approval_above_usdt", self.approval_above_usdt().to_string()),
        ]
    }

    /// More than the fleet is paid in a day by itself.
    pub fn approval_above_usdt(&self) -> usize {
        12 * self.nodes
    }

    /// What the wallet is on the network of the story.
    pub fn gateway(&self, story: &Story, driver: &Driver) -> Arc<Scripted> {
        Scripted::new(story.fates.clone(), driver, wallet(self.seed))
    }
}
