//! Exact fractions, so that nothing in the model rounds but where the documents say so.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    part: i128,
    whole: i128,
}

fn common_divisor(a: i128, b: i128) -> i128 {
    if b == 0 { a.abs().max(1) } else { common_divisor(b, a % b) }
}

impl Fraction {
    pub fn new(part: i128, whole: i128) -> Fraction {
        assert!(whole > 0);
        let divisor = common_divisor(part, whole);
        Fraction { part: part / divisor, whole: whole / divisor }
    }

    pub fn whole(value: i128) -> Fraction {
        Fraction::new(value, 1)
    }

    pub fn times(self, other: Fraction) -> Fraction {
        Fraction::new(self.part * other.part, self.whole * other.whole)
    }

    pub fn plus(self, other: Fraction) -> Fraction {
        Fraction::new(self.part * other.whole + other.part * self.whole, self.whole * other.whole)
    }

    pub fn minus(self, other: Fraction) -> Fraction {
        self.plus(Fraction::new(-other.part, other.whole))
    }

    pub fn at_least(self, other: Fraction) -> bool {
        self.part * other.whole >= other.part * self.whole
    }

    pub fn floor(self) -> i128 {
        self.part.div_euclid(self.whole)
    }

    /// The nearest integer; of two equally near ones the even one.
    pub fn nearest(self) -> i128 {
        let below = self.floor();
        let (to_below, to_above) = (self.minus(Fraction::whole(below)), Fraction::whole(below + 1).minus(self));
        match (to_below == to_above, to_above.at_least(to_below)) {
            (true, _) => below + below.rem_euclid(2),
            (false, true) => below,
            (false, false) => below + 1,
        }
    }
}

#[test]
fn the_nearest_integer_is_the_even_one_of_two() {
    let nearest = |part| Fraction::new(part, 4).nearest();
    assert_eq!((0..=16).map(nearest).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
}
