//! What a queue is as long as nobody asks for its insides: a queue of the core.

use std::num::NonZeroUsize;

use pyo3::prelude::*;

use crate::primitives::items::{FifoItems, Items, LifoItems};

/// In which order the items come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Fifo,
    Lifo,
    Priority,
}

/// A queue of the core. None for items that are ordered by Python's `<`, which must not run under the core's locks.
pub(super) enum Lean {
    Fifo(FifoItems),
    Lifo(LifoItems),
    None,
}

impl Lean {
    pub(super) fn new(order: Order) -> Self {
        match order {
            Order::Fifo => Self::Fifo(FifoItems::unbounded()),
            Order::Lifo => Self::Lifo(LifoItems::unbounded()),
            Order::Priority => Self::None,
        }
    }

    #[inline(always)]
    pub(super) fn items(&self) -> Option<&dyn Items> {
        match self {
            Self::Fifo(items) => Some(items),
            Self::Lifo(items) => Some(items),
            Self::None => None,
        }
    }

    pub(super) fn set_maxsize(&self, maxsize: isize) {
        if let Some(items) = self.items() {
            items.set_capacity(NonZeroUsize::new(usize::try_from(maxsize).unwrap_or(0)));
        }
    }

    /// Takes everything out, for good: whoever waits is woken, finds the queue shut down, and looks where the items are now.
    /// The items in the order in which they would come out, how many tasks are unfinished, and whether the queue had been
    /// shut down by somebody who meant it.
    pub(super) fn retire(&self) -> Retired {
        let mut retired = Retired::default();
        let Some(items) = self.items() else { return retired };
        retired.is_shut_down = items.is_shut_down();
        items.shutdown(false);
        // From here on nothing is added: an operation that came before is in what is counted and taken out below.
        while let Ok(item) = items.try_get() {
            retired.items.push(item);
        }
        retired.unfinished = items.unfinished();
        // Wakes who waits for the last task.
        while items.task_done() {}
        retired
    }
}

#[derive(Default)]
pub(super) struct Retired {
    pub(super) items: Vec<Py<PyAny>>,
    pub(super) unfinished: usize,
    pub(super) is_shut_down: bool,
}
