//! Golden records of `hot.redb`; see `storage::golden`.

use super::block::{Block, Entry};
use super::day_reports;
use super::days::{DayGroup, Total, TotalGroup};
use super::hours::{HourEntry, Rolled, Stale};
use super::kept_outputs::{KeptOutput, KeptSum};
use super::leaves::LeafGroup;
use super::log;
use super::outputs::{ChallengeRow, ProofMonths, ProofRows};
use super::sample::Quantised;
use super::strained::Strained;
use super::written;
use super::{Ack, AckGroup, Anchor, EncodedSample, Meta, Untimed, UntimedItem};
use crate::crypto::unhex;
use crate::domain::chunk::{Sheet, first_release};
use crate::domain::credits::{EpochSlots, Leaf, Multiplier, Payer};
use crate::domain::evidence::{DayReports, EvidenceHash, SlotRow};
use crate::domain::ids::{Incarnation, NodeIndex, PoolIndex};
use crate::domain::metrics::{Cpu, Disk, Gpu, Interface, Memory, Network, Sample};
use crate::domain::money::{Currency, Pico};
use crate::domain::output::{Proof, ProofMonth, Wrong, Wrongs};
use crate::domain::poot::{Inputs, Params, Score, ScoreState, Window};
use crate::domain::series::{Gauge, Summary};
use crate::domain::span::Span;
use crate::domain::time::{BootMs, Slot};
use crate::domain::wear::{Tally, Written};
use crate::storage::bytes::Bytes;
use crate::storage::golden::{AT, Golden, SLOT, like, pricing};
use crate::storage::tails;

fn sample() -> Sample {
    Sample {
        cpu: Cpu {
            usage_percent: Some(12.5),
            cores: Some(4),
            frequency_mhz: Some(1_500.0),
            load_average: Some([0.25, 1.0, 2.5]),
            temperature_celsius: Some(-3.5),
        },
        memory: Memory { total_bytes: Some(4 << 30), used_bytes: Some(1 << 30), swap_total_bytes: Some(0), ..Memory::default() },
        disk: Disk {
            total_bytes: Some(32 << 30),
            used_bytes: Some(8 << 30),
            free_bytes: Some(24 << 30),
            read_iops: Some(100),
            write_iops: None,
            read_throughput_mbps: Some(1.5),
            write_throughput_mbps: Some(0.25),
        },
        network: Network {
            interfaces: vec![Interface { name: "eth0".into(), bytes_in: 7, bytes_out: u64::MAX, ..Interface::default() }],
            total_bytes_in: Some(u64::MAX),
            errors_out: Some(3),
            ..Network::default()
        },
        gpu: Some(Gpu {
            usage_percent: Some(50.0),
            memory_used_bytes: None,
            memory_total_bytes: Some(1 << 30),
            temperature_celsius: Some(60.5),
        }),
    }
}

fn leaves() -> Vec<Leaf> {
    let leaf = |node, state, payer| Leaf {
        node: NodeIndex(node),
        slots: EpochSlots { proven: 9, observed: 10 },
        inputs: Inputs {
            window: Window { proven: 2_800, observed: 2_880, interruptions: 3 },
            samples_within: 2_700,
            samples: 2_800,
            challenged: 5,
            answered: 4,
            outputs_expected: true,
        },
        score: Score { state, score_hundredths: 9_875, confidence_hundredths: 85 },
        multiplier: like::<Multiplier>(&20_160u32),
        payer,
        accrual: Pico(4_166_666_666_666),
        window_slots: 2_880,
        reports: (node == 1).then_some(DayReports { day: 20_711, count: 2_879, hash: EvidenceHash([9; 32]) }),
    };
    let payer = |currency| Some(Payer { pool: PoolIndex(2), pricing: pricing(currency) });
    vec![
        leaf(0, ScoreState::Pending, payer(Currency::Usdt)),
        leaf(1, ScoreState::Valid, payer(Currency::Lucid)),
        leaf(127, ScoreState::Invalid, None),
    ]
}

fn spans() -> Vec<Span> {
    let twice = |leaf| {
        let once = Span::of(&leaf, &Params::default()).unwrap();
        let mut twice = once.clone();
        twice.then(&once).unwrap();
        twice
    };
    leaves().into_iter().map(twice).collect()
}

fn proofs() -> Vec<Proof> {
    let valid = Proof {
        node: NodeIndex(300),
        received_at: AT,
        timestamp: AT.plus_ms(-1_500),
        wrongs: Wrongs::default(),
        challenge_slot: Some(SLOT),
        counted: true,
        by_node: true,
        output_hash: [1; 32],
        data: [2; 16],
        nonce: [3; 16],
        score_hundredths: 9_875,
        confidence_hundredths: 85,
        took_ms: 3,
        batch: None,
    };
    let wrongs = [Wrong::NotBase64, Wrong::ChallengeLate].into_iter().collect();
    let invalid = Proof { wrongs, challenge_slot: None, counted: false, by_node: false, batch: Some([4; 16]), ..valid };
    vec![valid, invalid]
}

fn month() -> ProofMonth {
    let mut month = ProofMonth::default();
    proofs().iter().for_each(|proof| month.add(proof));
    month
}

pub(super) fn hour() -> Summary {
    let bounds = [(Gauge::CpuUsagePercent, (0.5, 99.9)), (Gauge::MemoryUsedBytes, (536_870_912.0, 2_147_483_648.0))];
    let extremes = bounds.into_iter().collect();
    Summary { count: 120, extremes, ..Summary::of(sample(), true) }
}

