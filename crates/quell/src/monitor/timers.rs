//! The armed deadlines, in several heaps, and when somebody must look at them.
//!
//! Each thread arms in a heap of its own as far as there are enough, so that threads do not wait for each other. A
//! timer remembers in which; any thread may cancel it there.
//!
//! # The promise
//!
//! Beside each heap, under its lock, stands the time by which the monitor has promised to look at it again. The monitor
//! makes the promise for each heap, its earliest deadline, before it sleeps until the earliest of them. Who arms an
//! earlier deadline than promised lowers the promise and unparks the monitor; who arms a later one, or cancels, does
//! nothing of the kind. So a timeout that is armed and cancelled again and again, as most are, wakes the monitor once
//! in its own length, not each time.
//!
//! No deadline is missed: an entry was put into its heap before the monitor made its promise for that heap, and the
//! promise is no later than its deadline; or after, and then it is later than the promise, or its maker unparks the
//! monitor, which looks at every heap again. Each is decided under the one heap's lock.
//!
//! A deadline runs or is cancelled, never both: who takes it out of its heap has it.

use super::function::Function;
use super::heap::{Heap, Place};
use crate::park::{Parked, Parker, Short};
use crate::sys::atomic::AtomicU64;
use crate::sys::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Later than any deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// What is armed.
pub(crate) enum Job {
    /// It runs once.
    Once(Function),
    /// It says when it is to run again, if it is.
    Again(Box<dyn FnMut() -> Option<u64> + Send>),
}

/// Something that is due, for the monitor to run.
pub(crate) struct Due {
    job: Job,
    ticket: Ticket,
}

/// How many heaps.
const SHARDS: usize = if cfg!(any(quell_loom, quell_shuttle)) { 2 } else { 8 };

/// All that is armed. Times are numbers; only their order counts here.
pub(crate) struct Timers {
    shards: [Shard; SHARDS],
    /// The monitor's.
    parker: Parker,
}

/// On lines of the cache of its own.
#[repr(align(128))]
struct Shard {
    state: Short<State>,
    /// The first deadline, to choose a shard by without its lock. Written under the lock; nothing is decided by it, so
    /// Relaxed.
    first: AtomicU64,
}

struct State {
    heap: Heap<Job>,
    /// The monitor looks by then, or has been unparked.
    promised: u64,
}

/// Where something was armed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    place: Place,
    shard: u32,
}

impl Shard {
    const_fn! {
        fn new() -> Shard {
            let state = State { heap: Heap::new(), promised: NEVER };
            Shard { state: Short::new(state), first: AtomicU64::new(NEVER) }
        }
    }

    #[inline]
    fn tell(&self, state: &State) {
        let first = state.heap.first().unwrap_or(NEVER);
        if self.first.load(Relaxed) != first {
            self.first.store(first, Relaxed);
        }
    }
}

