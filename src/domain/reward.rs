//! An amount given to the members of a pool, split to the last unit.

use super::ids::NodeIndex;
use super::money::Units;

/// `amount` > 0 by weight: each gets the whole units of its part, and what is left goes to the largest fractions, lower index first. Who gets nothing is left
/// out. Empty when nobody has weight.
pub fn split(amount: Units, weights: &[(NodeIndex, u64)]) -> Vec<(NodeIndex, Units)> {
    let total: u128 = weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
    let Ok(whole) = u128::try_from(amount.0) else { return Vec::new() };
    if total == 0 {
        return Vec::new();
    }
    let mut parts: Vec<(NodeIndex, u128, u128)> =
        weights.iter().map(|(node, weight)| (*node, whole * u128::from(*weight) / total, whole * u128::from(*weight) % total)).collect();
    let mut left = whole - parts.iter().map(|(_, units, _)| units).sum::<u128>();
    parts.sort_by_key(|(node, _, fraction)| (std::cmp::Reverse(*fraction), *node));
    for (_, units, _) in &mut parts {
        if left == 0 {
            break;
        }
        *units += 1;
        left -= 1;
    }
    parts.sort_by_key(|(node, ..)| *node);
    parts
        .into_iter()
        .filter_map(|(node, units, _)| Some((node, Units(i64::try_from(units).ok()?))))
        .filter(|(_, units)| *units != Units::ZERO)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(amount: i64, weights: &[u64]) -> Vec<(u32, i64)> {
        let weights: Vec<_> = (0..).map(NodeIndex).zip(weights.iter().copied()).collect();
        split(Units(amount), &weights).into_iter().map(|(node, units)| (node.0, units.0)).collect()
    }

    #[test]
    fn the_largest_fractions_get_what_is_left() {
        assert_eq!(of(10, &[1, 1, 1]), [(0, 4), (1, 3), (2, 3)], "a tie goes to the lower index");
        assert_eq!(of(10, &[1, 2, 4]), [(0, 1), (1, 3), (2, 6)], "1.43, 2.86, 5.71");
        assert_eq!(of(2, &[1, 1, 1]), [(0, 1), (1, 1)], "who gets nothing is left out");
        assert_eq!(of(5, &[0, 7]), [(1, 5)]);
        assert_eq!(of(5, &[]), []);
        assert_eq!(of(5, &[0, 0]), []);
        assert_eq!((of(0, &[1]), of(-1, &[1])), (vec![], vec![]));
        assert_eq!(of(i64::MAX, &[u64::MAX, u64::MAX]), [(0, i64::MAX / 2 + 1), (1, i64::MAX / 2)]);
    }

    proptest! {
        #[test]
        fn all_of_it_is_given_and_nobody_is_off_by_a_unit(amount in 1i64..1_000_000_000, weights in prop::collection::vec(0u64..1_000_000, 1..50)) {
            let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
            let parts = of(amount, &weights);
            let sum: i64 = parts.iter().map(|(_, units)| units).sum();
            prop_assert_eq!(sum, if total == 0 { 0 } else { amount });
            for (node, units) in parts {
                let exact = u128::try_from(amount).unwrap() * u128::from(weights[node as usize]);
                let units = u128::try_from(units).unwrap();
                prop_assert!(units * total < exact + total && exact < (units + 1) * total);
            }
        }
    }
}
