//! What happens, and when: outages, people's actions, the fates of payouts. Everything is placed by the length of the history, so that
//! a day tells the same story as a month.

use lucid::domain::time::{SLOT_SECONDS, Timestamp};

use crate::cast::{Member, Part, Pool};
use crate::gateway::{Fate, Line};
use crate::load::Noise;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// Spools are sent when the machines have found the manager again.
const LATE_AFTER_POWER_SECONDS: i64 = 900;
/// From this length on the settings are those of a new installation; shorter histories need a lower threshold and a shorter wait.
const LONG_DAYS: u32 = 7;

/// The time that is told.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub start: Timestamp,
    pub end: Timestamp,
    pub days: u32,
}

impl Span {
    pub fn new(end: Timestamp, days: u32) -> Span {
        Span { start: end.plus_seconds(-i64::from(days) * DAY), end, days }
    }

    fn seconds(&self) -> i64 {
        self.end.since(self.start) / 1_000
    }

    /// After this many thousandths of the history.
    fn at(&self, thousandths: i64) -> Timestamp {
        self.start.plus_seconds(self.seconds() * thousandths / 1_000)
    }

    fn before_end(&self, seconds: i64) -> Timestamp {
        self.end.plus_seconds(-seconds.min(self.seconds() * 9 / 10))
    }

    /// How much of the history has passed, 0 to 1.
    pub fn passed(&self, at: Timestamp) -> f64 {
        let ms = |ms: i64| f64::from(i32::try_from(ms / 1_000).unwrap_or(i32::MAX));
        (ms(at.since(self.start)) / ms(self.end.since(self.start))).clamp(0.0, 1.0)
    }

    fn is_long(&self) -> bool {
        self.days >= LONG_DAYS
    }

    pub fn cooldown_hours(&self) -> i64 {
        if self.is_long() { 24 } else { 1 }
    }

    fn cooldown(&self) -> i64 {
        self.cooldown_hours() * HOUR
    }

    /// A node at five cents an hour reaches it in a quarter of the history at most.
    /// A day earns less than a transfer costs.
    pub fn max_fee_percent(&self) -> &'static str {
        if self.is_long() { "75" } else { "0" }
    }

    /// Half the threshold.
    pub fn half_threshold_usdt(&self) -> String {
        if self.is_long() { "5".to_owned() } else { format!("0.{}", self.days) }
    }

    pub fn threshold_usdt(&self) -> String {
        if self.is_long() { "10".to_owned() } else { format!("0.{}", 2 * self.days) }
    }
}

/// What people and machines do at a moment; numbers are those of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Enrol(usize),
    /// A node without an agent.
    Create(usize),
    /// Register the payout address of this number.
    Address(usize, u8),
    /// The machine reports other memory, disk and network card.
    ChangeHardware(usize),
    AcceptHardware(usize),
    /// Somebody starts a copy of this node's card in another machine.
    CopyCard(usize),
    Stop(usize),
    Maintain(usize),
    EndMaintenance(usize),
    /// What an hour in the rack earns from now on.
    RackPrice(&'static str),
    /// What a TRX is worth, which holds for 30 days.
    TrxRate(&'static str),
    /// Schedules are made: one of them for this moment alone.
    Schedules {
        once: Timestamp,
    },
    /// A bonus for some, asked for together; one of them is large enough to wait for a second admin.
    Bonus,
    WrongPassword,
    /// The manager's machine has no power until then.
    PowerCut {
        until: Timestamp,
    },
    /// The link is back: machines send what they kept.
    SendLate,
}

pub struct Story {
    pub span: Span,
    /// In order of time.
    pub events: Vec<(Timestamp, Event)>,
    pub fates: Vec<Line>,
    noise: Noise,
    /// Nobody reaches the manager, nobody at home, the manager is off.
    link: (Timestamp, Timestamp),
    home_link: (Timestamp, Timestamp),
    pub power: (Timestamp, Timestamp),
}

/// Where a machine's measurement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The machine is off.
    Off,
    Reports,
    /// It runs and reaches nobody: it keeps what it measured.
    Keeps,
}

impl Story {
    pub fn new(span: Span, members: &[Member], seed: u64) -> Story {
        let window = |from: Timestamp, seconds: i64| (from, from.plus_seconds(seconds.min(span.seconds() / 10)));
        let link = window(span.at(350), 40 * 60);
        let power = window(span.at(550), 5 * HOUR);
        let home_link = window(span.at(800), 50 * 60);
        let mut story = Story { span, events: Vec::new(), fates: Vec::new(), noise: Noise(seed), link, home_link, power };
        for member in members {
            story.tell(member, seed);
        }
        let first = |part: Part| members.iter().find(|m| m.part == part).map(|m| m.number);
        let steady = first(Part::Steady).unwrap_or(0);
        let mut events = vec![
            (span.at(200), Event::Maintain(steady)),
            (span.at(200).plus_seconds(HOUR), Event::EndMaintenance(steady)),
            (link.1, Event::SendLate),
            (span.start.plus_seconds(HOUR), Event::TrxRate("0.27")),
            (span.at(333), Event::TrxRate("0.29")),
            (span.at(666), Event::TrxRate("0.28")),
            (span.at(470), Event::Schedules { once: span.at(480) }),
            (span.before_end(90 * 60), Event::Bonus),
            (span.at(500), Event::RackPrice("0.11")),
            (power.0, Event::PowerCut { until: power.1 }),
            // After the gap is closed: until then the evidence of machines would fill it.
            (power.1.plus_seconds(LATE_AFTER_POWER_SECONDS), Event::SendLate),
            (home_link.1, Event::SendLate),
            (span.at(850), Event::WrongPassword),
        ];
        events.extend(first(Part::Flaky).map(|number| (span.at(930), Event::CopyCard(number))));
        story.events.append(&mut events);
        story.events.sort_by_key(|(at, _)| *at);
        story
    }

