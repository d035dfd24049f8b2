//! Chance that repeats: numbers that depend on a seed and a few counters alone.

/// Numbers drawn for one thing, for example one message.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// The numbers of the `index`-th thing of a kind; `kind` keeps kinds apart.
    pub(super) fn new(seed: u64, kind: u64, index: u64) -> Self {
        Self(mix(mix(seed ^ kind.rotate_left(32)) ^ index))
    }

    /// Any number (SplitMix64).
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`, which is above zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the upper half of 128 bits is 64 bits")
    }

    /// A number from 0 to 1, without 1.
    pub(super) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let bits = (self.next() >> 11) as f64;
        bits / 9_007_199_254_740_992.0
    }

    /// A number from -1 to 1, with more of them near 0.
    pub(super) fn around_zero(&mut self) -> f64 {
        self.unit() + self.unit() + self.unit() - 1.5
    }

    /// One of these.
    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        let at = self.below(from.len() as u64);
        from[usize::try_from(at).expect("an index of a slice")]
    }
}

/// A bijection that leaves no trace of order (the finalizer of SplitMix64).
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn numbers_stay_in_their_bounds_and_reach_all_of_them() {
        let mut dice = Dice::new(1, 2, 3);
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[usize::try_from(dice.below(7)).unwrap()] += 1;
            assert!((0.0..1.0).contains(&dice.unit()));
            assert!((-1.5..=1.5).contains(&dice.around_zero()));
        }
        assert!(seen.iter().all(|n| (800..1_200).contains(n)), "{seen:?}");
    }

    #[test]
    fn the_same_thing_draws_the_same_numbers_and_others_draw_others() {
        let draw = |seed, kind, index| Dice::new(seed, kind, index).next();
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        assert_ne!(draw(1, 2, 3), draw(2, 2, 3));
        assert_ne!(draw(1, 2, 3), draw(1, 3, 3));
        assert_ne!(draw(1, 2, 3), draw(1, 2, 4));
    }
}
