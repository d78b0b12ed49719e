//! How full the disk is, and what follows. What is measured in permille is shown in percent.

/// The level rises at these shares and falls `SLACK` below them, so that it does not flap.
const HIGH: u32 = 850;
const CRITICAL: u32 = 950;
const SLACK: u32 = 30;
/// While it is critical, one sample in so many is kept of each node.
pub const THINNED_TO: u32 = 10;
/// Smallest and largest reserve, and its share of the file system.
const SMALLEST_RESERVE: u64 = 1 << 20;
const LARGEST_RESERVE: u64 = 16 << 20;
const RESERVE_SHARE: u64 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    #[default]
    Ample,
    /// The oldest measurements go early.
    High,
    /// Metrics are thinned.
    Critical,
}

impl Level {
    /// The level that follows at this share, in permille.
    pub fn at(self, share: u32) -> Level {
        let rises = |limit: u32| share >= limit;
        let stays = |level: Level, limit: u32| self >= level && share + SLACK > limit;
        if rises(CRITICAL) || stays(Level::Critical, CRITICAL) {
            Level::Critical
        } else if rises(HIGH) || stays(Level::High, HIGH) {
            Level::High
        } else {
            Level::Ample
        }
    }

    /// The level that follows: at its share, and critical where so little is free that measurements stop, which on a small file system is before its share says so.
    pub fn after(self, figures: &Figures) -> Level {
        let floor = floor_bytes(reserve_bytes(figures.total));
        let is_starved = figures.free < floor || (self == Level::Critical && figures.free < floor + floor / 4);
        if is_starved { Level::Critical } else { self.at(figures.permille()) }
    }

