//! Native code in the main thread that keeps the GIL, and a native thread that needs it to send the main thread something.
//!
//! Some long computations, such as a regular expression's, never give the GIL up but look for signals now and then. While
//! they do, Python-level handlers run, and a handler may give the GIL up. So a thread that has waited for long [knocks](Knock): it has
//! the main thread signalled, and the [handler](super::signal) lets it in and waits until it has left. Then the handler
//! looks at what is pending, and finds what was sent.
//!
//! Computations that do not look for signals are not reached.
//!
//! # The protocol
//!
//! At most one thread knocks at a time: the one on which timeouts go off. There is one flag, `KNOCKING`:
//!
//! | step | by |
//! | --- | --- |
//! | false → true | who knocks, before it asks for the GIL |
//! | true → false | who knocks, when it has had the GIL and has given it back |
//! | looks, and if it is true signals, and will look again | the monitor's timer |
//! | looks, and while it is true is without the GIL, [so long](LONGEST) at most | the main thread, in the handler |
//!
//! The flag hands nothing over: what the visitor has to send is in the core when the flag falls, and the handler looks at what is
//! pending with the GIL, as it does without a knock. So a look that comes too early, too late or for nothing, in whatever order, costs
//! a wait of the main thread that is bounded, or one more knock. And who knocks is let in, because the timer goes on: it makes
//! good for a signal that could not be sent, for a handler that came before the visitor was there, and for a visitor who had
//! to take turns with so many others that the main thread has stopped waiting. There is no order of steps on which that rests,
//! so there is no model of it; the test with many threads fails without the repetition.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use quell::monitor::{self, Timer};

/// How long one waits for the GIL before one knocks: twice what threads that run Python code keep it.
const POLITE: Duration = Duration::from_millis(10);
/// How long the main thread waits for a visitor to leave, who has to take turns with other threads; and between two knocks.
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
        Self(monitor::repeat(Instant::now() + POLITE, || {
            KNOCKING.load(SeqCst).then(|| {
                super::kick_main();
                Instant::now() + LONGEST
            })
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
