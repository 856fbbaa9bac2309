//! The kernel's part in a model: one signal that is queued or not, a call that completes when the model says so, and a
//! handler that runs at the places where the stub lets it.

use crate::sys::atomic::Ordering::SeqCst;
use crate::sys::atomic::{AtomicU32, AtomicU64};
use crate::sys::{Condvar, Mutex};
use crate::syscall::Calls;

pub(crate) struct Line {
    state: Mutex<State>,
    change: Condvar,
    /// The latest turn whose deadline has passed.
    late: AtomicU64,
}

#[derive(Default)]
struct State {
    registered: bool,
    queued: bool,
    /// How many calls may complete.
    completions: u32,
}

impl Line {
    pub(in crate::syscall) fn new() -> Line {
        Line { state: Mutex::default(), change: Condvar::new(), late: AtomicU64::new(0) }
    }

    pub(in crate::syscall) fn is_open(&self) -> bool {
        // A model opens the line anew for each call: it does no harm.
        false
    }

    pub(in crate::syscall) fn open(&self) {}

    pub(in crate::syscall) fn enter(&self, _calls: &Calls) {
        self.state.lock().unwrap().registered = true;
    }

    pub(in crate::syscall) fn leave(&self) {
        let mut state = self.state.lock().unwrap();
        assert!(!state.queued, "the next call of somebody else would see the signal");
        state.registered = false;
    }

    pub(in crate::syscall) fn signal(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        assert!(state.registered, "a signal to a thread outside a registered call");
        state.queued = true;
        self.change.notify_all();
        true
    }

    pub(in crate::syscall) fn flush(&self, _sent: u32) {
        self.state.lock().unwrap().queued = false;
    }

    pub(in crate::syscall) fn inside(&self) -> &Line {
        self
    }

    pub(crate) fn set_late(&self, turn: u64) {
        self.late.fetch_max(turn, SeqCst);
    }

    pub(in crate::syscall) fn is_late(&self, turn: u64) -> bool {
        self.late.load(SeqCst) >= turn
    }

    pub(crate) fn complete(&self) {
        self.state.lock().unwrap().completions += 1;
        self.change.notify_all();
    }

    /// The stub: the signal is taken before the look, which does nothing; or between it and the end of the call, in one
    /// step with the kernel's going to sleep, which ends the call.
    pub(in crate::syscall) fn stub(&self, word: &AtomicU32, mask: u32) -> isize {
        self.state.lock().unwrap().queued = false;
        if word.load(SeqCst) & mask != 0 {
            return crate::syscall::stub::CANCELLED;
        }
        let mut state = self.state.lock().unwrap();
        loop {
            if state.completions > 0 {
                state.completions -= 1;
                return 0;
            }
            if std::mem::take(&mut state.queued) {
                return -(libc::EINTR as isize);
            }
            state = self.change.wait(state).unwrap();
        }
    }
}