    /// The share below which it ends, in permille.
    fn ends_below(self) -> u32 {
        match self {
            Level::Ample => 0,
            Level::High => HIGH - SLACK,
            Level::Critical => CRITICAL - SLACK,
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    pub total: u64,
    /// What this process may still use.
    pub free: u64,
    /// By whomever.
    pub used: u64,
    /// By the store, in blocks; backups are not part of it.
    pub store: u64,
    /// What the store may take.
    pub limit: Option<u64>,
}

impl Figures {
    /// Used share of what can be used, as df counts it, in permille, rounded up.
    pub fn disk_permille(&self) -> u32 {
        permille(self.used, self.used.saturating_add(self.free))
    }

    /// The share that decides: of the disk or of the limit.
    pub fn permille(&self) -> u32 {
        self.disk_permille().max(self.limit.map_or(0, |limit| permille(self.store, limit)))
    }

    /// Bytes that have to go before `level` ends.
    pub fn too_much_for(&self, level: Level) -> u64 {
        let over = |used: u64, all: u64| used.saturating_sub(all / 1_000 * u64::from(level.ends_below()));
        let of_disk = over(self.used, self.used.saturating_add(self.free));
        of_disk.max(self.limit.map_or(0, |limit| over(self.store, limit)))
    }
}

/// What is deleted next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    Week,
    Month,
}

/// What is deleted next at this level, of the weeks and the months that may go (their bytes). At `High` only weeks go, and only where they can end it: where somebody else fills the
/// disk, a history is not spent for nothing. At `Critical` they go whatever they bring, and months of hours after them.
pub fn goes(level: Level, figures: &Figures, weeks: &[u64], months: &[u64]) -> Option<Goes> {
    let all_weeks = weeks.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    match level {
        Level::Ample => None,
        Level::High => (!weeks.is_empty() && all_weeks >= figures.too_much_for(Level::High)).then_some(Goes::Week),
        Level::Critical if !weeks.is_empty() => Some(Goes::Week),
        Level::Critical => (!months.is_empty()).then_some(Goes::Month),
    }
}

/// Of an empty whole nothing is used.
fn permille(part: u64, whole: u64) -> u32 {
    let share = u128::from(part) * 1_000;
    u32::try_from(share.div_ceil(u128::from(whole.max(1)))).unwrap_or(u32::MAX)
}

/// Whether the sample of a node in a slot is kept while metrics are thinned: of each node one in ten, and in each slot those of a tenth of the nodes.
pub fn is_kept_of_thinned(node: u32, slot: u32) -> bool {
    slot.wrapping_add(node).is_multiple_of(THINNED_TO)
}

/// Bytes that are set aside on a file system of `total`, for the commits that go on when it is full.
pub fn reserve_bytes(total: u64) -> u64 {
    (total / RESERVE_SHARE).clamp(SMALLEST_RESERVE, LARGEST_RESERVE)
}

/// Free bytes below which measurements are not written any more: with the reserve or without it, what is left is for money and the audit log.
pub fn floor_bytes(reserve: u64) -> u64 {
    reserve + reserve / 4
}

/// Free bytes below which the reserve is let go, before a commit of the core runs into the end of the disk.
pub fn release_bytes(reserve: u64) -> u64 {
    reserve / 8
}

/// Free bytes from which the reserve is made again: with it measurements still have room.
pub fn remake_bytes(reserve: u64) -> u64 {
    reserve * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_rises_at_its_limit_and_falls_three_points_below() {
        let after = |from: Level, shares: &[u32]| shares.iter().fold(from, |level, share| level.at(*share));
        assert_eq!(after(Level::Ample, &[849]), Level::Ample);
        assert_eq!(after(Level::Ample, &[850]), Level::High);
        assert_eq!(after(Level::Ample, &[850, 821]), Level::High);
        assert_eq!(after(Level::Ample, &[850, 820]), Level::Ample);
        assert_eq!(after(Level::Ample, &[950, 921]), Level::Critical);
        assert_eq!(after(Level::Ample, &[950, 920]), Level::High);
        assert_eq!(after(Level::Ample, &[990, 821]), Level::High, "from critical through high");
        assert_eq!(after(Level::Ample, &[990, 100]), Level::Ample);
        // Around a limit it changes once.
        let changes = (0..100).fold((Level::Ample, 0), |(level, changes), n| {
            let next = level.at(if n % 2 == 0 { 851 } else { 849 });
            (next, changes + u32::from(next != level))
        });
        assert_eq!(changes, (Level::High, 1));
    }

    #[test]
    fn where_measurements_stop_it_is_critical_whatever_the_share() {
        // The floor of 64 MB is 5 MB, which is free at 92 %.
        let at = |free: u64| Figures { total: 64 << 20, free, used: (64 << 20) - free, store: 0, limit: None };
        let floor = floor_bytes(reserve_bytes(64 << 20));
        assert!(at(floor).permille() < CRITICAL);
        assert_eq!(Level::High.after(&at(floor - 1)), Level::Critical);
        assert_eq!(Level::High.after(&at(floor)), Level::High);
        assert_eq!(Level::Critical.after(&at(floor)), Level::Critical, "it does not flap");
        assert_eq!(Level::Critical.after(&at(floor * 5 / 4)), Level::High);
        // Of a large one the share decides.
        let large = Figures { total: 32 << 30, free: 1 << 30, used: 31 << 30, store: 0, limit: None };
        assert_eq!((large.permille() > CRITICAL, Level::Ample.after(&large)), (true, Level::Critical));
    }

    #[test]
    fn the_fuller_of_disk_and_limit_decides() {
        let disk = Figures { total: 1_050, free: 200, used: 800, store: 90, limit: None };
        assert_eq!((disk.disk_permille(), disk.permille()), (800, 800), "what is kept for root is not free");
        assert_eq!(Figures { limit: Some(100), ..disk }.permille(), 900);
        assert_eq!(Figures { limit: Some(60), ..disk }.permille(), 1_500);
        assert_eq!(Figures::default().permille(), 0);
        assert_eq!(Figures { used: 1, free: 99_999, ..disk }.permille(), 1, "rounded up");
    }

    #[test]
    fn what_has_to_go_ends_the_level() {
        for level in [Level::High, Level::Critical] {
            for (used, free, limit) in [(900_000, 100_000, None), (100_000, 900_000, Some(60_000))] {
                let figures = Figures { total: 1_000_000, free, used, store: 59_000, limit };
                let gone = figures.too_much_for(level);
                let after = Figures { free: free + gone, used: used - gone, store: 59_000_u64.saturating_sub(gone), ..figures };
                assert!(level.at(after.permille()) < level, "{figures:?} {gone}");
                if gone > 1_000 {
                    let less = gone - 1_000;
                    let after = Figures { free: free + less, used: used - less, store: 59_000_u64.saturating_sub(less), ..figures };
                    assert_eq!(level.at(after.permille()), level, "{figures:?} {gone}");
                }
            }
        }
    }

    #[test]
    fn weeks_go_where_they_help_and_months_only_at_the_end() {
        let figures = Figures { total: 1_000, free: 130, used: 870, store: 400, limit: None };
        assert_eq!(figures.too_much_for(Level::High), 50);
        assert_eq!(goes(Level::Ample, &figures, &[99], &[99]), None);
        assert_eq!(goes(Level::High, &figures, &[20, 30], &[99]), Some(Goes::Week));
        assert_eq!(goes(Level::High, &figures, &[20, 29], &[99]), None, "others fill the disk");
        assert_eq!(goes(Level::High, &figures, &[], &[99]), None);
        assert_eq!(goes(Level::Critical, &figures, &[1], &[99]), Some(Goes::Week));
        assert_eq!(goes(Level::Critical, &figures, &[], &[1]), Some(Goes::Month));
        assert_eq!(goes(Level::Critical, &figures, &[], &[]), None);
    }

    #[test]
    fn a_reserve_is_a_sixteenth_and_measurements_end_above_it() {
        assert_eq!([0, 64 << 20, 32 << 30].map(reserve_bytes), [1 << 20, 4 << 20, 16 << 20]);
        for reserve in [1 << 20, 16 << 20] {
            assert!(release_bytes(reserve) < reserve && reserve < floor_bytes(reserve));
            assert!(remake_bytes(reserve) - reserve > floor_bytes(reserve), "made again, it does not stop them");
        }
    }

    #[test]
    fn one_in_ten_is_kept_of_each_node_and_of_each_slot() {
        for node in [0, 7, u32::MAX] {
            assert_eq!((1_000..1_100).filter(|slot| is_kept_of_thinned(node, *slot)).count(), 10);
        }
        assert_eq!((0..100).filter(|node| is_kept_of_thinned(*node, 1_000)).count(), 10);
    }
}
