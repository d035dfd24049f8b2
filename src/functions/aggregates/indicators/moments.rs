//! Mean and deviation of values that come one by one, or in parts.

/// How many values there are, their mean, and the sum of the squares of their distances from it (Welford's sums, which
/// lose no digits where the mean is large beside the deviation). Of equal values the squares are exactly 0, in whatever
/// parts they came.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Moments {
    pub(super) count: i64,
    pub(super) mean: f64,
    pub(super) squares: f64,
}

impl Moments {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        let distance = value - self.mean;
        self.mean += distance / number(self.count);
        self.squares += distance * (value - self.mean);
    }

    /// Adds what others have seen.
    pub(super) fn merge(&mut self, other: Self) {
        if self.count == 0 || other.count == 0 {
            if self.count == 0 {
                *self = other;
            }
            return;
        }
        let (mine, theirs) = (number(self.count), number(other.count));
        let distance = other.mean - self.mean;
        self.count += other.count;
        self.mean += distance * theirs / (mine + theirs);
        self.squares += other.squares + distance * distance * mine * theirs / (mine + theirs);
    }

    /// The sample deviation; `None` for less than two values.
    pub(super) fn deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / number(self.count - 1)).sqrt())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no 2^53 rows are ever counted, so it loses nothing"
)]
fn number(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        for value in values {
            moments.add(*value);
        }
        moments
    }

    #[test]
    fn parts_make_the_whole() {
        let values = [1e9, 1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0];
        for cut in 0..=values.len() {
            let mut moments = of(&values[..cut]);
            moments.merge(of(&values[cut..]));
            assert_eq!(moments.count, 5);
            assert!((moments.mean - 1e9 - 8.0).abs() < 1e-6, "{moments:?}");
            assert!((moments.squares - 170.0).abs() < 1e-4, "{moments:?}");
        }
    }

    #[test]
    fn equal_values_have_no_deviation() {
        let mut moments = of(&[0.1; 3]);
        moments.merge(of(&[0.1; 7]));
        assert_eq!(moments.deviation(), Some(0.0));
        assert_eq!(of(&[0.1]).deviation(), None);
    }
}
