//! How things are measured: both sides of a comparison in one run, in turns.
//!
//! A [`Bench`] is one piece of work with several *sides*, quell first. A repetition runs every side once, in an order
//! that rotates, so that whatever else happens on the machine hits all of them. Each run of a side gives one
//! number for each [`Metric`]. From the numbers of one repetition comes one ratio, and what is reported is the
//! median of the ratios with its quartiles and extremes: two sides that were slow at the same time cancel out, which the
//! ratio of two medians would not show. Nothing is thrown away: repetitions far outside are counted and reported.
//!
//! Criterion is not used because it measures one function after the other: its two sides would be seconds apart.
//!
//! The first run of each side is not counted. It also finds how many operations fill the time of one run.

pub(crate) mod allocations;
pub(crate) mod machine;
pub(crate) mod stats;

use stats::Spread;
use std::time::Duration;

/// How much to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Repetitions that count.
    pub(crate) repetitions: usize,
    /// How long one run of one side is to take, about.
    pub(crate) time: Duration,
    /// For work that is a number of things rather than a time: the part of it that is done, at most 1.
    pub(crate) part: f64,
}

impl Plan {
    /// What the book's figures come from.
    pub(crate) const FULL: Plan =
        Plan { repetitions: 21, time: Duration::from_millis(60), part: 1.0 };
    /// A first impression.
    pub(crate) const QUICK: Plan =
        Plan { repetitions: 5, time: Duration::from_millis(4), part: 0.05 };
    /// That it runs at all.
    #[cfg(test)]
    pub(crate) const TOUCH: Plan =
        Plan { repetitions: 1, time: Duration::from_micros(200), part: 0.01 };

    /// This plan's part of `whole`, but at least `least`.
    pub(crate) fn part_of(&self, whole: usize, least: usize) -> usize {
        ((whole as f64 * self.part) as usize).max(least)
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds, for one operation unless the metric says otherwise.
    Nanos,
    Bytes,
    /// A plain number.
    Count,
}

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// Ours over the best of the others.
    Ratio(f64),
    /// Ours less the other.
    Above(f64),
    /// Ours.
    AtMost(f64),
    /// Shown beside the others, as it helps to read them.
    None,
}

/// One figure of a run. All of them are better when they are smaller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    /// Follows the bench's name; empty if it is the only one.
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) goal: Goal,
}

impl Metric {
    /// Time for one operation, the only metric of its bench.
    pub(crate) const fn time(goal: Goal) -> Metric {
        Metric { name: "", unit: Unit::Nanos, goal }
    }

    /// A figure with a name.
    pub(crate) const fn named(name: &'static str, goal: Goal) -> Metric {
        Metric { name, unit: Unit::Nanos, goal }
    }
}

/// One run: a number for each metric.
type Run = Box<dyn FnMut(&Plan) -> Vec<f64>>;

/// One of those that are compared.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    run: Run,
}

impl Side {
    /// A side that gives a number for each metric.
    pub(crate) fn new(name: &'static str, run: impl FnMut(&Plan) -> Vec<f64> + 'static) -> Side {
        Side { name, run: Box::new(run) }
    }

    /// A side of one thread: `work` does so many operations, and checks that it did. Its processor time counts, so
    /// that what other programs take of the processor does not.
    pub(crate) fn single(name: &'static str, mut work: impl FnMut(u64) + 'static) -> Side {
        let mut count = 0;
        Side::new(name, move |plan| {
            if count == 0 {
                count = calibrate(plan.time, &mut work);
            }
            vec![cpu_time(|| work(count)) / count as f64]
        })
    }

    /// A side that does so many operations with several threads, and says how many nanoseconds that took.
    pub(crate) fn several(name: &'static str, mut work: impl FnMut(u64) -> f64 + 'static) -> Side {
        let mut count = 0;
        Side::new(name, move |plan| {
            if count == 0 {
                count = 16;
                let target = plan.time.as_nanos() as f64;
                loop {
                    let took = work(count);
                    if took >= target / 4.0 || count >= 1 << 30 {
                        count = ((count as f64 * target / took.max(1.0)) as u64).max(16);
                        break;
                    }
                    count *= 4;
                }
            }
            vec![work(count) / count as f64]
        })
    }
}

