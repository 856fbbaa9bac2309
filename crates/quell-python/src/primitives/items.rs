//! The core's queues as what Python's queues keep their items in: first in, first out, and last in, first out.
//!
//! No operation leaves anything half done: a `get` that was interrupted took no item, and one that took an item returns it,
//! whatever is pending. The core keeps the items, the count of unfinished tasks and the flag of the shut-down under
//! one short lock that no Python code ever runs under; and while nobody waits, the GIL does for it ([`InnerQueue`]).

use std::num::NonZeroUsize;

use pyo3::prelude::*;
use quell::queue::{Fifo, GetError, InnerQueue, Lifo, PutError};
use quell::wait::{Wait, WaitError};

use super::call::Obj;
use super::queue::Refusal;
use super::wait::{Patience, Waitable, block_for};
use crate::delivery::want::{Kind, What};

type Item = Py<PyAny>;

/// First in, first out.
pub(in crate::primitives) type FifoItems = InnerQueue<Item, Fifo>;
/// Last in, first out.
pub(in crate::primitives) type LifoItems = InnerQueue<Item, Lifo>;

/// A queue of the core, of whatever kind. `put_with`, `get_with` and `join_with` are called without the GIL, by a thread that has gone
/// [`outside`]; everything else attached.
pub(in crate::primitives) trait Items: Waitable {
    fn try_put(&self, item: Item) -> Result<(), (Item, Refusal)>;
    fn try_get(&self) -> Result<Item, Refusal>;
    fn put_with(&self, item: Item, wait: &Wait) -> Result<(), PutError<Item>>;
    fn get_with(&self, wait: &Wait) -> Result<Item, GetError>;
    fn join_with(&self, wait: &Wait) -> Result<(), WaitError>;
    fn task_done(&self) -> bool;
    fn len(&self) -> usize;
    fn unfinished(&self) -> usize;
    fn set_capacity(&self, capacity: Option<NonZeroUsize>);
    fn shutdown(&self, immediate: bool);
    fn is_shut_down(&self) -> bool;
    fn visit(&self, f: &mut dyn FnMut(&Item));
    fn go_outside(&self);
    fn come_back(&self);
}

/// Waits for something at `items`, in `wait`, which gives the GIL up.
pub(in crate::primitives) fn outside<T>(items: &dyn Items, wait: impl FnOnce() -> T) -> T {
    items.go_outside();
    let ended = wait();
    items.come_back();
    ended
}

macro_rules! items {
    ($($Kind:ident),*) => {$(
        impl Items for $Kind {
            #[inline(always)]
            fn try_put(&self, item: Item) -> Result<(), (Item, Refusal)> {
                // SAFETY: attached, as this is called.
                unsafe { self.try_put(item) }.map_err(|error| match error {
                    PutError::ShutDown(item) => (item, Refusal::ShutDown),
                    other => (other.into_item(), Refusal::Full),
                })
            }

            #[inline(always)]
            fn try_get(&self) -> Result<Item, Refusal> {
                // SAFETY: as above.
                unsafe { self.try_get() }.map_err(|error| match error {
                    GetError::ShutDown => Refusal::ShutDown,
                    _ => Refusal::Empty,
                })
            }

            fn put_with(&self, item: Item, wait: &Wait) -> Result<(), PutError<Item>> {
                // SAFETY: outside, as this is called.
                unsafe { self.whole() }.put_with(item, wait)
            }

            fn get_with(&self, wait: &Wait) -> Result<Item, GetError> {
                // SAFETY: as above.
                unsafe { self.whole() }.get_with(wait)
            }

            fn join_with(&self, wait: &Wait) -> Result<(), WaitError> {
                // SAFETY: as above.
                unsafe { self.whole() }.join_with(wait)
            }

            fn task_done(&self) -> bool {
                // SAFETY: attached, as this is called.
                unsafe { self.whole() }.task_done().is_ok()
            }

            fn len(&self) -> usize {
                // SAFETY: as above.
                unsafe { self.whole() }.len()
            }

            fn unfinished(&self) -> usize {
                // SAFETY: as above.
                unsafe { self.whole() }.unfinished()
            }

            fn set_capacity(&self, capacity: Option<NonZeroUsize>) {
                // SAFETY: as above.
                unsafe { self.whole() }.set_capacity(capacity);
            }

            fn shutdown(&self, immediate: bool) {
                // SAFETY: as above.
                unsafe { self.whole() }.shutdown(immediate);
            }

            fn is_shut_down(&self) -> bool {
                // SAFETY: as above.
                unsafe { self.whole() }.is_shut_down()
            }

            fn visit(&self, f: &mut dyn FnMut(&Item)) {
                // SAFETY: as above.
                unsafe { self.whole() }.visit(f);
            }

            fn go_outside(&self) {
                // SAFETY: as above.
                unsafe { InnerQueue::go_outside(self) };
            }

            fn come_back(&self) {
                // SAFETY: as above; the counterpart.
                unsafe { InnerQueue::come_back(self) };
            }
        }
    )*};
}

items!(FifoItems, LifoItems);

/// Puts into `queue`, whose items these are, waiting for room. What comes back is the item, and why it was not put.
#[cold]
#[inline(never)]
pub(in crate::primitives) fn put_slow(
    py: Python<'_>,
    items: &dyn Items,
    queue: Obj,
    item: Item,
    patience: Patience,
) -> PyResult<Result<(), (Item, Refusal)>> {
    if patience == Patience::Try {
        return Ok(Err((item, Refusal::Full)));
    }
    let mut slot = Some(item);
    let what = What::object(Kind::Queue, queue);
    let put = outside(items, || {
        block_for(py, items, what, patience.deadline(), |wait| {
            let Some(item) = slot.take() else { return Ok(false) };
            let error = match items.put_with(item, wait) {
                Ok(()) => return Ok(true),
                Err(error) => error,
            };
            let (back, result) = match error {
                PutError::ShutDown(back) => (back, Ok(false)),
                PutError::Full(back) | PutError::TimedOut(back) => (back, Err(WaitError::TimedOut)),
                PutError::Signalled(back) => (back, Err(WaitError::Signalled)),
                PutError::Interrupted(back, interrupted) => {
                    (back, Err(WaitError::Interrupted(interrupted)))
                }
            };
            slot = Some(back);
            result
        })
    })?;
    Ok(match (put, slot) {
        (Some(false), Some(item)) => Err((item, Refusal::ShutDown)),
        (None, Some(item)) => Err((item, Refusal::Full)),
        _ => Ok(()),
    })
}

/// Gets from `queue`, whose items these are, waiting for one.
#[cold]
#[inline(never)]
pub(in crate::primitives) fn get_slow(
    py: Python<'_>,
    items: &dyn Items,
    queue: Obj,
    patience: Patience,
) -> PyResult<Result<Item, Refusal>> {
    if patience == Patience::Try {
        return Ok(Err(Refusal::Empty));
    }
    let what = What::object(Kind::Queue, queue);
    let got = outside(items, || {
        block_for(py, items, what, patience.deadline(), |wait| match items.get_with(wait) {
            Ok(item) => Ok(Ok(item)),
            Err(GetError::ShutDown) => Ok(Err(Refusal::ShutDown)),
            Err(GetError::Empty | GetError::TimedOut) => Err(WaitError::TimedOut),
            Err(GetError::Signalled) => Err(WaitError::Signalled),
            Err(GetError::Interrupted(interrupted)) => Err(WaitError::Interrupted(interrupted)),
        })
    })?;
    Ok(got.unwrap_or(Err(Refusal::Empty)))
}
