//! The operations that wait at one end of a queue, and the word that each of them competes for.
//!
//! # A turn
//!
//! ```text
//!             ┌─────────────────── CLAIMED ──── GRANTED    a granter, under the queue's lock
//!    AWAKE ───┤                ╱
//!             └──── WAITING ──┤
//!                              ╲ LEFT                      the waiter: at its deadline, for an interrupt, for a signal
//! ```
//!
//! | transition | who | how |
//! | --- | --- | --- |
//! | `AWAKE` to `WAITING` | the waiter | compare-exchange, after it has left its handle in the node |
//! | `AWAKE` or `WAITING` to `CLAIMED` | a granter | compare-exchange, under the queue's lock; it takes the node out of the line |
//! | `CLAIMED` to `GRANTED` | the same granter | store, under the same lock, after it has moved the item |
//! | `WAITING` to `LEFT` | the waiter | compare-exchange; for an interrupt, under its slot's lock |
//!
//! It is the state word of [`wait`](crate::wait), with one state more. A waiter that is awake looks at its turn, and needs
//! nobody to wake it; so it has no handle in its node, and who grants to it touches the node alone. Most waits at a busy
//! queue end like that. Tasks and selections begin at `WAITING`.
//!
//! **Nothing is lost or doubled.** An item is moved between the claim and the grant, so from or to a waiter that can no
//! longer leave. One that has left keeps what it wanted to put, and nobody has written to where it wanted to get.
//!
//! **No wake-up is lost.** Whoever waits has joined the line under the lock that it saw the queue under. Who changes the
//! queue looks at the line under the same lock.
//!
//! **Lifetime.** A node is gone when its operation returns: after `GRANTED`, which is the granter's last access, or after
//! `LEFT`, when it has taken itself out of the line under the lock.

use crate::wait::{CASES, State, Waiter};
use std::cell::{Cell, UnsafeCell};
use std::ptr;

/// The word that grant, time-out and interrupt compete for.
pub(super) struct Turn {
    pub(super) state: State,
    /// Stands for the slots, so that loom sees who uses them when.
    #[cfg(quell_loom)]
    slots: loom::cell::UnsafeCell<()>,
}

impl Turn {
    /// Of a waiter that is awake.
    pub(super) fn awake() -> Turn {
        Turn::of(State::awake())
    }

    /// Of a waiter that leaves its handle in each node before the node joins a line.
    pub(super) fn asleep() -> Turn {
        Turn::of(State::new())
    }

    fn of(state: State) -> Turn {
        Turn {
            state,
            #[cfg(quell_loom)]
            slots: loom::cell::UnsafeCell::new(()),
        }
    }

    /// The slots are used now: by a granter after its claim, by the waiter after it was granted or has left. In a model,
    /// fails if both can.
    #[inline(always)]
    pub(super) fn use_slots(&self) {
        #[cfg(quell_loom)]
        self.slots.with_mut(|_| ());
    }

    /// Waiter: whether it was granted.
    #[inline]
    pub(super) fn is_granted(&self) -> bool {
        self.state.granted().is_some()
    }
}

/// An operation that waits, on its thread's stack or in its future.
pub(super) struct Node<T> {
    bound: Cell<Bound<T>>,
    /// Belong to the line's lock.
    links: UnsafeCell<Links<T>>,
    /// Belongs to the waiter while it is awake, to the line's lock otherwise.
    waiter: UnsafeCell<Option<Waiter>>,
}

/// What a node stands for. Does not change while the node is in a line.
struct Bound<T> {
    turn: *const Turn,
    /// Which of several nodes with this turn it is.
    case: usize,
    /// What is put, or where to get to. The waiter's while the node is in no line and after it was granted or has left;
    /// a granter's between its claim and its grant.
    slot: *mut Option<T>,
}

impl<T> Clone for Bound<T> {
    fn clone(&self) -> Bound<T> {
        *self
    }
}

impl<T> Copy for Bound<T> {}

struct Links<T> {
    /// Null: the first, or in no line.
    prev: *const Node<T>,
    /// Null: the last, or in no line.
    next: *const Node<T>,
    linked: bool,
}

impl<T> Links<T> {
    const NONE: Links<T> = Links { prev: ptr::null(), next: ptr::null(), linked: false };
}

impl<T> Node<T> {
    /// A node that stands for nothing yet.
    pub(super) fn new() -> Node<T> {
        let bound = Bound { turn: ptr::null(), case: 0, slot: ptr::null_mut() };
        Node {
            bound: Cell::new(bound),
            links: UnsafeCell::new(Links::NONE),
            waiter: UnsafeCell::new(None),
        }
    }

    /// What it stands for.
    ///
    /// # Safety
    /// The node is in no line (or in one that a fork has left behind). Whoever has it join one answers for the turn and
    /// the slot.
    pub(super) unsafe fn bind(&self, turn: *const Turn, case: usize, slot: *mut Option<T>) {
        assert!(case < CASES, "a selection of {CASES} cases at most");
        self.bound.set(Bound { turn, case, slot });
        // SAFETY: in no line, so the links are the caller's.
        unsafe { *self.links.get() = Links::NONE };
    }

    /// # Safety
    /// The caller holds the line's lock, and keeps no two references at once.
    #[expect(clippy::mut_from_ref, reason = "the line's lock makes it exclusive")]
    unsafe fn links(&self) -> &mut Links<T> {
        // SAFETY: as the caller promises.
        unsafe { &mut *self.links.get() }
    }

