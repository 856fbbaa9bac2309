//! The operations that wait at one end of a queue, and the word that each of them competes for.
//!
//! # A turn
//!
//! ```text
//!             ┌────────────────── CLAIMED ──── GRANTED     a granter, under the queue's lock
//!    AWAKE ───┤                ╱
//!             └──── ASLEEP ───┤
//!                              ╲ LEFT                      the waiter: at its deadline, for an interrupt, for a signal
//! ```
//!
//! | transition | who | how |
//! | --- | --- | --- |
//! | `AWAKE` to `ASLEEP` | the waiter | compare-exchange, after it has left its handle in the node |
//! | `AWAKE` or `ASLEEP` to `CLAIMED` | a granter | compare-exchange, under the queue's lock; it takes the node out of the line |
//! | `CLAIMED` to `GRANTED` | the same granter | store, under the same lock, after it has moved the item |
//! | `ASLEEP` to `LEFT` | the waiter | compare-exchange; for an interrupt, under its slot's lock |
//!
//! A waiter that is awake looks at its turn, and needs nobody to wake it; so it has no handle in its node, and who grants
//! to it touches the node alone. Most waits at a busy queue end like that.
//!
//! **Nothing is lost or doubled.** An item is moved between the claim and the grant, so from or to a waiter that can no
//! longer leave. One that has left keeps what it wanted to put, and nobody has written to where it wanted to get.
//!
//! **No wake-up is lost.** Whoever waits has joined the line under the lock that it saw the queue under. Who changes the
//! queue looks at the line under the same lock.
//!
//! **Lifetime.** A node is gone when its operation returns: after `GRANTED`, which is the granter's last access, or after
//! `LEFT`, when it has taken itself out of the line under the lock.

use crate::sys::atomic::AtomicU32;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::wait::Waiter;
use std::cell::UnsafeCell;
use std::ptr;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const CLAIMED: u32 = 2;
const LEFT: u32 = 3;
/// With token and case in the bits above.
const GRANTED: u32 = 4;
const TOKEN_SHIFT: u32 = 3;
/// One bit is enough for a token.
const CASE_SHIFT: u32 = 4;

/// A grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Granted {
    /// To which of several nodes that share a turn.
    pub(super) case: u32,
    /// What it was.
    pub(super) token: u32,
}

/// The word that grant, time-out and interrupt compete for.
pub(super) struct Turn {
    word: AtomicU32,
    /// Stands for the slots, so that loom sees who uses them when.
    #[cfg(quell_loom)]
    slots: loom::cell::UnsafeCell<()>,
}

impl Turn {
    /// Of a waiter that is awake.
    pub(super) fn awake() -> Turn {
        Turn::new(AWAKE)
    }

    fn new(word: u32) -> Turn {
        Turn {
            word: AtomicU32::new(word),
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

    /// Waiter: has left its handle in the node, and sleeps from now on. False: it was granted, or is about to be.
    pub(super) fn doze(&self) -> bool {
        // Release: who claims from ASLEEP sees the handle.
        self.word.compare_exchange(AWAKE, ASLEEP, Release, Relaxed).is_ok()
    }

    /// Waiter that sleeps: gives up. False: it was granted, or is about to be.
    pub(super) fn leave(&self) -> bool {
        self.word.compare_exchange(ASLEEP, LEFT, AcqRel, Acquire).is_ok()
    }

    /// Waiter: what it was granted.
    #[inline]
    pub(super) fn granted(&self) -> Option<Granted> {
        // Acquire: pairs with `Claimed::grant`.
        let word = self.word.load(Acquire);
        let (token, case) = (word >> TOKEN_SHIFT & 1, word >> CASE_SHIFT);
        (word & GRANTED != 0).then_some(Granted { case, token })
    }

    /// Granter: the waiter can no longer leave, nor be granted by another. Says whether it sleeps. `None`: it has left,
    /// or another was faster.
    fn claim(&self) -> Option<bool> {
        // Relaxed: the exchange decides.
        let mut word = self.word.load(Relaxed);
        while word == AWAKE || word == ASLEEP {
            // Acquire: takes over what the waiter wrote, its handle included.
            match self.word.compare_exchange(word, CLAIMED, Acquire, Relaxed) {
                Ok(_) => return Some(word == ASLEEP),
                Err(now) => word = now,
            }
        }
        None
    }
}

/// An operation that waits, on its thread's stack or in its future.
pub(super) struct Node<T> {
    turn: *const Turn,
    /// Which of several that share a turn.
    case: u32,
    /// What is put, or where to get to. The owner's while it is in no line and once it was granted, the granter's in
    /// between a claim and its grant.
    slot: *mut Option<T>,
    /// Belong to the line's lock.
    links: UnsafeCell<Links<T>>,
    /// Belongs to the waiter while it is awake, to the line's lock otherwise.
    waiter: UnsafeCell<Option<Waiter>>,
}

struct Links<T> {
    /// Null: the first, or in no line.
    prev: *const Node<T>,
    /// Null: the last, or in no line.
    next: *const Node<T>,
    linked: bool,
}

impl<T> Node<T> {
    /// A node in no line. Who puts it into one answers for the turn and the slot.
    pub(super) fn new(turn: *const Turn, case: u32, slot: *mut Option<T>) -> Node<T> {
        let links = Links { prev: ptr::null(), next: ptr::null(), linked: false };
        Node { turn, case, slot, links: UnsafeCell::new(links), waiter: UnsafeCell::new(None) }
    }

    /// # Safety
    /// The caller holds the line's lock, or the node is its own and in no line; it keeps no two references at once.
    #[expect(clippy::mut_from_ref, reason = "the line's lock makes it exclusive")]
    unsafe fn links(&self) -> &mut Links<T> {
        // SAFETY: as the caller promises.
        unsafe { &mut *self.links.get() }
    }

    /// Leaves a handle for who grants.
    ///
    /// # Safety
    /// The caller is the waiter, its turn says awake, and no other thread can have it doze.
    pub(super) unsafe fn set_waiter(&self, waiter: Waiter) {
        // SAFETY: granters take the handle from a waiter that sleeps only.
        unsafe { *self.waiter.get() = Some(waiter) };
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

    /// Claims the first who has not left, and takes it out of the line.
    #[cold]
    pub(super) fn claim(&mut self) -> Option<Claimed<T>> {
        let mut at = self.first;
        // SAFETY: nodes in the line are alive, and so are their turns.
        while let Some(node) = unsafe { at.as_ref() } {
            // SAFETY: as above.
            if let Some(asleep) = unsafe { (*node.turn).claim() } {
                // SAFETY: it is in this line. Asleep, so the handle is the lock's.
                let waiter = unsafe {
                    self.quit(node);
                    if asleep { (*node.waiter.get()).take() } else { None }
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
            (*(*self.node).turn).use_slots();
            &mut *(*self.node).slot
        }
    }

    /// Grants. Whoever is in the answer is to be woken, outside the lock.
    pub(super) fn grant(self, token: u32) -> Option<Waiter> {
        // SAFETY: claimed, so node and turn are alive until the store. Release: all that was done before is visible to
        // who sees it.
        unsafe {
            debug_assert!(token <= 1);
            let (turn, case) = ((*self.node).turn, (*self.node).case);
            (*turn).word.store(GRANTED | token << TOKEN_SHIFT | case << CASE_SHIFT, Release);
        }
        self.waiter
    }
}