impl Timers {
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) const fn new() -> Timers {
        Timers { shards: [const { Shard::new() }; SHARDS], parker: Parker::new() }
    }

    #[cfg(any(quell_loom, quell_shuttle))]
    pub(crate) fn new() -> Timers {
        Timers { shards: std::array::from_fn(|_| Shard::new()), parker: Parker::new() }
    }

    /// Arms `job` for `time`. `thread` chooses the heap.
    #[inline]
    pub(crate) fn arm(&self, thread: usize, time: u64, job: Job) -> Ticket {
        let index = thread % SHARDS;
        let shard = &self.shards[index];
        let mut state = shard.state.lock();
        let place = state.heap.push(time, job);
        let early = time < state.promised;
        if early {
            state.promised = time;
        }
        shard.tell(&state);
        drop(state);
        if early {
            self.parker.unpark();
        }
        Ticket { place, shard: index as u32 }
    }

    /// Takes it out. `None`: it has run, runs, or was cancelled. One that runs does not run again.
    #[inline]
    pub(crate) fn cancel(&self, ticket: Ticket) -> Option<Job> {
        let shard = &self.shards[ticket.shard as usize];
        let mut state = shard.state.lock();
        let job = state.heap.remove(ticket.place);
        let spare = state.heap.spare_chunk();
        shard.tell(&state);
        drop(state);
        drop(spare);
        job
    }

    #[cfg_attr(any(quell_loom, quell_shuttle), expect(dead_code, reason = "no model asks"))]
    pub(crate) fn is_armed(&self, ticket: Ticket) -> bool {
        self.shards[ticket.shard as usize].state.lock().heap.contains(ticket.place)
    }

    /// How many are armed.
    #[cfg_attr(any(quell_loom, quell_shuttle), expect(dead_code, reason = "no model asks"))]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.state.lock().heap.len()).sum()
    }

    /// The monitor: takes out the earliest that is due, as far as can be seen without a lock. What is overlooked is
    /// found by [`promise`](Timers::promise).
    pub(crate) fn due(&self, now: u64) -> Option<Due> {
        loop {
            let all = self.shards.iter().enumerate();
            let first = |(_, shard): &(usize, &Shard)| shard.first.load(Relaxed);
            let (index, shard) = all.min_by_key(first).expect("there are some");
            if shard.first.load(Relaxed) > now {
                return None;
            }
            let mut state = shard.state.lock();
            let is_due = state.heap.first().is_some_and(|time| time <= now);
            let taken = match state.heap.peek() {
                Some(Job::Again(_)) if is_due => state.heap.borrow(),
                Some(Job::Once(_)) if is_due => state.heap.take(),
                _ => None,
            };
            shard.tell(&state);
            drop(state);
            // Otherwise it was cancelled in between, and another shard may be the earliest.
            if let Some((job, place)) = taken {
                return Some(Due { job, ticket: Ticket { place, shard: index as u32 } });
            }
        }
    }

    /// The monitor: runs what was due, and arms it again if it asks for it and was not cancelled in the meantime.
    pub(crate) fn run(&self, due: Due) {
        let Due { job, ticket } = due;
        let mut function = match job {
            Job::Once(function) => return function.call(),
            Job::Again(function) => function,
        };
        // If it panics, it is dropped, and its slot given up.
        let given_up = GiveUp { timers: self, ticket };
        let Some(time) = function() else { return };
        std::mem::forget(given_up);
        let shard = &self.shards[ticket.shard as usize];
        let mut state = shard.state.lock();
        // The monitor runs this, and makes its promises afterwards.
        let back = state.heap.give_back(ticket.place, time, Job::Again(function));
        shard.tell(&state);
        drop(state);
        drop(back);
    }

    /// The monitor: promises to be back by the time this says, or when it is unparked. It has nothing to run now, so
    /// it gives back some of the storage that is not needed any more.
    pub(crate) fn promise(&self) -> u64 {
        let promise = |shard: &Shard| {
            let mut state = shard.state.lock();
            state.promised = state.heap.first().unwrap_or(NEVER);
            let (promised, spare) = (state.promised, state.heap.spare());
            drop(state);
            drop(spare);
            promised
        };
        self.shards.iter().map(promise).min().expect("there are some")
    }

    /// The monitor: sleeps, until it is unparked or it is `until`.
    pub(crate) fn sleep(&self, until: Option<Instant>) -> Parked {
        self.parker.park(until)
    }

    /// Before fork.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn hold(&self) {
        self.shards.iter().for_each(|shard| shard.state.raw().lock());
    }

    #[cfg(quell_parker_locks)]
    pub(super) fn hold_parker(&self) -> crate::park::Held<'_> {
        self.parker.hold()
    }

    /// After fork, in both processes.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(crate) fn release(&self) {
        self.shards.iter().for_each(|shard| shard.state.raw().unlock());
    }
}

/// Gives up the slot of a job that is not to run again.
struct GiveUp<'a> {
    timers: &'a Timers,
    ticket: Ticket,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.timers.cancel(self.ticket);
    }
}

#[cfg(all(test, not(any(quell_loom, quell_shuttle))))]
mod tests {
    use super::*;

    /// The last of very many does not wait while the storage of all is given back: that comes when none is due.
    #[test]
    fn storage_is_given_back_when_nothing_is_due() {
        let timers = Timers::new();
        let many = 1 << 17;
        for time in 0..many {
            timers.arm(0, time, Job::Once(Function::new(|| ())));
        }
        let room = || timers.shards[0].state.lock().heap.room();
        let full = room();
        for _ in 0..many {
            let due = timers.due(many).expect("all of them are");
            assert_eq!(room(), full);
            timers.run(due);
        }
        assert_eq!(room(), full);
        assert_eq!(timers.promise(), NEVER);
        assert!(room().0 < full.0 && room().1 < full.1);
    }
}