    /// Leaves a handle for who grants.
    ///
    /// # Safety
    /// The caller is the waiter; it is awake, or the node is in no line.
    pub(super) unsafe fn set_waiter(&self, waiter: Waiter) {
        // SAFETY: granters take the handle of a waiter that is not awake, out of a node in a line.
        unsafe { *self.waiter.get() = Some(waiter) };
    }

    /// Whether it is in its line. If it was, and is not, it was granted.
    ///
    /// # Safety
    /// The caller holds the line's lock.
    pub(super) unsafe fn is_linked(&self) -> bool {
        // SAFETY: as the caller promises.
        unsafe { self.links() }.linked
    }

    /// The handle of a waiter that is not awake.
    ///
    /// # Safety
    /// The caller holds the line's lock, and keeps no two references at once.
    #[expect(clippy::mut_from_ref, reason = "the line's lock makes it exclusive")]
    pub(super) unsafe fn waiter(&self) -> &mut Option<Waiter> {
        // SAFETY: as the caller promises.
        unsafe { &mut *self.waiter.get() }
    }
}

/// Those who wait at one end, first to last. Under the queue's lock.
pub(super) struct Line<T> {
    first: *const Node<T>,
    last: *const Node<T>,
}

// SAFETY: the nodes are reached under the queue's lock; what they refer to is Send.
unsafe impl<T: Send> Send for Line<T> {}

impl<T> Line<T> {
    pub(super) const fn new() -> Line<T> {
        Line { first: ptr::null(), last: ptr::null() }
    }

    /// Whether nobody is in it. If not, those in it may all have left.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Joins as the last.
    ///
    /// # Safety
    /// The node is in no line; it, its turn and its slot stay in place and are not moved until it is out of the line,
    /// and, if it was claimed, granted.
    pub(super) unsafe fn join(&mut self, node: &Node<T>) {
        // SAFETY: it is ours, in no line; the last one is in this line, hence alive.
        unsafe {
            let links = node.links();
            (links.prev, links.next, links.linked) = (self.last, ptr::null(), true);
            match self.last.as_ref() {
                None => self.first = node,
                Some(last) => last.links().next = node,
            }
        }
        self.last = node;
    }

    /// Out of the line, if it is in it.
    ///
    /// # Safety
    /// The node is in this line or in none.
    pub(super) unsafe fn quit(&mut self, node: &Node<T>) {
        // SAFETY: the node and its neighbours are in the line, hence alive; one reference at a time.
        unsafe {
            let links = node.links();
            if !std::mem::replace(&mut links.linked, false) {
                return;
            }
            let (prev, next) = (links.prev, links.next);
            match prev.as_ref() {
                None => self.first = next,
                Some(prev) => prev.links().next = next,
            }
            match next.as_ref() {
                None => self.last = prev,
                Some(next) => next.links().prev = prev,
            }
        }
    }

    /// Whether somebody is in it who has not left, and has another turn than this.
    pub(super) fn has_other_than(&self, turn: *const Turn) -> bool {
        let mut at = self.first;
        // SAFETY: nodes in the line are alive, and so are their turns.
        while let Some(node) = unsafe { at.as_ref() } {
            let other = node.bound.get().turn;
            // SAFETY: as above.
            if !ptr::eq(other, turn) && unsafe { (*other).state.is_open() } {
                return true;
            }
            // SAFETY: as above, under the lock.
            at = unsafe { node.links() }.next;
        }
        false
    }

    /// Claims the first who has not left, and takes it out of the line.
    pub(super) fn claim(&mut self) -> Option<Claimed<T>> {
        let mut at = self.first;
        // SAFETY: nodes in the line are alive, and so are their turns.
        while let Some(node) = unsafe { at.as_ref() } {
            // SAFETY: as above.
            if let Some(awake) = unsafe { (*node.bound.get().turn).state.claim_any() } {
                // SAFETY: it is in this line. Unless it is awake, the handle is the lock's.
                let waiter = unsafe {
                    self.quit(node);
                    if awake { None } else { node.waiter().take() }
                };
                return Some(Claimed { node: at, waiter });
            }
            // Who has left takes itself out, as soon as it gets the lock.
            // SAFETY: as above.
            at = unsafe { node.links() }.next;
        }
        None
    }

    /// Nobody is in it, whoever was. For the child of a fork.
    #[cfg_attr(any(quell_loom, quell_shuttle), expect(dead_code, reason = "no model forks"))]
    pub(super) fn forget(&mut self) {
        *self = Line::new();
    }
}

/// A waiter that can no longer leave. It must be granted.
#[must_use]
pub(super) struct Claimed<T> {
    node: *const Node<T>,
    waiter: Option<Waiter>,
}

impl<T> Claimed<T> {
    /// Where its item is, or goes.
    pub(super) fn slot(&mut self) -> &mut Option<T> {
        // SAFETY: claimed, so node, turn and slot are alive, and the slot is the granter's.
        unsafe {
            let bound = (*self.node).bound.get();
            (*bound.turn).use_slots();
            &mut *bound.slot
        }
    }

    /// Grants. Whoever is in the answer is to be woken, outside the lock.
    pub(super) fn grant(self, token: u32) -> Option<Waiter> {
        // SAFETY: claimed, so node and turn are alive until the publishing, the last access.
        unsafe {
            let bound = (*self.node).bound.get();
            State::publish(&raw const (*bound.turn).state, bound.case as u32, token);
        }
        self.waiter
    }
}
