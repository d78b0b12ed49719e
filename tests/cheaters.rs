//! A month of cheaters: what each cheat gains over an honest machine that is up exactly as long, and what tells. Honest nodes keep their score and their pay, digit
//! for digit. A cheat that does gain stands in the table as one that does.

mod front_door;
mod month;

use front_door::{Anew, Clones, Junk, OnDemand};
use month::{Counting, Kind, Outcome};

fn or_nothing(told: &[String]) -> String {
    if told.is_empty() { "nothing".into() } else { told.join(", ") }
}

/// What the machines of a kind earned of what their twins did, in tenths of a percent; and both were up equally long.
fn per_mille(outcome: &Outcome, cheat: Kind, twin: Kind) -> i128 {
    let count = outcome.earned[&cheat].len().min(outcome.earned[&twin].len());
    let sum = |kind: Kind| outcome.earned[&kind][..count].iter().sum::<i128>();
    // Below the lowest valid score both earn nothing.
    if sum(cheat) == 0 { 0 } else { sum(cheat) * 1_000 / sum(twin) }
}

fn percent(per_mille: i128) -> String {
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

/// In a thread of its own.
fn lived(with_cheaters: bool, counting: Counting) -> std::thread::JoinHandle<Outcome> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(month::lived(with_cheaters, counting))
    })
}

#[tokio::test]
async fn a_month_of_cheaters_costs_honest_nodes_nothing() {
    let junk = front_door::junk().await;
    let counting = Counting { copied: junk.copied, constant: junk.constant, random: junk.random };
    let (with, without) = (lived(true, counting), lived(false, counting));
    let (with, without) = (with.join().unwrap(), without.join().unwrap());

    assert_eq!(with.honest.len(), without.honest.len());
    for (with, without) in with.honest.iter().zip(&without.honest) {
        let said = |leaves: &[(_, lucid::domain::credits::Leaf)]| -> Vec<_> {
            leaves.iter().map(|(epoch, leaf)| (*epoch, leaf.slots, leaf.inputs, leaf.score, leaf.multiplier, leaf.accrual)).collect()
        };
        assert_eq!(said(with), said(without), "digit for digit, as without cheaters around");
        assert_eq!(month::valid(with), with.len(), "valid from the first epoch to the last");
    }
    let clones = front_door::clones().await;
    let anew = front_door::anew().await;
    let on_demand = front_door::on_demand().await;
    for (cheat, gains, tells) in table(&with, &junk, &clones, &anew, &on_demand) {
        println!("| {cheat} | {gains} | {tells} |");
    }
    judged(&with, &junk, &clones, &anew, &on_demand);
}

fn table(month: &Outcome, junk: &Junk, clones: &Clones, anew: &Anew, on_demand: &OnDemand) -> Vec<(&'static str, String, String)> {
    let against = |cheat, twin| percent(per_mille(month, cheat, twin));
    // Beyond what is told of the honest twin.
    let told = |cheat, twin| {
        let more: Vec<String> = month.told[&cheat].iter().filter(|kind| !month.told[&twin].contains(kind)).cloned().collect();
        or_nothing(&more)
    };
    let turns = clones.proven_in_turns;
    let of_slots = |proven: u64| percent(i128::from(proven * 1_000 / on_demand.slots));
    vec![
        ("up in three of five slots", against(Kind::OnAndOff, Kind::PartTime), told(Kind::OnAndOff, Kind::Honest)),
        (
            "up around expected checks, 10 % of the time",
            against(Kind::AroundChecks, Kind::TenthOfDay),
            told(Kind::AroundChecks, Kind::Honest),
        ),
        ("no outputs", against(Kind::NoOutputs, Kind::HonestWithOutputs), told(Kind::NoOutputs, Kind::HonestWithOutputs)),
        ("copied outputs", against(Kind::CopiedOutputs, Kind::HonestWithOutputs), or_nothing(&junk.told_of_copier)),
        ("the same output each time", against(Kind::ConstantOutputs, Kind::HonestWithOutputs), or_nothing(&junk.told_of_others)),
        ("random bytes as outputs", against(Kind::RandomOutputs, Kind::HonestWithOutputs), or_nothing(&junk.told_of_others)),
        (
            "a workload that runs in one slot of ten, and an agent that says so",
            of_slots(on_demand.proven_by_honest_agent),
            "nothing".into(),
        ),
        (
            "a workload that is started to answer, and an agent that says that it runs",
            of_slots(on_demand.proven_by_changed_agent),
            or_nothing(&on_demand.told),
        ),
        (
            "8 hours away a week, declared as maintenance",
            against(Kind::MaintenanceAbuse, Kind::AwayWeekly),
            told(Kind::MaintenanceAbuse, Kind::AwayWeekly),
        ),
        (
            "a new key after an outage, same machine",
            against(Kind::SameMachineAnew, Kind::Outages),
            told(Kind::SameMachineAnew, Kind::Outages),
        ),
        (
            "a new identity after an outage, as another machine",
            against(Kind::ChangedMachineAnew, Kind::Outages),
            told(Kind::ChangedMachineAnew, Kind::Outages),
        ),
        ("a second node on the same machine", "200.0 %".into(), or_nothing(&anew.told_of_beside)),
        ("a copied key on another machine", format!("refused ({})", clones.refused_as), or_nothing(&clones.told_of_stranger)),
        ("a copied key and fingerprint, both report", "100.0 %".into(), or_nothing(&clones.told_of_both)),
        ("a copied key and fingerprint, in turns", percent(i128::from(turns.0 * 1_000 / turns.1)), or_nothing(&clones.told_of_turns)),
    ]
}

