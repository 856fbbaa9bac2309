//! A function that is taken once, by whoever comes first: the monitor, to run it, or a cancellation, to drop it.
//!
//! One exchange and no lock, so that a fork at any moment leaves it usable: in the child, a claim that another
//! thread was in the middle of counts as done.

use std::cell::UnsafeCell;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

pub(super) type Function = Box<dyn FnOnce() + Send>;

pub(super) struct Armed {
    claimed: AtomicBool,
    function: UnsafeCell<Option<Function>>,
}

// SAFETY: the function is Send, and is reached once, by the one thread that claimed it.
unsafe impl Sync for Armed {}

impl Armed {
    pub(super) fn new(function: Function) -> Armed {
        Armed { claimed: AtomicBool::new(false), function: UnsafeCell::new(Some(function)) }
    }

    /// The function, for the first who asks.
    pub(super) fn claim(&self) -> Option<Function> {
        // Acquire is enough: the function was written before the `Arc` around this was shared, and nothing is
        // written here that another claim would read.
        if self.claimed.swap(true, Acquire) {
            return None;
        }
        // SAFETY: only the first exchange gets here, so nobody else reaches the cell.
        unsafe { (*self.function.get()).take() }
    }

    /// Whether nobody has claimed it. Relaxed: out of date as soon as it is known.
    pub(super) fn is_armed(&self) -> bool {
        !self.claimed.load(Relaxed)
    }
}
