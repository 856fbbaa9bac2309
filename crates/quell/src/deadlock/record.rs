//! What a thread has written down about itself: what it wants, what it holds, why it sleeps. Part of its handle.
//!
//! Written by the thread itself, read by who shows waits or looks for a deadlock. Another than its thread touches it under
//! the graph's lock only, so that a fork which holds that one finds every record whole. The protocol is in the module's
//! documentation.

use super::gate;
use super::graph::GRAPH;
use super::place::Place;
use super::report::{Deadlock, Kind};
use crate::park::Short;
use crate::sync::{RawLock, RawRLock};
use crate::thread::{Thread, lookup_number, registered};
use std::panic::Location;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// What a thread wants: something that has a holder.
#[derive(Clone)]
pub(crate) enum What {
    Lock(*const RawLock),
    RLock(*const RawRLock),
    End(Thread),
}

// SAFETY: who follows the pointers answers for that; see `What::holder`.
unsafe impl Send for What {}

impl What {
    pub(super) fn kind(&self) -> Kind {
        match self {
            What::Lock(_) => Kind::Lock,
            What::RLock(_) => Kind::RLock,
            What::End(_) => Kind::Thread,
        }
    }

    /// By what it is told from others; of a lock, where it is in memory.
    pub(super) fn address(&self) -> usize {
        match self {
            What::Lock(lock) => lock.addr(),
            // SAFETY: nothing is read; and it is there, as in `holder`.
            What::RLock(lock) => std::ptr::from_ref(unsafe { &**lock }.raw()).addr(),
            What::End(_) => 0,
        }
    }

    /// Who holds it.
    ///
    /// # Safety
    /// What it points to is there: the caller is the thread that wants it, or holds the lock of the record it is in.
    pub(super) unsafe fn holder(&self) -> Held {
        match self {
            // SAFETY: as the caller promises.
            What::Lock(lock) => unsafe { &**lock }.holder().map_or(Held::Unknown, Held::Number),
            What::RLock(lock) => {
                // SAFETY: as the caller promises.
                let lock = unsafe { &**lock };
                // With detection off, the owner's own note of it.
                let own = || lock.owner().map_or(Held::Unknown, |id| Held::Id(id.get().get()));
                lock.raw().holder().map_or_else(own, Held::Number)
            }
            What::End(thread) => Held::Id(thread.id().get().get()),
        }
    }
}

/// Who holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The thread with this id.
    Id(u64),
    /// One with this number.
    Number(u32),
    /// Nobody, or nobody that is known.
    Unknown,
}

/// One want.
pub(super) struct Want {
    pub(super) what: What,
    pub(super) place: Place,
    pub(super) since: Instant,
    /// Whether it has a deadline.
    pub(super) limited: bool,
    /// Whether it may end with an error.
    pub(super) may_fail: bool,
    /// In the graph, under this number, which no other want has. 0: not in the graph.
    pub(super) number: u64,
    /// It will fail, so it is no part of any chain.
    pub(super) leaving: bool,
    /// Its thread is asking what to do about a deadlock, and takes no verdict meanwhile.
    pub(super) judging: bool,
    /// Why it is to fail.
    pub(super) verdict: Option<Deadlock>,
}

/// A lock that was taken while detection was on.
pub(super) struct Hold {
    pub(super) address: usize,
    pub(super) place: Place,
}

/// What is under the record's lock.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) want: Option<Want>,
    /// Oldest first. Only for the places: who holds a lock, its own word says.
    pub(super) holds: Vec<Hold>,
}

impl Pages {
    /// Where the lock was taken. The latest, if it was freed by another thread in between and that was not seen.
    pub(super) fn taken_at(&self, address: usize) -> Option<Place> {
        self.holds.iter().rev().find(|hold| hold.address == address).map(|hold| hold.place)
    }

    /// Forgets the oldest hold of it. Says whether there was one.
    fn forget(&mut self, address: usize) -> bool {
        let at = self.holds.iter().position(|hold| hold.address == address);
        if let Some(at) = at {
            self.holds.remove(at);
        }
        at.is_some()
    }
}

/// What a thread has written down about itself.
pub(crate) struct Record {
    pub(super) pages: Short<Pages>,
    /// What it sleeps for, if that has no holder: the kind in the upper byte, the address below. 0: for nothing. std's
    /// atomic also in models, and Relaxed: nothing is decided by it.
    asleep: AtomicU64,
}

const KIND_SHIFT: u32 = 56;

impl Record {
    pub(crate) fn new() -> Record {
        let pages = Pages { want: None, holds: Vec::new() };
        Record { pages: Short::new(pages), asleep: AtomicU64::new(0) }
    }

    /// What it sleeps for, and where that is.
    pub(super) fn asleep(&self) -> Option<(Kind, usize)> {
        let packed = self.asleep.load(Relaxed);
        let address = packed & ((1 << KIND_SHIFT) - 1);
        Kind::from_number((packed >> KIND_SHIFT) as u8).map(|kind| (kind, address as usize))
    }

    /// Why its wait is to fail. The thread itself, which was told that there is a verdict.
    pub(crate) fn verdict(&self) -> Option<Deadlock> {
        self.pages.lock().want.as_ref().and_then(|want| want.verdict.clone())
    }
}

/// While it lives, its thread sleeps for something that has no holder.
pub(crate) struct Asleep<'a> {
    thread: &'a Thread,
    before: u64,
}

impl Asleep<'_> {
    /// `place` is any address that tells it from others of its kind.
    pub(crate) fn enter<T: ?Sized>(thread: &Thread, kind: Kind, place: *const T) -> Asleep<'_> {
        // Nobody else writes it, but for `moved`.
        let packed = pack(kind, place);
        let asleep = &thread.record().asleep;
        let before = asleep.load(Relaxed);
        asleep.store(packed, Relaxed);
        Asleep { thread, before }
    }

    /// Another thread, which sleeps, is about to sleep for something else: before it can know.
    pub(crate) fn moved<T: ?Sized>(thread: &Thread, kind: Kind, place: *const T) {
        thread.record().asleep.store(pack(kind, place), Relaxed);
    }
}

fn pack<T: ?Sized>(kind: Kind, place: *const T) -> u64 {
    u64::from(kind.number()) << KIND_SHIFT | place.addr() as u64 & ((1 << KIND_SHIFT) - 1)
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.thread.record().asleep.store(self.before, Relaxed);
    }
}

/// The current thread has taken a lock, with its number in the word.
pub(crate) fn took(lock: &RawLock, location: &'static Location<'static>) {
    let place = Place::of(location);
    let hold = Hold { address: std::ptr::from_ref(lock).addr(), place };
    // A thread whose thread-locals are gone has no record.
    registered(|me| me.record().pages.lock().holds.push(hold));
}

/// The current thread has freed a lock, whose word then said that the one with this number had held it last.
pub(crate) fn released(lock: &RawLock, number: Option<u32>) {
    if !gate::was_ever_on() {
        return;
    }
    let address = std::ptr::from_ref(lock).addr();
    let mine = registered(|me| me.record().pages.lock().forget(address));
    if mine == Some(true) {
        return;
    }
    // Any thread may free a lock without data; or it was taken while detection was off.
    let taker = number.and_then(lookup_number);
    if let Some(taker) = taker {
        // Another's record, hence under the graph's lock.
        let _graph = GRAPH.lock();
        taker.record().pages.lock().forget(address);
    }
}
