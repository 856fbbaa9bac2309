//! The core's queues as what Python's queues keep their items in: first in, first out, and last in, first out.
//!
//! No operation leaves anything half done: a `get` that was interrupted took no item, and one that took an item returns it,
//! whatever is pending. The core keeps the items, the count of unfinished tasks and the flag of the shut-down under
//! one short lock that no Python code ever runs under.

use std::num::NonZeroUsize;

use pyo3::prelude::*;
use quell::queue::{GetError, PutError};
use quell::wait::{Wait, WaitError};
use quell::{LifoQueue, Queue};

use super::call::Obj;
use super::queue::Refusal;
use super::wait::{Patience, Waitable, block_for};
use crate::delivery::want::{Kind, What};

type Item = Py<PyAny>;

/// A queue of the core, of whatever kind. `put_with`, `get_with` and `join_with` are called without the GIL.
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
}

macro_rules! items {
    ($($Kind:ident),*) => {$(
        impl Items for $Kind<Item> {
            #[inline(always)]
            fn try_put(&self, item: Item) -> Result<(), (Item, Refusal)> {
                $Kind::try_put(self, item).map_err(|error| match error {
                    PutError::ShutDown(item) => (item, Refusal::ShutDown),
                    other => (other.into_item(), Refusal::Full),
                })
            }

            #[inline(always)]
            fn try_get(&self) -> Result<Item, Refusal> {
                $Kind::try_get(self).map_err(|error| match error {
                    GetError::ShutDown => Refusal::ShutDown,
                    _ => Refusal::Empty,
                })
            }

            fn put_with(&self, item: Item, wait: &Wait) -> Result<(), PutError<Item>> {
                $Kind::put_with(self, item, wait)
            }

            fn get_with(&self, wait: &Wait) -> Result<Item, GetError> {
                $Kind::get_with(self, wait)
            }

            fn join_with(&self, wait: &Wait) -> Result<(), WaitError> {
                $Kind::join_with(self, wait)
            }

            fn task_done(&self) -> bool {
                $Kind::task_done(self).is_ok()
            }

            fn len(&self) -> usize {
                $Kind::len(self)
            }

            fn unfinished(&self) -> usize {
                $Kind::unfinished(self)
            }

            fn set_capacity(&self, capacity: Option<NonZeroUsize>) {
                $Kind::set_capacity(self, capacity);
            }

            fn shutdown(&self, immediate: bool) {
                $Kind::shutdown(self, immediate);
            }

            fn is_shut_down(&self) -> bool {
                $Kind::is_shut_down(self)
            }

            fn visit(&self, f: &mut dyn FnMut(&Item)) {
                $Kind::visit(self, f);
            }
        }
    )*};
}

items!(Queue, LifoQueue);

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
    let put = block_for(py, items, what, patience.deadline(), |wait| {
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
    let got = block_for(py, items, what, patience.deadline(), |wait| match items.get_with(wait) {
        Ok(item) => Ok(Ok(item)),
        Err(GetError::ShutDown) => Ok(Err(Refusal::ShutDown)),
        Err(GetError::Empty | GetError::TimedOut) => Err(WaitError::TimedOut),
        Err(GetError::Signalled) => Err(WaitError::Signalled),
        Err(GetError::Interrupted(interrupted)) => Err(WaitError::Interrupted(interrupted)),
    })?;
    Ok(got.unwrap_or(Err(Refusal::Empty)))
}
