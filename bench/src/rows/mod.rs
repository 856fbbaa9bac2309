//! The rows of the core's table, in its order. What has no counterpart in quell yet is not here.

mod barrier;
mod condition;
mod crowd;
mod event;
mod interrupt;
mod lock;
mod points;
mod queue;
mod semaphore;
mod size;
mod syscall;
mod timeouts;
mod turns;

use crate::harness::Bench;

/// Every bench.
pub(crate) fn all() -> Vec<Bench> {
    let mut benches = Vec::new();
    benches.extend(lock::benches());
    benches.extend(semaphore::benches());
    benches.extend(event::benches());
    benches.extend(condition::benches());
    benches.extend(barrier::benches());
    benches.extend(queue::benches());
    benches.extend(points::benches());
    benches.extend(interrupt::benches());
    benches.extend(syscall::benches());
    benches.extend(crowd::benches());
    benches.extend(timeouts::benches());
    benches.extend(size::benches());
    benches
}

#[cfg(test)]
mod tests {
    use super::all;
    use crate::harness::Plan;
    use std::collections::HashSet;

    #[test]
    fn every_row_runs() {
        let mut names = HashSet::new();
        for mut bench in all() {
            for measured in bench.measure(&Plan::TOUCH) {
                assert!(measured.compared.median.is_finite(), "{}", measured.name);
                assert!(names.insert(measured.name.clone()), "{} stands twice", measured.name);
            }
        }
        assert!(names.len() > 50, "{}", names.len());
    }
}