/// How many operations take about that time.
fn calibrate(time: Duration, work: &mut impl FnMut(u64)) -> u64 {
    let target = time.as_nanos() as f64;
    let mut count = 64;
    loop {
        let took = cpu_time(|| work(count));
        if took >= target / 4.0 || count >= 1 << 34 {
            return ((count as f64 * target / took.max(1.0)) as u64).max(64);
        }
        count *= 4;
    }
}

/// Nanoseconds of the current thread's processor time.
fn cpu_time(work: impl FnOnce()) -> f64 {
    let begin = machine::thread_time();
    work();
    (machine::thread_time() - begin).as_nanos() as f64
}

/// Where the thread that measures runs. Threads that a side starts may run anywhere, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the first processor.
    Pinned,
    /// Wherever the system puts it.
    Free,
}

/// One piece of work, done by several sides.
pub(crate) struct Bench {
    /// Words from the general to the particular, with slashes between: `lock/contended/4/short`.
    pub(crate) name: String,
    /// What one operation is, in words.
    pub(crate) what: String,
    pub(crate) place: Place,
    /// No more repetitions than this, because each takes long.
    pub(crate) at_most: usize,
    pub(crate) metrics: Vec<Metric>,
    /// quell's side first.
    pub(crate) sides: Vec<Side>,
}

/// What was measured of one metric.
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) metric: Metric,
    /// The sides' names and figures, in the order of the bench.
    pub(crate) sides: Vec<(&'static str, Spread)>,
    /// Which side, of the others, is the best, if there are others.
    pub(crate) best: Option<usize>,
    /// Ours against the goal: a ratio, a difference, or the figure itself.
    pub(crate) compared: Spread,
}

/// No limit of a bench's own.
pub(crate) const ANY: usize = usize::MAX;

impl Bench {
    /// Measures it.
    pub(crate) fn measure(&mut self, plan: &Plan) -> Vec<Measured> {
        match self.place {
            Place::Pinned => machine::pin(0),
            Place::Free => machine::unpin(),
        }
        for side in &mut self.sides {
            (side.run)(plan);
        }
        // By metric, then by side.
        let mut all = vec![vec![Vec::new(); self.sides.len()]; self.metrics.len()];
        for repetition in 0..plan.repetitions.min(self.at_most) {
            for turn in 0..self.sides.len() {
                let at = (turn + repetition) % self.sides.len();
                let figures = (self.sides[at].run)(plan);
                assert_eq!(figures.len(), self.metrics.len(), "{}: a figure each", self.name);
                for (metric, figure) in figures.into_iter().enumerate() {
                    all[metric][at].push(figure);
                }
            }
        }
        machine::unpin();
        self.metrics
            .iter()
            .zip(all)
            .map(|(metric, samples)| self.compare(*metric, &samples))
            .collect()
    }

    fn compare(&self, metric: Metric, samples: &[Vec<f64>]) -> Measured {
        let spreads: Vec<Spread> = samples.iter().map(|s| Spread::of(s)).collect();
        let best =
            (1..spreads.len()).min_by(|&a, &b| spreads[a].median.total_cmp(&spreads[b].median));
        let ours = &samples[0];
        let compared: Vec<f64> = match (metric.goal, best) {
            (Goal::Above(_), Some(other)) => {
                ours.iter().zip(&samples[other]).map(|(a, b)| a - b).collect()
            }
            (Goal::Ratio(_) | Goal::None, Some(other)) => {
                // Never by nothing: no clock is that good.
                ours.iter().zip(&samples[other]).map(|(a, b)| a / b.max(1e-3)).collect()
            }
            _ => ours.clone(),
        };
        let name = match metric.name {
            "" => self.name.clone(),
            figure => format!("{}/{figure}", self.name),
        };
        Measured {
            name,
            what: self.what.clone(),
            metric,
            sides: self.sides.iter().map(|side| side.name).zip(spreads).collect(),
            best,
            compared: Spread::of(&compared),
        }
    }
}

impl Measured {
    /// Whether the goal is reached; `None` if there is none.
    pub(crate) fn reached(&self) -> Option<bool> {
        match self.metric.goal {
            Goal::Ratio(most) | Goal::Above(most) | Goal::AtMost(most) => {
                Some(self.compared.median <= most)
            }
            Goal::None => None,
        }
    }
}
