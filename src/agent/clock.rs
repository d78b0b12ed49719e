//! The only place of the agent that reads a clock. A driven clock takes its place in tests.

use rustix::time::{ClockId, clock_gettime};

use crate::domain::time::{BootMs, Timestamp};

/// Where the agent's time comes from.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    #[default]
    System,
    /// Boot and wall milliseconds set by a test.
    #[cfg(test)]
    Driven(std::rc::Rc<std::cell::Cell<(i64, i64)>>),
}

impl Clock {
    /// CLOCK_BOOTTIME: never steps, counts while suspended.
    pub fn boot(&self) -> BootMs {
        match self {
            Clock::System => BootMs(read_ms(ClockId::Boottime)),
            #[cfg(test)]
            Clock::Driven(times) => BootMs(times.get().0),
        }
    }

    /// The wall clock, which may be wrong by decades: used only to date spooled samples when no manager has told the slot
    /// since the machine booted.
    pub fn wall(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp(read_ms(ClockId::Realtime)),
            #[cfg(test)]
            Clock::Driven(times) => Timestamp(times.get().1),
        }
    }
}

fn read_ms(clock: ClockId) -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the agent's one place that reads a clock")]
    let at = clock_gettime(clock);
    at.tv_sec.saturating_mul(1000).saturating_add(at.tv_nsec / 1_000_000)
}
