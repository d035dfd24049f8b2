//! The formulas that go through the values in their order, from the first to the last.

use super::moments::Moments;

/// What is remembered while values are gone through.
pub(super) trait Fold: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// Takes in the next value.
    fn take(&mut self, value: f64);

    /// What follows from the values so far; `None` if nothing does.
    fn result(&self) -> Option<f64>;

    /// From how many of the newest values the result follows: older ones would not change a digit of it.
    fn values_max(&self) -> usize;
}

/// Weights under this share of the whole are below the last digit of a `double precision`: 2^-64.
const LOG_WEIGHT_MIN: f64 = 64.0 * std::f64::consts::LN_2;

/// How many steps take a weight that falls by `share` each time under the least one that counts.
fn steps(share: f64) -> usize {
    let steps = (LOG_WEIGHT_MIN / -(-share).ln_1p()).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and a greater one than fits becomes the greatest"
    )]
    let steps = steps as usize;
    steps
}

/// The exponential moving average: `e = x` at the first value, then `e = alpha * x + (1 - alpha) * e`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ema {
    alpha: f64,
    mean: Option<f64>,
}

impl Ema {
    pub(super) fn new(alpha: f64) -> Self {
        Self { alpha, mean: None }
    }
}

impl Fold for Ema {
    fn take(&mut self, value: f64) {
        self.mean = Some(match self.mean {
            Some(mean) => self.alpha * value + (1.0 - self.alpha) * mean,
            None => value,
        });
    }

    fn result(&self) -> Option<f64> {
        self.mean
    }

    fn values_max(&self) -> usize {
        steps(self.alpha).saturating_add(1)
    }
}

/// Wilder's relative strength index: `100 * (gain / (gain + loss))`, where `gain` and `loss` are the means of the first
/// `period` changes up and down, and from then on `mean = (mean * (period - 1) + change) / period`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rsi {
    period: f64,
    previous: Option<f64>,
    changes: f64,
    gain: f64,
    loss: f64,
}

impl Rsi {
    /// `period` is a whole number, at least 1.
    pub(super) fn new(period: f64) -> Self {
        Self {
            period,
            previous: None,
            changes: 0.0,
            gain: 0.0,
            loss: 0.0,
        }
    }
}

impl Fold for Rsi {
    fn take(&mut self, value: f64) {
        let Some(previous) = self.previous.replace(value) else {
            return;
        };
        self.changes += 1.0;
        let change = value - previous;
        // The mean of the first ones: each of them counts alike.
        let share = self.changes.min(self.period);
        let mean = |mean: f64, new: f64| mean + (new - mean) / share;
        let (up, down) = match change {
            change if change > 0.0 => (change, 0.0),
            change if change <= 0.0 => (0.0, -change),
            not_a_number => (not_a_number, not_a_number),
        };
        self.gain = mean(self.gain, up);
        self.loss = mean(self.loss, down);
    }

    /// 50 where nothing has changed.
    fn result(&self) -> Option<f64> {
        let moved = self.gain + self.loss;
        (self.changes >= self.period).then(|| {
            if moved == 0.0 {
                50.0
            } else {
                100.0 * (self.gain / moved)
            }
        })
    }

    fn values_max(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a whole number from 1 to 1000"
        )]
        let period = self.period as usize;
        steps(1.0 / self.period) + period + 1
    }
}

/// The sample deviation of the logarithms of what each value is of the one before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread {
    previous: Option<f64>,
    returns: Moments,
    /// Whether a value is not positive: there is no return to it.
    broken: bool,
}

impl Fold for Spread {
    fn take(&mut self, value: f64) {
        self.broken |= value <= 0.0;
        if let Some(previous) = self.previous.replace(value) {
            self.returns.add((value / previous).ln());
        }
    }

    fn result(&self) -> Option<f64> {
        self.returns.deviation().filter(|_| !self.broken)
    }

    fn values_max(&self) -> usize {
        usize::MAX
    }
}

/// The deepest fall from the greatest value before it, as a share of that.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Drawdown {
    /// The greatest value so far, if it is positive: there is no share of another.
    peak: Option<f64>,
    worst: f64,
}

impl Fold for Drawdown {
    fn take(&mut self, value: f64) {
        if value.is_nan() {
            (self.peak, self.worst) = (Some(value), value);
            return;
        }
        match self.peak {
            Some(peak) if value <= peak => self.worst = self.worst.max(1.0 - value / peak),
            // NaN stays.
            Some(peak) if peak.is_nan() => {}
            _ if value > 0.0 => self.peak = Some(value),
            _ => {}
        }
    }

    fn result(&self) -> Option<f64> {
        self.peak.map(|_| self.worst)
    }

    fn values_max(&self) -> usize {
        usize::MAX
    }
}
