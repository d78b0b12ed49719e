//! How much goes in one request: less while the link breaks, so that something always arrives.

/// A 64th of a whole request is the least.
const MOST_HALVINGS: u32 = 6;
/// So many in a row, and the next ones are twice as large.
const WENT_WELL: u32 = 32;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    halvings: u32,
    went: u32,
}

impl Pace {
    /// A request was not answered.
    pub fn broke(&mut self) {
        *self = Pace { halvings: (self.halvings + 1).min(MOST_HALVINGS), went: 0 };
    }

    /// One was.
    pub fn went(&mut self) {
        self.went += 1;
        if self.went >= WENT_WELL {
            *self = Pace { halvings: self.halvings.saturating_sub(1), went: 0 };
        }
    }

    /// What is left of a whole request, and never nothing.
    pub fn of(&self, whole: usize) -> usize {
        (whole >> self.halvings).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_shrink_while_the_link_breaks_and_grow_again_slowly() {
        let mut pace = Pace::default();
        assert_eq!(pace.of(500), 500);
        pace.broke();
        assert_eq!((pace.of(500), pace.of(1)), (250, 1));
        (0..40).for_each(|_| pace.broke());
        assert_eq!(pace.of(1 << 20), 1 << 14);
        (0..WENT_WELL - 1).for_each(|_| pace.went());
        assert_eq!(pace.of(1 << 20), 1 << 14);
        pace.went();
        assert_eq!(pace.of(1 << 20), 1 << 15);
        (0..WENT_WELL * 10).for_each(|_| pace.went());
        assert_eq!(pace.of(500), 500);
    }
}
