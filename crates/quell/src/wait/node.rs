//! One waiter in a queue, and the state word it competes for. The states are in the module's documentation.

use crate::sys::atomic::AtomicU32;
use crate::sys::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::thread::Thread;
use std::cell::UnsafeCell;
use std::ptr;
use std::task::Waker;
use std::time::Instant;

const WAITING: u32 = 0;
const CLAIMED: u32 = 1;
const LEFT: u32 = 2;
/// With the case and the token in the bits above.
const GRANTED: u32 = 3;
const CASE_SHIFT: u32 = 2;
/// As WAITING, of a waiter that is awake: it looks at the word itself, and has no handle in its node. For primitives
/// with lists of their own; see `queue::line`.
const AWAKE: u32 = WAITING | 1 << CASE_SHIFT;
const TOKEN_SHIFT: u32 = 16;

/// How many cases a selection can have.
pub(crate) const CASES: usize = 1 << (TOKEN_SHIFT - CASE_SHIFT);

/// Who waits: what to do to have it look at its state word again.
pub(crate) enum Waiter {
    Thread(Thread),
    Task(Waker),
}

impl Waiter {
    /// Not under a list's lock: a `Waker` runs code of its executor.
    pub(crate) fn wake(self) {
        match self {
            Waiter::Thread(thread) => thread.unpark_internal(),
            Waiter::Task(waker) => waker.wake(),
        }
    }
}

/// What a waiter tells who may grant to it.
#[derive(Clone, Copy)]
pub(crate) struct Note {
    /// Since when it waits, if its primitive wants to know.
    pub(crate) since: Option<Instant>,
    /// Whatever the primitive needs beside: a number, or a place on the waiter's side that stays valid until the grant
    /// is published.
    pub(crate) slot: *mut (),
}

// SAFETY: a note is only a value; who follows `slot` answers for that.
unsafe impl Send for Note {}
// SAFETY: as above.
unsafe impl Sync for Note {}

impl Note {
    /// Nothing to tell.
    pub(crate) const NONE: Note = Note { since: None, slot: ptr::null_mut() };

    /// Since when it waits.
    pub(crate) const fn since(since: Instant) -> Note {
        Note { since: Some(since), ..Note::NONE }
    }

    /// A place on the waiter's side.
    pub(crate) const fn at<T>(place: &T) -> Note {
        Note { since: None, slot: ptr::from_ref(place).cast_mut().cast() }
    }

    /// The same with a number.
    #[must_use]
    pub(crate) const fn number(self, number: usize) -> Note {
        Note { slot: ptr::without_provenance_mut(number), ..self }
    }

    /// The number.
    pub(crate) fn to_number(self) -> usize {
        self.slot.addr()
    }
}

/// The word that grant, time-out and interrupt compete for: of one node, or of all nodes of a selection.
pub(crate) struct State(AtomicU32);

impl State {
    pub(crate) fn new() -> State {
        State(AtomicU32::new(WAITING))
    }

    /// One of a waiter that is awake.
    pub(crate) fn awake() -> State {
        State(AtomicU32::new(AWAKE))
    }

    /// Waiter that is awake: has left its handle in the node, and waits from now on like all others. False: it was
    /// granted, or is about to be.
    pub(crate) fn doze(&self) -> bool {
        // Release: who claims it from WAITING sees the handle.
        self.0.compare_exchange(AWAKE, WAITING, Release, Relaxed).is_ok()
    }

    /// [`claim`](State::claim) of a waiter that may be awake. Says whether it is.
    pub(crate) fn claim_any(&self) -> Option<bool> {
        if self.claim() {
            return Some(false);
        }
        // Acquire: takes over what the waiter wrote. If it dozes off in between, it is claimed as the others are.
        match self.0.compare_exchange(AWAKE, CLAIMED, Acquire, Relaxed) {
            Ok(_) => Some(true),
            Err(_) => self.claim().then_some(false),
        }
    }

    /// Granter, under the list's lock: the end of a claim. The state may be gone when this returns, hence no `&self`.
    ///
    /// # Safety
    /// The caller has claimed it, and has not published before.
    pub(crate) unsafe fn publish(this: *const State, case: u32, token: u32) {
        debug_assert!(token < 1 << (32 - TOKEN_SHIFT));
        // Release: everything the granter did, its reads of the node included, comes before.
        // SAFETY: alive until this very store is seen.
        unsafe { (*this).0.store(GRANTED | case << CASE_SHIFT | token << TOKEN_SHIFT, Release) };
    }

    /// One that nobody can be granted through.
    fn closed() -> State {
        State(AtomicU32::new(LEFT))
    }

    /// Waiter, while no granter can reach it: as new.
    pub(crate) fn renew(&self) {
        // Relaxed: whoever reaches it later does so through a list's lock.
        self.0.store(WAITING, Relaxed);
    }

