//! The arms of a selection.

use crate::queue::base::QueueOf;
use crate::queue::entry::Entry;
use crate::queue::error::ShutDown;
use crate::queue::kind::Kind;
use crate::queue::line::Turn;
use crate::queue::state::{End, Step};
use crate::sync::Event;
use crate::wait::{Case, Note, Waiter};
use std::cell::UnsafeCell;
use std::task::Waker;

/// One of the things waited for. From `join` to `quit` it is shared with granters.
pub(super) trait Arm<R>: Send {
    /// Arms join in the order of this.
    fn address(&self) -> usize;

    /// Does it, if it need not wait.
    ///
    /// # Safety
    /// It is in no line.
    unsafe fn attempt(&self) -> bool;

    /// Joins its line. False: it need not wait.
    ///
    /// # Safety
    /// As [`Entry::join`].
    unsafe fn join(&self, turn: &Turn, case: usize, waiter: Waiter) -> bool;

    /// Sees to it that a grant wakes through `waker`. False: it is in line no more, and was granted.
    ///
    /// # Safety
    /// It has joined.
    unsafe fn replace_waker(&self, waker: &Waker) -> bool;

    /// Out of its line.
    fn quit(&self);

    /// It was granted, has quit, and nobody will learn of it.
    fn give_back(&self, token: u32);

    /// It was done.
    fn finish(self: Box<Self>) -> R;
}

/// Gets.
pub(super) struct GetArm<'a, T, K: Kind<T>, F> {
    entry: Entry<'a, T, K>,
    then: F,
}

impl<'a, T, K: Kind<T>, F> GetArm<'a, T, K, F> {
    pub(super) fn new(queue: &'a QueueOf<T, K>, then: F) -> GetArm<'a, T, K, F> {
        GetArm { entry: Entry::new(queue, End::Get, None), then }
    }
}

impl<T: Send, K: Kind<T>, R, F: FnOnce(Result<T, ShutDown>) -> R + Send> Arm<R>
    for GetArm<'_, T, K, F>
{
    fn address(&self) -> usize {
        self.entry.address()
    }

    unsafe fn attempt(&self) -> bool {
        // SAFETY: as the caller promises.
        unsafe { self.entry.attempt() != Step::Wait }
    }

    unsafe fn join(&self, turn: &Turn, case: usize, waiter: Waiter) -> bool {
        // SAFETY: as the caller promises.
        unsafe { self.entry.join(turn, case, waiter) }
    }

    unsafe fn replace_waker(&self, waker: &Waker) -> bool {
        // SAFETY: as the caller promises.
        unsafe { self.entry.replace_waker(waker) }
    }

    fn quit(&self) {
        self.entry.quit();
    }

    fn give_back(&self, token: u32) {
        // SAFETY: it has quit.
        unsafe { self.entry.give_back(token) };
    }

    fn finish(self: Box<Self>) -> R {
        // SAFETY: it has quit.
        let item = unsafe { self.entry.take() };
        (self.then)(item.ok_or(ShutDown))
    }
}

/// Puts.
pub(super) struct PutArm<'a, T, K: Kind<T>, F> {
    put: Put<'a, T, K>,
    then: F,
}

/// An entry whose item came from somewhere, and goes back there.
struct Put<'a, T, K: Kind<T>> {
    entry: Entry<'a, T, K>,
    item: &'a mut Option<T>,
}

impl<'a, T, K: Kind<T>, F> PutArm<'a, T, K, F> {
    pub(super) fn new(queue: &'a QueueOf<T, K>, item: &'a mut Option<T>, then: F) -> Self {
        let entry = Entry::new(queue, End::Put, item.take());
        PutArm { put: Put { entry, item }, then }
    }
}

impl<T, K: Kind<T>> Drop for Put<'_, T, K> {
    fn drop(&mut self) {
        // SAFETY: it has quit, or never joined.
        *self.item = unsafe { self.entry.take() };
    }
}

impl<T: Send, K: Kind<T>, R, F: FnOnce(Result<(), ShutDown>) -> R + Send> Arm<R>
    for PutArm<'_, T, K, F>
{
    fn address(&self) -> usize {
        self.put.entry.address()
    }

    unsafe fn attempt(&self) -> bool {
        // SAFETY: as the caller promises.
        unsafe { self.put.entry.attempt() != Step::Wait }
    }

    unsafe fn join(&self, turn: &Turn, case: usize, waiter: Waiter) -> bool {
        // SAFETY: as the caller promises.
        unsafe { self.put.entry.join(turn, case, waiter) }
    }

    unsafe fn replace_waker(&self, waker: &Waker) -> bool {
        // SAFETY: as the caller promises.
        unsafe { self.put.entry.replace_waker(waker) }
    }

    fn quit(&self) {
        self.put.entry.quit();
    }

    fn give_back(&self, _token: u32) {}

    fn finish(self: Box<Self>) -> R {
        let PutArm { put, then } = *self;
        // What was put is no longer in the slot.
        // SAFETY: it has quit.
        let done = if unsafe { put.entry.is_empty() } { Ok(()) } else { Err(ShutDown) };
        drop(put);
        then(done)
    }
}

/// Waits for an event.
pub(super) struct EventArm<'a, F> {
    event: &'a Event,
    case: UnsafeCell<Case<'a, Event>>,
    then: F,
}

impl<'a, F> EventArm<'a, F> {
    pub(super) fn new(event: &'a Event, then: F) -> EventArm<'a, F> {
        EventArm { event, case: UnsafeCell::new(Case::new(event, Note::NONE)), then }
    }

    /// The case, shared.
    fn case(&self) -> &Case<'a, Event> {
        // SAFETY: it is changed in `join` only, by its owner, when it is in no list.
        unsafe { &*self.case.get() }
    }
}

impl<R, F: FnOnce() -> R + Send> Arm<R> for EventArm<'_, F> {
    fn address(&self) -> usize {
        std::ptr::from_ref(self.event).addr()
    }

    unsafe fn attempt(&self) -> bool {
        self.event.is_set()
    }

    unsafe fn join(&self, turn: &Turn, case: usize, waiter: Waiter) -> bool {
        // SAFETY: in no list, so it is ours; and as the caller promises.
        unsafe { (*self.case.get()).join(&turn.state, case, waiter) }
    }

    unsafe fn replace_waker(&self, waker: &Waker) -> bool {
        self.case().replace_waker(waker)
    }

    fn quit(&self) {
        self.case().unlink();
    }

    /// A `set` is news for all.
    fn give_back(&self, _token: u32) {}

    fn finish(self: Box<Self>) -> R {
        (self.then)()
    }
}
