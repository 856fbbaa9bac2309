//! Who works in a pool: its workers, and the spare threads that take the place of those that wait.
//!
//! A task that waits for another task of its pool keeps a worker from running that one; if all workers wait so, nobody
//! is left to run what they wait for. So a worker that waits for a task gives its *place* up meanwhile, and if fewer
//! threads than the pool has places are then left to run tasks, a spare thread is started. (The compensation of Doug Lea's
//! `ForkJoinPool`, with its `ManagedBlocker`; tokio's `block_in_place` is of the same kind.) Running the awaited task in
//! the waiting thread instead would need no thread, but an interrupt for the task that waits would then have to wait
//! for the other to end, or hit the wrong one.
//!
//! # The protocol
//!
//! Two counts, under one lock: the threads that have not decided to end, and those of them that are away. What is left
//! is *active*: it runs a task, or will take the next.
//!
//! | step | who | counts |
//! | --- | --- | --- |
//! | gives its place up | a thread of the crew, before it waits | `away` + 1; then, if there are fewer active than places: |
//! | … starts a spare | the same | `threads` + 1, before the thread is there; − 1 if it cannot be started |
//! | comes back | the same, after it has waited | `away` − 1. It does not wait for a place: one more is active for a moment |
//! | ends | a spare, between two tasks, if there are more active than places | `threads` − 1 |
//!
//! **Somebody is left.** Who would leave nobody active, and cannot start a spare, does not go: its wait fails, and says
//! so. Each step looks at the counts and changes them under the lock, so of several that go at once the last one sees
//! all others. (One that counts on a spare which then cannot be started is counted by who could not start it.) A
//! spare that decides to end is no longer counted when the lock is free. So as long as somebody waits, a thread takes
//! what is queued, and tasks that wait for tasks come to an end, unless they wait for each other in a ring.
//!
//! **A spare is found.** It is in the list, with its seat, before its thread is started: so who stops the pool finds what
//! it runs, as with a worker, and who joins the pool waits for it too.

use super::base::Shared;
use super::worker::{Seat, work_as_spare};
use crate::park::Short;
use crate::sys;
use crate::thread::{self, Thread};
use std::cell::RefCell;
use std::sync::Arc;

/// How many spare threads there may be at once, unless the pool says otherwise. (`ForkJoinPool`'s number.)
pub(super) const SPARES: usize = 256;

/// The threads of a pool.
pub(super) struct Crew {
    /// How many shall be active.
    places: usize,
    /// How many spares there may be at once.
    most: usize,
    name: String,
    stack_size: Option<usize>,
    state: Short<State>,
}

struct State {
    /// Workers and spares that have not decided to end.
    threads: usize,
    /// Those of them that have given their place up.
    away: usize,
    /// Also those that have ended, until the next is started.
    spares: Vec<Spare>,
    /// How many were ever started.
    started: u64,
}

impl State {
    fn active(&self) -> usize {
        self.threads - self.away
    }
}

#[derive(Clone)]
struct Spare {
    thread: Thread,
    seat: Arc<Seat>,
}

/// Nobody would be left to run tasks.
pub(super) struct Stuck;

impl Crew {
    pub(super) fn new(places: usize, most: usize, name: String, stack_size: Option<usize>) -> Crew {
        let state = State { threads: places, away: 0, spares: Vec::new(), started: 0 };
        Crew { places, most, name, stack_size, state: Short::new(state) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How a thread of the crew is started.
    pub(super) fn builder(&self, name: String) -> thread::Builder {
        let builder = thread::Builder::new().name(name).shielded();
        match self.stack_size {
            Some(bytes) => builder.stack_size(bytes),
            None => builder,
        }
    }

    /// Before a fork: nobody is in the middle of changing it, or what a spare shows.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(super) fn hold(&self) {
        self.state.raw().lock();
        // SAFETY: we hold the lock.
        unsafe { self.state.held() }.spares.iter().for_each(|spare| spare.seat.hold());
    }

    /// After a fork, in both processes.
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    pub(super) fn release(&self) {
        // SAFETY: we hold the lock since `hold`.
        unsafe { self.state.held() }.spares.iter().for_each(|spare| spare.seat.release());
        self.state.raw().unlock();
    }

    /// How many spares there are.
    pub(super) fn spares(&self) -> usize {
        self.state.lock().threads - self.places
    }

    /// What the spares show, those that have ended included.
    pub(super) fn spare_seats(&self) -> Vec<Arc<Seat>> {
        self.state.lock().spares.iter().map(|spare| Arc::clone(&spare.seat)).collect()
    }

    /// A spare that has not ended.
    pub(super) fn living_spare(&self) -> Option<Thread> {
        let state = self.state.lock();
        let living = state.spares.iter().find(|spare| !spare.thread.ended().is_set());
        living.map(|spare| spare.thread.clone())
    }

    /// Spare, between two tasks: whether it is one too many, and is to end. It is not counted any more then.
    pub(super) fn is_surplus(&self) -> bool {
        let mut state = self.state.lock();
        let surplus = state.active() > self.places;
        if surplus {
            state.threads -= 1;
        }
        surplus
    }

    /// Spare: ends because the pool was shut down.
    pub(super) fn spare_ends(&self) {
        self.state.lock().threads -= 1;
    }
}

/// Gives a place up, and sees to it that somebody takes it. False: nobody does, and nobody is left.
fn give_up(shared: &Arc<Shared>) -> bool {
    let crew = shared.crew();
    let number = {
        let mut state = crew.state.lock();
        state.away += 1;
        if state.active() >= crew.places {
            return true;
        }
        if state.threads - crew.places >= crew.most {
            return state.active() > 0;
        }
        state.threads += 1;
        state.started += 1;
        state.spares.retain(|spare| !spare.thread.ended().is_set());
        state.started
    };
    let seat = Arc::new(Seat::new());
    let enlist = |thread: &Thread| {
        let spare = Spare { thread: thread.clone(), seat: Arc::clone(&seat) };
        crew.state.lock().spares.push(spare);
    };
    let body = {
        let (shared, seat) = (Arc::clone(shared), Arc::clone(&seat));
        move || work_as_spare(&shared, &seat)
    };
    let builder = crew.builder(format!("{}-spare-{number}", crew.name));
    if builder.spawn_prepared(body, enlist).is_ok() {
        return true;
    }
    let mut state = crew.state.lock();
    state.threads -= 1;
    state.active() > 0
}

/// What the current thread is in its pool.
struct Member {
    shared: Arc<Shared>,
    /// It has given its place up.
    away: bool,
}

sys::thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "the checkers' macros know no constants")]
    static MEMBER: RefCell<Option<Member>> = RefCell::new(None);
}

