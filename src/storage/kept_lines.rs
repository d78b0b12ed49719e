//! What charts over 24 h have made of steps that are over: of each node and metric a value per step, so that the next chart reads the newest samples alone. A step comes to something
//! else only when a sample is added to what is durable, which forgets it, or when files are deleted, which forgets everything. Sealing moves samples and changes none.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::ids::NodeIndex;
use crate::domain::overlay::{Metric, Outcome};
use crate::domain::time::Slot;

/// Slots of a step.
pub const STEP: u32 = 10;
/// Steps that are kept of a line, the newest ones: 25 h.
const STEPS: u32 = 300;
/// Memory of all lines, at most. Of a gauge a line takes 1.2 KB, of a counter 2.7 KB. When it is full, the charts go that nobody has asked for the longest.
const MOST_BYTES: usize = 8 << 20;
/// What is left of it then.
const LEFT_BYTES: usize = MOST_BYTES / 4 * 3;

#[derive(Debug, Default)]
pub struct KeptLines(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    nodes: Vec<OfNode>,
    bytes: usize,
    charts: u64,
    /// Deletions of files when this was last looked at.
    deletions: u64,
}

#[derive(Debug, Default)]
struct OfNode {
    /// How often something was added to what is durable of the node.
    changes: u64,
    lines: [Option<Box<Kept>>; Metric::ALL.len()],
}

/// What the store was when somebody began to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    changes: u64,
    deletions: u64,
}

/// A chart that is being made.
#[derive(Debug, Clone, Copy)]
pub struct Chart {
    number: u64,
    metric: Metric,
    deletions: u64,
}

/// The newest steps of one line, each at its number modulo `STEPS`.
#[derive(Debug)]
struct Kept {
    /// Number of the newest step; those before are kept as far as there is room.
    newest: u32,
    /// The last chart that asked.
    chart: u64,
    steps: Steps,
}

#[derive(Debug)]
enum Steps {
    /// In thousandths.
    Means(Vec<i32>),
    /// With the places of their slots within the step.
    Counts(Vec<f64>, Vec<u8>),
}

const UNKNOWN: i32 = i32::MIN;
const NO_MEAN: i32 = i32::MIN + 1;
const NOT_KNOWN: u8 = u8::MAX;
const NO_COUNT: u8 = u8::MAX - 1;

fn place(number: u32) -> usize {
    usize::try_from(number % STEPS).unwrap_or_default()
}

impl Steps {
    fn new(metric: Metric) -> Steps {
        let steps = usize::try_from(STEPS).unwrap_or_default();
        if metric.is_counter() { Steps::Counts(vec![0.0; steps], vec![NOT_KNOWN; steps]) } else { Steps::Means(vec![UNKNOWN; steps]) }
    }

    fn bytes(&self) -> usize {
        match self {
            Steps::Means(of) => size_of_val(of.as_slice()),
            Steps::Counts(of, places) => size_of_val(of.as_slice()) + size_of_val(places.as_slice()),
        }
    }

    fn get(&self, number: u32) -> Option<Outcome> {
        match self {
            Steps::Means(of) => match *of.get(place(number))? {
                UNKNOWN => None,
                NO_MEAN => Some(Outcome::Nothing),
                thousandths => Some(Outcome::Mean(f64::from(thousandths) / 1_000.0)),
            },
            Steps::Counts(of, places) => match *places.get(place(number))? {
                NOT_KNOWN => None,
                NO_COUNT => Some(Outcome::Nothing),
                slot => Some(Outcome::Last(Slot(number * STEP).plus(slot.into()), *of.get(place(number))?)),
            },
        }
    }

