//! A selection as a future.

use super::arm::Arm;
use super::{Select, granted_arm};
use crate::fork::generation;
use crate::queue::line::Turn;
use crate::wait::Waiter;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A selection that is awaited.
pub(super) struct Selected<'a, R: 'a> {
    /// Shared while it has joined, and never changed then.
    select: UnsafeCell<Select<'a, R>>,
    turn: Turn,
    /// It has joined its lines, in this generation of processes. In a later one, the lines have forgotten it.
    joined: Cell<Option<u32>>,
    _pinned: PhantomPinned,
}

impl<'a, R: 'a> Selected<'a, R> {
    pub(super) fn new(select: Select<'a, R>) -> Selected<'a, R> {
        let (select, turn) = (UnsafeCell::new(select), Turn::asleep());
        Selected { select, turn, joined: Cell::new(None), _pinned: PhantomPinned }
    }

    fn has_joined(&self) -> bool {
        self.joined.get().is_some_and(|generation| generation == generation::current())
    }

    /// Rounds, until an arm was done, whose value it is, or all have joined.
    fn enter(&self, cx: &Context<'_>) -> Option<R> {
        loop {
            // SAFETY: nothing has joined, so it is ours alone.
            let select = unsafe { &mut *self.select.get() };
            if let Some(at) = select.attempt() {
                return Some(std::mem::take(select).finish(at));
            }
            self.turn.state.renew();
            self.joined.set(Some(generation::current()));
            // SAFETY: pinned, and `drop` has them quit.
            let (joined, all) =
                unsafe { select.join(&self.turn, || Waiter::Task(cx.waker().clone())) };
            if all {
                return None;
            }
            let granted = !self.turn.state.leave();
            select.quit(joined);
            self.joined.set(None);
            self.turn.use_slots();
            if granted {
                return Some(std::mem::take(select).finish(granted_arm(&self.turn)));
            }
        }
    }

    /// It has joined: looks whether it was granted, and sees to it that it will be polled if not.
    fn look(&self, cx: &Context<'_>) -> Option<R> {
        // SAFETY: it has joined, so it is not changed.
        let select = unsafe { &*self.select.get() };
        // SAFETY: as above.
        let waits = |arm: &(dyn Arm<R> + 'a)| unsafe { arm.replace_waker(cx.waker()) };
        // An arm that is no longer in its line was granted; then the others need no waker.
        if !self.turn.is_granted() && select.arms.iter().all(|arm| waits(&**arm)) {
            return None;
        }
        select.quit(select.arms.len());
        self.joined.set(None);
        self.turn.use_slots();
        // SAFETY: nothing is in a line any more.
        let select = std::mem::take(unsafe { &mut *self.select.get() });
        Some(select.finish(granted_arm(&self.turn)))
    }
}

impl<'a, R: 'a> Future for Selected<'a, R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        // Shared from here on: granters reach the arms and the turn at the same time.
        let this = self.into_ref().get_ref();
        let done = if this.has_joined() { this.look(cx) } else { this.enter(cx) };
        done.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<'a, R: 'a> Drop for Selected<'a, R> {
    fn drop(&mut self) {
        if !self.has_joined() {
            return;
        }
        // If it cannot leave, it is being granted, under a lock that is taken below.
        self.turn.state.leave();
        let select = self.select.get_mut();
        select.arms.iter().for_each(|arm| arm.quit());
        self.turn.use_slots();
        if let Some((at, token)) = self.turn.state.granted() {
            select.arms[at].give_back(token);
        }
    }
}