    /// Granter, under the list's lock: whether it looks as if a claim would succeed. Relaxed: the claim decides.
    fn is_waiting(&self) -> bool {
        self.0.load(Relaxed) == WAITING
    }

    /// The same of a waiter that may be awake.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.0.load(Relaxed), WAITING | AWAKE)
    }

    /// Granter, under the list's lock: the waiter can no longer leave, nor be granted by another. False: one of those
    /// came first.
    fn claim(&self) -> bool {
        // AcqRel: takes over what the waiter wrote, hands over what the granter did.
        self.0.compare_exchange(WAITING, CLAIMED, AcqRel, Acquire).is_ok()
    }

    /// Waiter: gives up. False: it was granted, or is about to be.
    pub(crate) fn leave(&self) -> bool {
        self.0.compare_exchange(WAITING, LEFT, AcqRel, Acquire).is_ok()
    }

    /// Waiter: which case was granted, and with what token.
    pub(crate) fn granted(&self) -> Option<(usize, u32)> {
        // Acquire: pairs with `Node::publish`.
        let state = self.0.load(Acquire);
        let case = state >> CASE_SHIFT & (CASES as u32 - 1);
        (state & GRANTED == GRANTED).then_some((case as usize, state >> TOKEN_SHIFT))
    }
}

/// The links of the list a node is in. Belong to the list's lock.
pub(super) struct Links {
    /// The one before; of the first, the last. Null: the node is in no list.
    pub(super) prev: *const Node,
    /// The one behind; of the last, null.
    pub(super) next: *const Node,
    /// Who waits. Taken by who grants.
    pub(super) waiter: Option<Waiter>,
    /// What it tells. Who grants to another may change since when it counts as waiting.
    pub(super) note: Note,
}

/// One waiter: on its thread's stack, or in its future.
pub(super) struct Node {
    own: State,
    /// The selection's state, if the node is one of several. Null: it is `own`.
    shared: *const State,
    /// Which of them it is.
    case: u32,
    links: UnsafeCell<Links>,
}

impl Node {
    pub(super) fn new(note: Note) -> Node {
        Node::with_state(State::new(), note)
    }

    /// A place in a list that stands for nobody.
    pub(super) fn marker() -> Node {
        Node::with_state(State::closed(), Note::NONE)
    }

    fn with_state(own: State, note: Note) -> Node {
        let links = Links { prev: ptr::null(), next: ptr::null(), waiter: None, note };
        Node { own, shared: ptr::null(), case: 0, links: UnsafeCell::new(links) }
    }

    /// Makes it a case of a selection. Whoever puts it into a list answers for `state` being there as long as the node.
    pub(super) fn share(&mut self, state: *const State, case: usize) {
        assert!(case < CASES, "a selection of {CASES} cases at most");
        self.shared = state;
        self.case = case as u32;
    }

    /// The state word.
    pub(super) fn state(&self) -> &State {
        // SAFETY: see `share`: who can reach the node can reach the state.
        if self.shared.is_null() { &self.own } else { unsafe { &*self.shared } }
    }

    /// The links.
    ///
    /// # Safety
    /// The caller holds the lock of the list, or the node is its own and in no list; and it keeps no two references
    /// at once.
    #[expect(clippy::mut_from_ref, reason = "the list's lock makes it exclusive")]
    pub(super) unsafe fn links(&self) -> &mut Links {
        // SAFETY: as the caller promises.
        unsafe { &mut *self.links.get() }
    }

    /// Granter, under the list's lock: see [`State::claim`]. A node that has left, or whose selection ended otherwise,
    /// is passed over.
    pub(super) fn claim(&self) -> bool {
        self.state().claim()
    }

    /// Granter, under the list's lock: whether the node is worth a claim.
    pub(super) fn is_waiting(&self) -> bool {
        self.state().is_waiting()
    }

    /// Granter, under the list's lock: the end of a claim. The node may be gone when this returns, hence no `&self`.
    ///
    /// # Safety
    /// The caller has claimed and unlinked the node, and has not published before.
    pub(super) unsafe fn publish(this: *const Node, token: u32) {
        // SAFETY: alive until the publishing; the references end before it.
        let (state, case) = unsafe { (ptr::from_ref((*this).state()), (*this).case) };
        // SAFETY: claimed by the caller.
        unsafe { State::publish(state, case, token) };
    }

    /// Waiter: what it was granted, if it is not one of several.
    pub(super) fn granted(&self) -> Option<u32> {
        self.own.granted().map(|(_, token)| token)
    }

    /// Waiter: gives up, if it is not one of several.
    pub(super) fn leave(&self) -> bool {
        self.own.leave()
    }
}