    fn put(&mut self, number: u32, outcome: Option<Outcome>) {
        match self {
            Steps::Means(of) => {
                let Some(of_step) = of.get_mut(place(number)) else { return };
                *of_step = match outcome {
                    Some(Outcome::Nothing) => NO_MEAN,
                    Some(Outcome::Mean(mean)) => thousandths(mean).unwrap_or(UNKNOWN),
                    Some(Outcome::Last(..)) | None => UNKNOWN,
                };
            }
            Steps::Counts(of, places) => {
                let (Some(of_step), Some(slot_of_step)) = (of.get_mut(place(number)), places.get_mut(place(number))) else { return };
                (*of_step, *slot_of_step) = match outcome {
                    Some(Outcome::Nothing) => (0.0, NO_COUNT),
                    Some(Outcome::Last(slot, count)) => (count, u8::try_from(slot.0.saturating_sub(number * STEP)).unwrap_or(NOT_KNOWN)),
                    Some(Outcome::Mean(_)) | None => (0.0, NOT_KNOWN),
                };
            }
        }
    }
}

/// Exactly, or not at all.
fn thousandths(mean: f64) -> Option<i32> {
    let whole = (mean * 1_000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
    (whole.abs() < f64::from(i32::MAX)).then_some(whole as i32)
}

impl Kept {
    fn new(metric: Metric, newest: u32, chart: u64) -> Kept {
        Kept { newest, chart, steps: Steps::new(metric) }
    }

    fn bytes(&self) -> usize {
        size_of::<Kept>() + self.steps.bytes()
    }

    fn has_room(&self, number: u32) -> bool {
        number <= self.newest && self.newest - number < STEPS
    }

    fn get(&self, number: u32) -> Option<Outcome> {
        self.steps.get(number).filter(|_| self.has_room(number))
    }

    fn put(&mut self, number: u32, outcome: Outcome) {
        for passed in (self.newest + 1..=number).rev().take(usize::try_from(STEPS).unwrap_or_default()) {
            self.steps.put(passed, None);
        }
        self.newest = self.newest.max(number);
        if self.has_room(number) {
            self.steps.put(number, Some(outcome));
        }
    }
}

impl Inner {
    fn node(&mut self, node: NodeIndex) -> Option<&mut OfNode> {
        if self.nodes.len() <= node.position() {
            self.nodes.resize_with(node.position() + 1, OfNode::default);
        }
        self.nodes.get_mut(node.position())
    }

    fn clear(&mut self) {
        self.nodes.iter_mut().for_each(|of| of.lines = Default::default());
        self.bytes = 0;
    }

    fn make_room(&mut self) {
        let mut all: Vec<(u64, usize)> =
            self.nodes.iter().flat_map(|of| &of.lines).flatten().map(|kept| (kept.chart, kept.bytes())).collect();
        all.sort_unstable();
        let mut bytes = self.bytes;
        let mut last = None;
        for (chart, of_line) in all {
            if bytes <= LEFT_BYTES && last != Some(chart) {
                break;
            }
            bytes -= of_line;
            last = Some(chart);
        }
        for line in self.nodes.iter_mut().flat_map(|of| &mut of.lines) {
            line.take_if(|kept| last.is_some_and(|last| kept.chart <= last));
        }
        self.bytes = bytes;
    }
}

impl KeptLines {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a chart. `deletions` is how many files were deleted so far.
    pub fn chart(&self, metric: Metric, deletions: u64) -> Chart {
        let mut inner = self.inner();
        if inner.deletions < deletions {
            inner.clear();
            inner.deletions = deletions;
        }
        inner.charts += 1;
        Chart { number: inner.charts, metric, deletions }
    }

    /// Shows what is kept of the first of these steps, up to the first one that is not. What is made of the others may be kept under the stamp, if nothing waited for the disk in it and
    /// its samples are read from now on.
    pub fn show(&self, chart: Chart, node: NodeIndex, numbers: Range<u32>, mut show: impl FnMut(u32, Outcome)) -> Stamp {
        let mut inner = self.inner();
        let is_present = inner.deletions == chart.deletions;
        let Some(of) = inner.node(node) else { return Stamp { changes: u64::MAX, deletions: chart.deletions } };
        if let Some(Some(kept)) = of.lines.get_mut(chart.metric as usize).filter(|_| is_present) {
            kept.chart = chart.number;
            for number in numbers {
                let Some(outcome) = kept.get(number) else { break };
                show(number, outcome);
            }
        }
        Stamp { changes: of.changes, deletions: chart.deletions }
    }

    /// Keeps what steps come to, unless something has changed since `stamp`.
    pub fn keep(&self, chart: Chart, node: NodeIndex, stamp: Stamp, outcomes: impl Iterator<Item = (u32, Outcome)>) {
        let mut outcomes = outcomes.peekable();
        let Some((first, _)) = outcomes.peek().copied() else { return };
        let mut inner = self.inner();
        if inner.deletions != stamp.deletions {
            return;
        }
        let Some(of) = inner.node(node).filter(|of| of.changes == stamp.changes) else { return };
        let Some(line) = of.lines.get_mut(chart.metric as usize) else { return };
        let mut added = 0;
        // After a clock was set back.
        line.take_if(|kept| {
            let is_ahead = kept.newest >= first.saturating_add(2 * STEPS);
            added -= if is_ahead { kept.bytes().cast_signed() } else { 0 };
            is_ahead
        });
        let kept = line.get_or_insert_with(|| {
            let kept = Kept::new(chart.metric, first, chart.number);
            added += kept.bytes().cast_signed();
            Box::new(kept)
        });
        outcomes.for_each(|(number, outcome)| kept.put(number, outcome));
        inner.bytes = inner.bytes.saturating_add_signed(added);
        if inner.bytes > MOST_BYTES {
            inner.make_room();
        }
    }

    /// Samples were added to what is durable. Those of a node come together.
    pub fn changed(&self, samples: impl Iterator<Item = (NodeIndex, Slot)>) {
        let mut inner = self.inner();
        for (node, slot) in samples {
            let Some(of) = inner.node(node) else { continue };
            of.changes += 1;
            for kept in of.lines.iter_mut().flatten().filter(|kept| kept.has_room(slot.0 / STEP)) {
                kept.steps.put(slot.0 / STEP, None);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut inner = self.inner();
        inner.clear();
        // Who reads now keeps nothing of it.
        inner.nodes.iter_mut().for_each(|of| of.changes += 1);
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        self.inner().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: NodeIndex = NodeIndex(3);

    fn shown(kept: &KeptLines, chart: Chart, node: NodeIndex, numbers: Range<u32>) -> (Vec<(u32, Outcome)>, Stamp) {
        let mut shown = Vec::new();
        let stamp = kept.show(chart, node, numbers, |number, outcome| shown.push((number, outcome)));
        (shown, stamp)
    }

    fn means(numbers: Range<u32>) -> Vec<(u32, Outcome)> {
        numbers.map(|n| (n, if n % 7 == 0 { Outcome::Nothing } else { Outcome::Mean(f64::from(n) / 1_000.0) })).collect()
    }

    #[test]
    fn what_was_made_of_what_is_no_more_is_not_kept() {
        let kept = KeptLines::default();
        let chart = kept.chart(Metric::Cpu, 0);
        let (none, stamp) = shown(&kept, chart, N, 100..110);
        assert_eq!(none, []);
        kept.keep(chart, N, stamp, means(100..110).into_iter());
        assert_eq!(shown(&kept, chart, N, 100..112).0, means(100..110));
        assert_eq!(shown(&kept, kept.chart(Metric::Disk, 0), N, 100..112).0, [], "of another metric");
        // A sample of step 104 was added after somebody began to read.
        kept.changed([(N, Slot(1_045))].into_iter());
        kept.keep(chart, N, stamp, means(100..112).into_iter());
        let (first, stamp) = shown(&kept, chart, N, 100..112);
        assert_eq!(first, means(100..104));
        kept.changed([(NodeIndex(2), Slot(1_045))].into_iter());
        kept.keep(chart, N, stamp, means(104..112).into_iter());
        assert_eq!(shown(&kept, chart, N, 100..112).0, means(100..112), "another node is another matter");
        // A file is deleted while somebody reads.
        let (_, stamp) = shown(&kept, chart, N, 100..101);
        let later = kept.chart(Metric::Cpu, 1);
        kept.keep(chart, N, stamp, means(100..112).into_iter());
        assert_eq!(shown(&kept, later, N, 100..112).0, []);
        assert_eq!(kept.bytes(), 0);
    }

    #[test]
    fn the_newest_steps_are_kept_and_numbers_come_back_exactly() {
        let kept = KeptLines::default();
        let chart = kept.chart(Metric::Temperature, 0);
        let (_, stamp) = shown(&kept, chart, N, 0..1);
        let given = [Outcome::Mean(-3.25), Outcome::Mean(0.0), Outcome::Mean(1e9), Outcome::Mean(7.0)];
        kept.keep(chart, N, stamp, (50..).zip(given));
        assert_eq!(shown(&kept, chart, N, 50..54).0, [(50, given[0]), (51, given[1])], "what does not fit is not kept");
        assert_eq!(shown(&kept, chart, N, 53..54).0, [(53, given[3])]);
        kept.keep(chart, N, stamp, means(349..351).into_iter());
        assert_eq!(shown(&kept, chart, N, 50..51).0, []);
        assert_eq!(shown(&kept, chart, N, 51..52).0, [(51, given[1])]);
        assert_eq!(shown(&kept, chart, N, 349..351).0, means(349..351));
        kept.keep(chart, N, stamp, means(2_000..2_001).into_iter());
        assert_eq!(shown(&kept, chart, N, 1_750..1_751).0, [], "places of what is long over are empty");
        kept.keep(chart, N, stamp, means(60..62).into_iter());
        assert_eq!(shown(&kept, chart, N, 60..62).0, means(60..62), "a clock was set back");
        let counts = kept.chart(Metric::NetworkIn, 0);
        let given = [Outcome::Last(Slot(509), 2f64.powi(60)), Outcome::Nothing, Outcome::Last(Slot(520), 0.0)];
        kept.keep(counts, N, stamp, (50..).zip(given));
        assert_eq!(shown(&kept, counts, N, 50..53).0, (50..).zip(given).collect::<Vec<_>>());
    }

    #[test]
    fn charts_that_nobody_has_asked_for_the_longest_go_first() {
        let kept = KeptLines::default();
        let fill = |metric: Metric, nodes: Range<u32>| {
            let chart = kept.chart(metric, 0);
            for node in nodes {
                let (known, stamp) = shown(&kept, chart, NodeIndex(node), 0..1);
                if known.is_empty() {
                    kept.keep(chart, NodeIndex(node), stamp, means(0..1).into_iter());
                }
            }
        };
        let has = |metric, node| !shown(&kept, kept.chart(metric, 0), NodeIndex(node), 0..1).0.is_empty();
        fill(Metric::Disk, 0..1_300);
        fill(Metric::NetworkIn, 0..1_300);
        fill(Metric::Cpu, 0..1_300);
        fill(Metric::Disk, 0..1);
        fill(Metric::NetworkOut, 0..1_300);
        assert!(kept.bytes() <= MOST_BYTES, "{}", kept.bytes());
        assert!(has(Metric::NetworkOut, 1_299) && has(Metric::Cpu, 0) && has(Metric::Disk, 0));
        assert!(!has(Metric::Disk, 1) && !has(Metric::NetworkIn, 0));
        let counted: usize = kept.inner().nodes.iter().flat_map(|of| &of.lines).flatten().map(|line| line.bytes()).sum();
        assert_eq!(counted, kept.bytes());
    }
}
