//! One waiter in a queue. The states are in the module's documentation.

use crate::sys::atomic::AtomicU32;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Release};
use crate::thread::Thread;
use std::cell::UnsafeCell;
use std::ptr;
use std::time::Instant;

const WAITING: u32 = 0;
const CLAIMED: u32 = 1;
const LEFT: u32 = 2;
/// With the token in the bits above.
const GRANTED: u32 = 3;
const TOKEN_SHIFT: u32 = 2;

/// Who waits: what to do to have it look at its node again.
pub(super) enum Waiter {
    /// Unpark it. A task's `Waker` is to stand beside this.
    Thread(Thread),
}

impl Waiter {
    pub(super) fn wake(self) {
        match self {
            Waiter::Thread(thread) => thread.unpark_internal(),
        }
    }
}

/// The links of the list a node is in. Belong to the list's lock; after a claim, to the granter.
pub(super) struct Links {
    pub(super) prev: *const Node,
    pub(super) next: *const Node,
    pub(super) waiter: Option<Waiter>,
}

/// One waiter, on its stack.
pub(super) struct Node {
    state: AtomicU32,
    /// Since when it waits, if its primitive wants to know.
    pub(super) since: Option<Instant>,
    links: UnsafeCell<Links>,
}

impl Node {
    pub(super) fn new(waiter: Waiter, since: Option<Instant>) -> Node {
        let links = Links { prev: ptr::null(), next: ptr::null(), waiter: Some(waiter) };
        Node { state: AtomicU32::new(WAITING), since, links: UnsafeCell::new(links) }
    }

    /// The links.
    ///
    /// # Safety
    /// The caller holds the lock of the list, or has claimed the node and not yet published the grant; and it keeps no
    /// two references at once.
    #[expect(clippy::mut_from_ref, reason = "the list's lock makes it exclusive")]
    pub(super) unsafe fn links(&self) -> &mut Links {
        // SAFETY: as the caller promises.
        unsafe { &mut *self.links.get() }
    }

    /// Granter, under the list's lock: the waiter can no longer leave. False: it has left.
    pub(super) fn claim(&self) -> bool {
        // AcqRel: takes over what the waiter wrote, hands over what the granter did.
        self.state.compare_exchange(WAITING, CLAIMED, AcqRel, Acquire).is_ok()
    }

    /// Granter: the end of a claim. The node may be gone when this returns, hence no `&self`.
    ///
    /// # Safety
    /// The caller has claimed the node, and has not published before.
    pub(super) unsafe fn publish(this: *const Node, token: u32) {
        debug_assert!(token < 1 << (32 - TOKEN_SHIFT));
        // Release: everything the granter did, its reads of the links included, comes before.
        // SAFETY: alive until this very store is seen.
        unsafe { (*this).state.store(GRANTED | token << TOKEN_SHIFT, Release) };
    }

    /// Waiter: gives up. False: it was granted, or is about to be.
    pub(super) fn leave(&self) -> bool {
        self.state.compare_exchange(WAITING, LEFT, AcqRel, Acquire).is_ok()
    }

    /// Waiter: what it was granted.
    pub(super) fn granted(&self) -> Option<u32> {
        // Acquire: pairs with `publish`.
        let state = self.state.load(Acquire);
        (state & GRANTED == GRANTED).then_some(state >> TOKEN_SHIFT)
    }
}