/// What the table says, so that a change is seen; where a cheat gains, the line says so.
fn judged(month: &Outcome, junk: &Junk, clones: &Clones, anew: &Anew, on_demand: &OnDemand) {
    let gain = |cheat, twin| per_mille(month, cheat, twin);
    let is_told = |kind: Kind, alert: &str| month.told[&kind].iter().any(|told| told == alert);
    for innocent in [Kind::Honest, Kind::HonestWithOutputs] {
        assert_eq!(month.told[&innocent], [] as [&str; 0], "nobody is suspected for nothing");
    }
    // Being up now and then is worth less than the same time in one piece, or nothing, and is told.
    for (cheat, twin) in [(Kind::OnAndOff, Kind::PartTime), (Kind::AroundChecks, Kind::TenthOfDay)] {
        assert!(gain(cheat, twin) <= 1_000 && is_told(cheat, "poot_deviation"), "{cheat:?}");
    }
    // Junk: a copy counts for nothing and is told. What an output says is not judged: the same one each time, and random bytes, are as good as work.
    assert!(!junk.copied && junk.told_of_copier == ["identical_outputs"]);
    assert!(gain(Kind::CopiedOutputs, Kind::HonestWithOutputs) < 750 && gain(Kind::NoOutputs, Kind::HonestWithOutputs) < 750);
    assert!(junk.constant && junk.random && junk.told_of_others.is_empty());
    assert_eq!([Kind::ConstantOutputs, Kind::RandomOutputs].map(|kind| gain(kind, Kind::HonestWithOutputs)), [1_000; 2]);
    // Challenges say that a workload can answer within 90 s, and not that it runs: for that the agent is believed.
    assert_eq!((on_demand.proven_by_honest_agent, on_demand.proven_by_changed_agent), (on_demand.slots / 10, on_demand.slots));
    assert!(on_demand.answered.0 > 5 && on_demand.answered.0 == on_demand.answered.1 && on_demand.told.is_empty());
    // Maintenance is not paid and spares the score: it gains what its rules give, to everybody who uses them.
    assert!((1_001..1_400).contains(&gain(Kind::MaintenanceAbuse, Kind::AwayWeekly)));
    // A machine is the node that it was, whatever its key; as another one it leaves its score behind, and nobody can tell.
    assert!(anew.same_name && anew.other_name && !anew.beside && !anew.changed);
    assert_eq!(gain(Kind::SameMachineAnew, Kind::Outages), 1_000);
    assert!((1_001..1_400).contains(&gain(Kind::ChangedMachineAnew, Kind::Outages)) && anew.told_of_changed.is_empty());
    assert_eq!(anew.told_of_beside, ["two_nodes_on_one_machine"]);
    // A copied key is one node, however many machines have it: no slot is proven twice.
    assert_eq!((clones.refused_as.as_str(), &*clones.told_of_stranger), ("KeyOnOtherHardware", &["key_on_other_hardware".to_owned()][..]));
    assert_eq!(clones.told_of_both, ["cloned_key"]);
    assert!(clones.told_of_turns.is_empty() && clones.proven_in_turns.0 <= clones.proven_in_turns.1);
}
