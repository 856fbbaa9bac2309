//! What a handful of numbers says: the middle, the quartiles, the ends, and how many are far out.

use serde::{Deserialize, Serialize};

/// A set of numbers in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// A quarter of the numbers is below.
    pub(crate) lower: f64,
    /// A quarter of the numbers is above.
    pub(crate) upper: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// How many are more than one and a half times the quartiles' distance outside of them (Tukey's fences).
    pub(crate) outliers: usize,
}

impl Spread {
    /// Of at least one number.
    pub(crate) fn of(numbers: &[f64]) -> Spread {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (lower, upper) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
        let reach = 1.5 * (upper - lower);
        let out = |x: &&f64| **x < lower - reach || **x > upper + reach;
        Spread {
            median: quantile(&sorted, 0.5),
            lower,
            upper,
            least: sorted[0],
            most: sorted[sorted.len() - 1],
            outliers: sorted.iter().filter(out).count(),
        }
    }
}

/// The number below which that part of the others lies; between two of them in proportion.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Median, 99th percentile and longest of many times.
pub(crate) fn tail(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    vec![quantile(&times, 0.5), quantile(&times, 0.99), times[times.len() - 1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_a_few() {
        let spread = Spread::of(&[5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((spread.lower, spread.median, spread.upper), (2.0, 3.0, 4.0));
        assert_eq!((spread.least, spread.most, spread.outliers), (1.0, 5.0, 0));
    }

    #[test]
    fn one_far_out_is_counted() {
        let spread = Spread::of(&[10.0, 11.0, 12.0, 13.0, 14.0, 100.0]);
        assert_eq!(spread.outliers, 1);
        assert_eq!(spread.most, 100.0);
    }

    #[test]
    fn between_two_numbers() {
        assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.5);
        assert_eq!(tail(vec![3.0, 1.0, 2.0])[0], 2.0);
        assert_eq!(tail(vec![3.0, 1.0, 2.0])[2], 3.0);
    }
}