/// Two machines over three slots, one with a GPU and interfaces that come and go.
fn sheet() -> Sheet {
    let mut poor = sample();
    (poor.gpu, poor.network.interfaces) = (None, Vec::new());
    let of = |node, slot: u32, late, sample: &Sample| (NodeIndex(node), Slot(59_000_000 + slot), late, EncodedSample::new(sample));
    let samples = [of(3, 0, false, &sample()), of(3, 1, true, &sample()), of(3, 2, false, &poor), of(9, 1, false, &Sample::default())];
    tails::sheet(samples.iter().map(|(node, slot, late, sample)| (*node, *slot, *late, sample)))
}

/// The same as the first release wrote it: free memory was a column of its own.
fn first_sheet() -> Vec<u8> {
    let bytes = unhex(first_release::SHEET).unwrap();
    let (first, present) = (Sheet::decode(&bytes).unwrap(), sheet());
    assert_eq!((&first.nodes, &first.slots, &first.late), (&present.nodes, &present.slots, &present.late));
    let sample = |of: &Sheet, at| Quantised::from_row(&of.columns.row(at), &of.columns.names);
    (0..4).for_each(|at| assert_eq!(sample(&first, at), sample(&present, at)));
    bytes
}

pub(in crate::storage) fn goldens() -> Vec<Golden> {
    let encoded = EncodedSample::new(&sample());
    let day = |day| DayReports { day, count: 2_880, hash: EvidenceHash([6; 32]) };
    let ack = Ack { incarnation: Incarnation(u64::MAX), seq: 300, reports: day(20_712) };
    let nodes = |indices: &[u32]| indices.iter().map(|index| NodeIndex(*index)).collect();
    let row = SlotRow { proven: nodes(&[0, 64, 300]), observed: nodes(&[0, 1, 64, 300]), attested: nodes(&[2]) };
    let untimed = |proves| UntimedItem {
        node: NodeIndex(300),
        at: BootMs(60_000),
        proves,
        witness: (!proves).then_some((Slot(9), BootMs(61_000))),
        sample: encoded.clone(),
    };
    let entry = |node, late| Entry { node: NodeIndex(node), late, sample: &encoded.0 };
    let written = Written { core: 1 << 20, hot: 60_000_000, cold: 300, other: 0 };
    vec![
        Golden::of(
            "Meta",
            vec![Meta {
                store_id: "0123456789abcdef".into(),
                generation: 2,
                flushed_at: AT,
                trust: Some(Anchor { boot_id: "b".into(), wall_minus_boot_ms: 7 }),
                written: Tally { since_ms: Some(AT.0), total: 300_000_000_000, day: 20_712, of_day: written },
            }],
        ),
        Golden::of("WearDay", vec![written::WearDay::default(), written::WearDay(written)]),
        Golden::of("SlotRow", vec![SlotRow::default(), row]),
        Golden::of("Strained", vec![Strained::default(), Strained([0, 63, 300].into_iter().map(NodeIndex).collect())]),
        Golden::of(
            "ChallengeRow",
            vec![ChallengeRow::default(), ChallengeRow { challenged: nodes(&[0, 64, 300]), answered: nodes(&[64]) }],
        ),
        Golden::of("ProofRows", vec![ProofRows(proofs())]),
        Golden::of("ProofMonths", vec![ProofMonths(vec![(0, ProofMonth::default()), (300, month())])]),
        Golden::of("KeptOutput", vec![KeptOutput { node: NodeIndex(300), data: vec![0, 1, 255] }]),
        Golden::of("KeptSum", vec![KeptSum::default(), KeptSum { rows: 3, bytes: 70_000 }]),
        Golden::of("AckGroup", vec![AckGroup(vec![(1, ack), (127, ack)])]),
        Golden::of("DayReportsGroup", vec![day_reports::DayReportsGroup(vec![(1, day(20_711)), (127, day(20_711))])]),
        Golden::of("Untimed", vec![Untimed { boot_id: "b".into(), items: vec![untimed(true), untimed(false)] }]),
        Golden::of("Block", vec![Block::default(), Block::default().merged([entry(1, false), entry(127, true)])]),
        Golden::of("Quantised", vec![Quantised::from(&Sample::default()), Quantised::from(&sample())]),
        Golden::of("LogRow", vec![log::LogRow::default(), log::LogRow(Bytes(first_sheet())), log::LogRow(Bytes(sheet().encode()))]),
        Golden::of("SealedGroup", vec![log::SealedGroup(vec![(1, 70_000, 59_000_000), (95, 1, 2)])]),
        Golden::of("Sweep", vec![log::Sweep { next: 300 }]),
        Golden::of("LeafGroup", vec![like::<LeafGroup>(&leaves())]),
        Golden::of(
            "Rolled",
            vec![
                Rolled::default(),
                Rolled { hours_before: 500_000, days_before: 20_700, score_hours_before: 499_999, whole_days_from: 20_000 },
            ],
        ),
        Golden::of("Stale", vec![Stale::default(), like::<Stale>(&300u32)]),
        Golden::of("HourEntry", vec![HourEntry::of(Summary::of(Sample::default(), false)), HourEntry::of(hour())]),
        Golden::of("DayGroup", vec![DayGroup(spans())]),
        Golden::of("TotalGroup", vec![TotalGroup(spans().into_iter().map(|span| Total { first_day: 20_700, span }).collect())]),
    ]
}