    fn tell(&mut self, member: &Member, seed: u64) {
        let (span, n, cooldown) = (self.span, member.number, self.span.cooldown());
        let joined = match member.part {
            Part::New => span.before_end(40 * 60),
            Part::NeverEnrolled => {
                self.events.push((span.at(900), Event::Create(n)));
                return;
            }
            _ => span.at(4 * i64::try_from(n % 24).unwrap_or(0)).plus_seconds(90),
        };
        self.events.push((joined, Event::Enrol(n)));
        let owned = joined.plus_seconds(600);
        let mut fate = |change: u8, fate: Fate, from: Timestamp, until: Timestamp| {
            self.fates.push(Line { address: member.address(seed, change), fate, from, until });
        };
        let registered = match member.part {
            Part::New | Part::NoAddress => return,
            Part::PayoutPending => {
                fate(0, Fate::Unprepared, span.start, Timestamp(i64::MAX));
                span.before_end(cooldown + 3 * HOUR)
            }
            Part::PayoutProcessing => {
                fate(0, Fate::NeverFinal, span.start, Timestamp(i64::MAX));
                span.before_end(cooldown + 2 * HOUR)
            }
            Part::PayoutInReview => {
                fate(0, Fate::Lost, span.start, Timestamp(i64::MAX));
                span.before_end(cooldown + 6 * HOUR)
            }
            Part::PayoutDoubtful => {
                fate(0, Fate::Doubtful, span.start, Timestamp(i64::MAX));
                span.before_end(cooldown + 5 * HOUR)
            }
            Part::PayoutFails => {
                let at = span.at(400);
                fate(0, Fate::FailsOnChain, at, at.plus_seconds(cooldown + 12 * HOUR));
                at
            }
            Part::PayoutCancelled => {
                let at = span.at(420);
                fate(0, Fate::Unprepared, at, at.plus_seconds(cooldown + 5 * HOUR));
                self.events.push((at.plus_seconds(cooldown + 3 * HOUR), Event::Address(n, 1)));
                at
            }
            Part::AddressCooling => {
                self.events.push((span.before_end(cooldown / 3), Event::Address(n, 1)));
                owned
            }
            _ => owned,
        };
        self.events.push((registered, Event::Address(n, 0)));
        let then = match member.part {
            Part::Stopped => vec![(self.stopped_at(), Event::Stop(n))],
            Part::InMaintenance => vec![(span.before_end(30 * 60), Event::Maintain(n))],
            Part::Drifted => vec![(span.before_end(9 * HOUR), Event::ChangeHardware(n))],
            Part::DriftAccepted => {
                vec![(span.at(600), Event::ChangeHardware(n)), (span.at(600).plus_seconds(3 * HOUR), Event::AcceptHardware(n))]
            }
            _ => vec![],
        };
        self.events.extend(then);
    }

    fn stopped_at(&self) -> Timestamp {
        self.span.before_end((26 * HOUR).min(self.span.seconds() / 5))
    }

    /// Whether the machine has other hardware than it enrolled with.
    pub fn is_changed(&self, member: &Member, at: Timestamp) -> bool {
        let changes = |(when, event): &&(Timestamp, Event)| *event == Event::ChangeHardware(member.number) && *when <= at;
        matches!(member.part, Part::Drifted | Part::DriftAccepted) && self.events.iter().any(|event| changes(&event))
    }

    pub fn reach(&self, member: &Member, at: Timestamp) -> Reach {
        let within = |(from, until): (Timestamp, Timestamp)| (from..until).contains(&at);
        let no_power = within(self.power);
        // The house lost its power with the manager; the rack has batteries.
        if !self.is_on(member, at) || (no_power && member.pool == Pool::Home) {
            return Reach::Off;
        }
        let cut = no_power || within(self.link) || (within(self.home_link) && member.pool == Pool::Home);
        if cut { Reach::Keeps } else { Reach::Reports }
    }

    fn is_on(&self, member: &Member, at: Timestamp) -> bool {
        let noise = self.noise.about(u64::try_from(member.number).unwrap_or(0) + 1);
        let slot = u64::try_from(at.seconds() / SLOT_SECONDS).unwrap_or(0);
        // In every stretch of `hours` it is away for `minutes` with this probability, at a moment of its own.
        let away = |purpose: u64, hours: i64, probability: f64, minutes: f64| {
            let stretch = u64::try_from(at.seconds() / (hours * HOUR)).unwrap_or(0);
            let pick = |what: u64| noise.about(purpose + what).at(stretch);
            let within = f64::from(i32::try_from(at.seconds() % (hours * HOUR)).unwrap_or(0)) / 60.0;
            let length = minutes * (0.3 + 1.4 * pick(2));
            let begins = pick(1) * (f64::from(i32::try_from(hours * 60).unwrap_or(0)) - length).max(0.0);
            pick(0) < probability && (begins..begins + length).contains(&within)
        };
        let misses = |share: f64| noise.about(7).at(slot) < share;
        match member.part {
            Part::NeverEnrolled => false,
            Part::Stopped if at >= self.stopped_at() => false,
            Part::Silent if at >= self.span.before_end(25 * 60) => false,
            Part::Failing if at >= self.span.before_end(3 * DAY).max(self.span.start.plus_seconds(2 * HOUR)) => !away(20, 1, 0.95, 42.0),
            Part::Flaky | Part::PayoutFails | Part::Failing => !misses(0.03) && !away(30, 8, 0.35, 25.0),
            // A reboot for updates every week or so.
            _ => !misses(0.000_2) && !away(40, 9 * 24, 0.8, 4.0),
        }
    }
}
