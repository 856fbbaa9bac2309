//! Detection of deadlocks is the whole process's: one test at a time has it.

use quell::deadlock::{self, Detection, set_detection};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ends with detection off.
pub(crate) struct With {
    _one: MutexGuard<'static, ()>,
}

/// With this detection, and nothing else set.
pub(crate) fn with(detection: Detection) -> With {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    set_detection(detection);
    With { _one: one }
}

impl Drop for With {
    fn drop(&mut self) {
        set_detection(Detection::Off);
        deadlock::set_reporter(None);
        deadlock::set_where(None);
    }
}

/// Looks until it is so.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}