/// The current thread works for the pool, until this is dropped.
pub(super) struct Membership(());

impl Membership {
    pub(super) fn begin(shared: &Arc<Shared>) -> Membership {
        let member = Member { shared: Arc::clone(shared), away: false };
        MEMBER.with(|cell| *cell.borrow_mut() = Some(member));
        Membership(())
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let member = MEMBER.with(|cell| cell.borrow_mut().take());
        drop(member);
    }
}

/// Whether the current thread works for this pool.
pub(super) fn is_member(shared: &Arc<Shared>) -> bool {
    MEMBER.with(|cell| cell.borrow().as_ref().is_some_and(|me| Arc::ptr_eq(&me.shared, shared)))
}

/// While it lives, the current thread has given its place up, if it had one.
pub(super) struct Away {
    shared: Option<Arc<Shared>>,
}

impl Away {
    /// Gives the place up. If nobody would be left in the pool, and `alone` says that this must not be, an error.
    pub(super) fn begin(alone: Alone) -> Result<Away, Stuck> {
        let shared = MEMBER.with(|cell| {
            let mut cell = cell.borrow_mut();
            let me = cell.as_mut().filter(|me| !me.away)?;
            me.away = true;
            Some(Arc::clone(&me.shared))
        });
        let Some(shared) = shared else { return Ok(Away { shared: None }) };
        let left = give_up(&shared);
        // From here on it comes back if this is dropped.
        let away = Away { shared: Some(shared) };
        if left || alone == Alone::Allowed { Ok(away) } else { Err(Stuck) }
    }
}

/// Whether a pool may be left without anybody who runs tasks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Alone {
    Allowed,
    Refused,
}

impl Drop for Away {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        shared.crew().state.lock().away -= 1;
        MEMBER.with(|cell| {
            if let Some(me) = cell.borrow_mut().as_mut() {
                me.away = false;
            }
        });
    }
}

/// Runs `f`, which blocks, and has another thread run the pool's tasks meanwhile, if the current thread is a worker of a
/// [`Pool`](super::Pool). Anywhere else it only runs `f`.
///
/// For a task that waits for something that another task of its pool does: an event, an item, a lock. Waiting for a
/// [`Task`](super::Task) does this by itself. When `f` returns, the task goes on at once, so for a while one task more
/// may run than the pool has workers. If no thread can be started (see [`Builder::spares`](super::Builder::spares)), `f` runs all
/// the same, and the pool has a worker less meanwhile. An interrupt for the task reaches it in `f` as anywhere else.
///
/// (`ForkJoinPool.managedBlock` in Java, `block_in_place` in tokio.)
///
/// ```
/// use quell::Event;
/// use quell::pool::{self, Pool};
/// use std::sync::Arc;
///
/// let (pool, ready) = (Pool::new(1), Arc::new(Event::new()));
/// let waits = {
///     let ready = Arc::clone(&ready);
///     pool.submit(move || pool::blocking(|| ready.wait().is_ok())).unwrap()
/// };
/// pool.submit(move || ready.set()).unwrap(); // there is one worker, and it waits
/// assert!(waits.get().unwrap());
/// ```
#[doc(alias = "block_in_place")]
#[doc(alias = "managedBlock")]
pub fn blocking<R>(f: impl FnOnce() -> R) -> R {
    let away = Away::begin(Alone::Allowed);
    let result = f();
    drop(away);
    result
}
