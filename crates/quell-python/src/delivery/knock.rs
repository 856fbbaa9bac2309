//! Native code in the main thread that keeps the GIL, and a native thread that needs it to send the main thread something.
//!
//! Some long computations, such as a regular expression's, never give the GIL up but look for signals now and then. While
//! they do, Python-level handlers run, and a handler may give the GIL up. So a thread that has waited for long [knocks](Knock): it has
//! the main thread signalled, and the [handler](super::signal) lets it in and waits until it has left. Then the handler
//! looks at what is pending, and finds what was sent.
//!
//! At most one thread knocks at a time: the one on which timeouts go off. `KNOCKING` is set before the signal is sent,
//! which its handler therefore sees; should the handler come late, or its wait come to the end of its patience, it finds
//! nothing new and returns as it would have without. Computations that do not look for signals are not reached.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use quell::monitor::{self, Timer};

/// How long one waits for the GIL before one knocks: twice what threads that run Python code keep it.
const POLITE: Duration = Duration::from_millis(10);
/// How long the main thread waits for a visitor to leave, who has to take turns with other threads.
const LONGEST: Duration = Duration::from_millis(50);
/// Between two looks whether the visitor has left.
const LOOK: Duration = Duration::from_micros(50);

static KNOCKING: AtomicBool = AtomicBool::new(false);

/// A native thread's wait for the GIL, and its visit, for the sake of the main thread.
pub struct Knock(Timer);

impl Knock {
    /// Begins it: before the wait, without the GIL.
    pub fn begin() -> Self {
        KNOCKING.store(true, SeqCst);
        Self(monitor::after(POLITE, || {
            if KNOCKING.load(SeqCst) {
                super::kick_main();
            }
        }))
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        self.0.cancel();
        KNOCKING.store(false, SeqCst);
    }
}

/// Lets in who knocks, and waits, without the GIL, until it has left. For the main thread's handler of the signal.
pub(super) fn let_in(py: Python<'_>) {
    if !KNOCKING.load(SeqCst) {
        return;
    }
    py.detach(|| {
        let end = Instant::now() + LONGEST;
        while KNOCKING.load(SeqCst) && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
    });
}

/// In the child of a fork nobody knocks.
pub(super) fn after_fork() {
    KNOCKING.store(false, SeqCst);
}
