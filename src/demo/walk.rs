//! A price that walks at random and now and then jumps, at any moment without the moments before.
//!
//! A random walk needs its past. This one is a sum of smooth noises instead, one for each time
//! scale from a second to about eighteen hours, each as strong as a random walk strays in that
//! time: it looks the same and can be asked for any moment.

use super::dice::{Dice, mix};

/// How far prices stray in one second, as a share of the price.
const STRAY_PER_SECOND: f64 = 0.000_25;
/// Time scales: 2^0 to 2^15 seconds.
const SCALES: u32 = 16;
/// One jump may lie in each span of this many seconds.
const JUMP_SPAN_S: f64 = 120.0;
/// After this many seconds, about a third of a jump is left.
const JUMP_FADES_S: f64 = 45.0;

/// The walk of one price.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    seed: u64,
}

impl Walk {
    /// The walk of the `index`-th price.
    pub(super) fn new(seed: u64, index: u64) -> Self {
        let mut dice = Dice::new(seed, 0x57414C4B, index);
        Self { seed: dice.next() }
    }

    /// By what the price's usual level is multiplied at this time, in seconds.
    pub(super) fn factor(self, at_s: f64) -> f64 {
        let mut strayed = 0.0;
        for scale in 0..SCALES {
            let period_s = f64::from(1_u32 << scale);
            let strength = STRAY_PER_SECOND * period_s.sqrt();
            strayed += strength * self.smooth(u64::from(scale), at_s / period_s);
        }
        (strayed + self.jumps(at_s)).exp()
    }

    /// Smooth noise: a random level at each whole `x`, and an even passage between two of them.
    fn smooth(self, scale: u64, x: f64) -> f64 {
        let (whole, part) = split(x);
        let level = |at: u64| {
            let [upper, lower] = halves(mix(self.seed ^ scale.rotate_left(48) ^ at));
            upper + lower - 1.0
        };
        let passage = part * part * (3.0 - 2.0 * part);
        level(whole) * (1.0 - passage) + level(whole.wrapping_add(1)) * passage
    }

    /// What jumps of this span and the one before have left.
    fn jumps(self, at_s: f64) -> f64 {
        let (span, part) = split(at_s / JUMP_SPAN_S);
        self.jump(span, part) + self.jump(span.wrapping_sub(1), part + 1.0)
    }

    /// What the jump of one span has left, `part` spans after that span's start.
    fn jump(self, span: u64, part: f64) -> f64 {
        let mut dice = Dice::new(self.seed, 0x4A554D50, span);
        let happens = dice.below(4) == 0;
        let since_s = (part - dice.unit()) * JUMP_SPAN_S;
        if !happens || since_s < 0.0 {
            return 0.0;
        }
        let size = 0.01 + 0.03 * dice.unit();
        let sign = if dice.below(2) == 0 { 1.0 } else { -1.0 };
        sign * size * (-since_s / JUMP_FADES_S).exp()
    }
}

/// Two numbers from 0 to 1 out of one.
fn halves(bits: u64) -> [f64; 2] {
    [bits >> 32, bits & 0xFFFF_FFFF].map(|half| {
        #[expect(clippy::cast_precision_loss, reason = "32 bits fit")]
        let half = half as f64;
        half / 4_294_967_296.0
    })
}

/// The whole number below, and what is left.
fn split(x: f64) -> (u64, f64) {
    let whole = x.floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number that only names a place; any mapping does"
    )]
    let name = whole as i64 as u64;
    (name, x - whole)
}

#[cfg(test)]
mod tests {
    use super::Walk;

    #[test]
    fn a_price_moves_in_small_steps_stays_near_its_level_and_sometimes_jumps() {
        let walk = Walk::new(42, 0);
        let mut jumps = 0;
        let mut before = walk.factor(1_500_000_000.0);
        for step in 1..20_000 {
            let now = walk.factor(1_500_000_000.0 + f64::from(step) * 0.5);
            assert!((0.6..1.7).contains(&now), "strayed to {now}");
            let moved = (now / before - 1.0).abs();
            assert!(moved < 0.06, "moved by {moved}");
            jumps += u32::from(moved > 0.008);
            before = now;
        }
        assert!((1..100).contains(&jumps), "{jumps} jumps in 10,000 s");
    }

    #[test]
    fn prices_walk_apart() {
        let one = Walk::new(42, 0).factor(1e9);
        assert!((one - Walk::new(42, 1).factor(1e9)).abs() > 1e-9);
        assert!((one - Walk::new(42, 0).factor(1e9)).abs() < 1e-12);
    }
}
