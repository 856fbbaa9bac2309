//! Deadlocks: who waits for whom, and what becomes of a wait that closes a circle.
//!
//! [`waits`] tells at any time which threads wait for what, as text, JSON or a graph for `dot`. With detection on
//! ([`set_detection`]), a wait that could never end, because the threads that hold what it needs wait for each other and
//! for the one that waits, fails at once with a [`Deadlock`] that names the threads, the locks, and where each was
//! taken.
//!
//! ```
//! use quell::deadlock::{self, Detection};
//! use quell::{Barrier, Lock, thread};
//!
//! deadlock::set_detection(Detection::Fail);
//! let (left, right, both) = (Lock::new(()), Lock::new(()), Barrier::new(2));
//! let cross = |first: &Lock<()>, second: &Lock<()>| {
//!     let _first = first.lock().unwrap();
//!     both.wait().unwrap();
//!     second.lock().map(drop) // one of the two would wait for ever
//! };
//! let (a, b) = thread::scope(|s| {
//!     let other = s.spawn(|| cross(&right, &left));
//!     (cross(&left, &right), other.join().unwrap())
//! });
//! let failed = a.err().or(b.err()).expect("it was one of them");
//! assert!(failed.deadlock().unwrap().to_string().starts_with("deadlock of 2 threads"));
//! # deadlock::set_detection(Detection::Off);
//! ```
//!
//! # What has a holder
//!
//! | a wait for … | waits for the thread that … |
//! | --- | --- |
//! | a [`Lock`](crate::Lock) or [`RLock`](crate::RLock), also as a [`Condition`](crate::Condition) takes it again | took it |
//! | the end of a thread ([`join`](crate::thread::JoinHandle::join)) | is waited for |
//! | a [`RawLock`](crate::RawLock) | took it; but any thread may free it, so a circle through one is a suspicion |
//! | a lock that a task holds | nobody that is known |
//! | an event, a semaphore, a barrier, a queue, a condition, a task of a pool, the end of a thread scope, time | nobody: any thread may end it |
//!
//! The end of a scope is among those because it waits for several threads at once, where a chain follows one, and because it could
//! not fail: the threads borrow what ends with it. Whoever joins the handles inside the scope has a circle through them found.
//!
//! A circle of waits of the first kinds is found, all of it or nothing: there is none that merely looks like one. That a
//! wait in it has a deadline, or can be interrupted, does not make it another thing; [`Waiting::limited`] tells, for a
//! [policy](Detection::Ask) that wants to let a deadline have its way. Where a circle leads through a wait of the other
//! kinds, [`waits`] shows it, and nothing is reported.
//!
//! # What it costs
//!
//! Switched off, nothing but a load: the word that a free lock is expected to have comes from memory. What
//! [`waits`] shows is written down by threads that are about to sleep. Switched on, every acquire and release takes the
//! slow path, where it is written down who holds what since where; that is why it is off until somebody switches it on. What
//! was taken before is not known.
//!
//! # The protocol
//!
//! Three things are written down. Each is where its writer has it at hand:
//!
//! | what | where | written by |
//! | --- | --- | --- |
//! | who holds a lock | bits of the lock's own word | who takes it, in the very step that takes it; they mean something only while the word says that it is held |
//! | what a thread *wants* | its record, under the record's lock | the thread itself: before it joins the lock's queue, until it has the lock or has given up |
//! | which threads want something | the graph, under the graph's lock | the same, together with the above |
//!
//! A thread enters its want into record and graph, and in the same hold of the graph's lock follows the chain: what it wants,
//! who holds that, what the holder wants, and so on, until somebody wants nothing (no deadlock), or the chain comes back
//! to where it began. Wants are left under the graph's lock too.
//!
//! **What is reported is there.** While the chain is followed nobody enters or leaves a want. So each thread of the chain is
//! inside the operation by which it takes one lock (or joins), all the time. A thread in there releases nothing, hence
//! whoever is seen to hold a lock in that time holds it all that time; hence nobody in the chain can have been given what
//! it wants; and it holds for all of them at once. (A thread to which a lock is handed over holds it before it has left
//! its want: it then wants what it holds, and the chain ends in it. The one that looks is in no queue yet, so nothing was
//! handed to it.)
//!
//! **What is there is reported, once.** In a deadlock, each thread had taken what it holds before it entered its want, and
//! nobody leaves. The last one to enter sees all: the wants, through the graph's lock; the holders' bits, because they were
//! written before the holders' own wants. Those before it find a chain that ends. A Relaxed load of the lock's word is
//! enough: what was written before a want was entered happens before the look, by the graph's lock, and a word is
//! not read backwards.
//!
//! **Who gives up.** Built-in policies decide in the same hold of the graph's lock, and from then on the want of the
//! one that will fail is no part of any chain; so a deadlock has one victim. If it is the thread that looks, it fails
//! before it has joined the lock's queue. If it is another, the verdict is put into its record, by the number of that want, and a
//! bit is set in its slot's word, as for a [nudge](crate::Thread::nudge); it leaves its queue as for an interrupt, by one
//! compare-exchange against being granted. A want that has ended in between takes its verdict with it: nobody fails later
//! for an earlier deadlock. A policy that is asked is asked without locks; afterwards the chain is followed again, and the
//! answer counts only if it is still the same.
//!
//! **Order of locks.** The graph's, then a record's. Neither is held while anything else is.
//!
//! **A lock's pointer** is in a record only while its owner is inside the operation, and so borrows the lock. Who follows it
//! holds the record's lock, which the owner needs to leave.

mod gate;
mod graph;
mod judge;
mod name;
mod place;
mod record;
mod report;
mod write;

pub use judge::{
    Describer, Detection, Judge, Reporter, Verdict, detection, set_detection, set_reporter,
    set_where,
};
pub use name::{Name, Named, name};
pub use place::{Place, called_from};
pub use report::{Deadlock, Holder, Kind, Waiting, Waits, waits};

pub(crate) use gate::{HOLDER_BITS, free_word, is_on, number, with_number};
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) use graph::{after_fork, hold, release};
pub(crate) use judge::want;
pub(crate) use record::{Asleep, Record, What, released, took};

#[cfg(any(quell_loom, quell_shuttle))]
pub(crate) use gate::switch;
