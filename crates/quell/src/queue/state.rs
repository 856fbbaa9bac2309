//! What is under a queue's lock, and each step that is made there. A step never waits and never wakes: it says what is
//! to be done, and leaves in [`Wake`] who is to be woken once the lock is free.
//!
//! Between steps:
//!
//! - While somebody waits to get, and has not left, there is no item, and nobody waits to put.
//! - While somebody waits to put, and has not left, there is no room.
//!
//! So an item that goes straight from a putter to a getter that waits overtakes nothing.

use super::kind::Kind;
use super::line::{Line, Turn};
use crate::wait::Waiter;

/// An end of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Get,
    Put,
}

/// Granted: the item was moved.
pub(super) const MOVED: u32 = 0;
/// Granted: the queue was shut down, and nothing was moved.
pub(super) const SHUT_DOWN: u32 = 1;

/// So many items, one after the other, without anybody having to wait, are a stream. (One in a model, so that it has some.)
const STREAM: u32 = if cfg!(any(quell_loom, quell_shuttle)) { 1 } else { 16 };

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The item was moved.
    Moved,
    /// No room, or no item: join the line, or give up. Nothing was changed.
    Wait,
    /// The queue is shut down. Nothing was changed.
    ShutDown,
}

/// Who is to be woken. Declare it before the lock's guard: it wakes when it is dropped.
#[derive(Default)]
pub(super) struct Wake(Option<Waiter>);

impl Wake {
    /// A step wakes one at most.
    fn note(&mut self, waiter: Option<Waiter>) {
        debug_assert!(self.0.is_none());
        self.0 = waiter;
    }
}

impl Drop for Wake {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(waiter) = self.0.take() {
            waiter.wake();
        }
    }
}

/// A queue, but for its lock.
pub(super) struct State<T, K: Kind<T>> {
    pub(super) items: K::Items,
    /// How many items there may be; the largest number: any number.
    pub(super) limit: usize,
    pub(super) unfinished: usize,
    pub(super) shut_down: bool,
    /// It was shut down at once: no item is kept.
    pub(super) discards: bool,
    pub(super) getters: Line<T>,
    pub(super) putters: Line<T>,
    /// How many items came out of `items`, around the end of the numbers. For [`is_stream`](State::is_stream) alone.
    popped: u32,
    /// The same when somebody last had to wait to get, to put.
    waited: [u32; 2],
}

impl<T, K: Kind<T>> State<T, K> {
    pub(super) const fn new(limit: usize) -> State<T, K> {
        State {
            items: K::EMPTY,
            limit,
            unfinished: 0,
            shut_down: false,
            discards: false,
            getters: Line::new(),
            putters: Line::new(),
            popped: 0,
            waited: [0; 2],
        }
    }

    /// A put of an item that there is room for, when nobody waits for one. The item, if it is not so.
    #[inline(always)]
    pub(super) fn push(&mut self, item: T) -> Result<(), T> {
        if self.shut_down || !self.getters.is_empty() || !self.has_room() {
            return Err(item);
        }
        // Counted first: should the items' own order panic in `push`, the item is among them.
        self.unfinished += 1;
        K::push(&mut self.items, item);
        Ok(())
    }

