//! Random numbers that can be had again: `LUCID_SEED` replays what a test printed.

pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        let given = std::env::var("LUCID_SEED").ok();
        let seed = given.map_or_else(
            || u64::from_le_bytes(lucid::crypto::Entropy::new().bytes()),
            |text| text.parse().expect("LUCID_SEED is a number"),
        );
        println!("LUCID_SEED={seed}");
        Random(seed | 1)
    }

    /// Those that follow from `seed`; none of them are those of another one.
    pub fn of(seed: u64) -> Random {
        Random((seed << 1) | 1)
    }

    /// Xorshift64*.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    /// Within `[low, high)`.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }
}