    /// A get when nobody waits to put.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.putters.is_empty() { self.take() } else { None }
    }

    /// The next item.
    #[inline(always)]
    fn take(&mut self) -> Option<T> {
        self.popped = self.popped.wrapping_add(1);
        K::pop(&mut self.items)
    }

    /// Who must wait at that end: whether nobody waits there yet, and many items have passed since somebody last had to.
    pub(super) fn is_stream(&mut self, end: End) -> bool {
        let since = std::mem::replace(&mut self.waited[end as usize], self.popped);
        self.popped.wrapping_sub(since) >= STREAM && self.line(end).is_empty()
    }

    /// [`put`](State::put) or [`get`](State::get).
    pub(super) fn step(&mut self, end: End, slot: &mut Option<T>, wake: &mut Wake) -> Step {
        match end {
            End::Get => self.get(slot, wake),
            End::Put => self.put(slot, wake),
        }
    }

    /// Who waits at that end.
    pub(super) fn line(&mut self, end: End) -> &mut Line<T> {
        match end {
            End::Get => &mut self.getters,
            End::Put => &mut self.putters,
        }
    }

    /// Moves the item out of `slot`, if it can be put.
    pub(super) fn put(&mut self, slot: &mut Option<T>, wake: &mut Wake) -> Step {
        if self.shut_down {
            return Step::ShutDown;
        }
        if !self.getters.is_empty() && self.hand_over(slot, wake) {
            return Step::Moved;
        }
        if !self.has_room() {
            return Step::Wait;
        }
        if let Some(item) = slot.take() {
            // Counted first: see `push`.
            self.unfinished += 1;
            K::push(&mut self.items, item);
        }
        Step::Moved
    }

    /// Moves an item into `slot`, if there is one.
    pub(super) fn get(&mut self, slot: &mut Option<T>, wake: &mut Wake) -> Step {
        let item = self.take();
        if item.is_some() {
            *slot = item;
            if !self.putters.is_empty() {
                self.admit(wake);
            }
            return Step::Moved;
        }
        if !self.putters.is_empty() && self.take_over(slot, wake) {
            return Step::Moved;
        }
        if self.shut_down { Step::ShutDown } else { Step::Wait }
    }

    /// Gives the item to the first who waits for one. False: nobody does.
    fn hand_over(&mut self, slot: &mut Option<T>, wake: &mut Wake) -> bool {
        let Some(mut getter) = self.getters.claim() else { return false };
        self.unfinished += 1;
        *getter.slot() = slot.take();
        wake.note(getter.grant(MOVED));
        true
    }

    /// Takes the item of the first who waits for a getter: a rendezvous. False: nobody does.
    fn take_over(&mut self, slot: &mut Option<T>, wake: &mut Wake) -> bool {
        if self.shut_down {
            return false;
        }
        let Some(mut putter) = self.putters.claim() else { return false };
        self.unfinished += 1;
        *slot = putter.slot().take();
        wake.note(putter.grant(MOVED));
        true
    }

    /// Lets the first who waits for room put its item, if there is room. False: there is none, or nobody waits.
    pub(super) fn admit(&mut self, wake: &mut Wake) -> bool {
        if self.shut_down || !self.has_room() {
            return false;
        }
        let Some(mut putter) = self.putters.claim() else { return false };
        self.unfinished += 1;
        let item = putter.slot().take();
        // Granted first: should the items' own order panic in `push`, nobody waits for a grant that never comes.
        wake.note(putter.grant(MOVED));
        if let Some(item) = item {
            K::push(&mut self.items, item);
        }
        true
    }

    /// Takes back an item that was handed to somebody who is gone: it goes to the next who waits, or comes out next. An
    /// answer is to be dropped once the lock is free.
    pub(super) fn take_back(&mut self, item: T, wake: &mut Wake) -> Option<T> {
        if let Some(mut getter) = self.getters.claim() {
            *getter.slot() = Some(item);
            wake.note(getter.grant(MOVED));
        } else if self.discards {
            self.unfinished = self.unfinished.saturating_sub(1);
            return Some(item);
        } else {
            K::put_back(&mut self.items, item);
        }
        None
    }

    /// Whether a step would have to wait, if whoever has this turn were not there.
    pub(super) fn must_wait(&self, end: End, turn: *const Turn) -> bool {
        !self.shut_down
            && match end {
                End::Get => self.len() == 0 && !self.putters.has_other_than(turn),
                End::Put => !self.has_room() && !self.getters.has_other_than(turn),
            }
    }

    /// Tells one of those who wait that the queue was shut down. False: nobody waits.
    pub(super) fn dismiss(&mut self, wake: &mut Wake) -> bool {
        debug_assert!(self.shut_down);
        let Some(waiter) = self.getters.claim().or_else(|| self.putters.claim()) else {
            return false;
        };
        wake.note(waiter.grant(SHUT_DOWN));
        true
    }

    pub(super) fn len(&self) -> usize {
        K::len(&self.items)
    }

    /// Whether there may be one more item.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        K::len(&self.items) < self.limit
    }
}
