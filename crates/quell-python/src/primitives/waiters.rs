//! Threads that wait, in the order they came, to be told something: what conditions and barriers have.
//!
//! # The protocol
//!
//! A waiter is an event on its thread's stack, and an entry in the list. Every step below is made with the GIL; only the
//! sleep is not.
//!
//! - **Joining** the list comes before the lock of a condition is given up, so whoever has the lock later finds the waiter.
//! - **Telling** takes the entry out of the list, leaves a word with the waiter and sets its event, in one step. The waiter
//!   was told from then on, whatever ends its sleep.
//! - **Leaving.** The core ends the sleep at the deadline, for a signal and for an interrupt, which stays pending. Then, with
//!   the GIL, the waiter looks if it was told: if so, that is the result, and the interrupt stays pending. If not, it
//!   takes its entry out of the list, and only then the interrupt out of its slot. So what came first is decided in one
//!   step, and nobody tells a waiter that has left.
//!
//! A signal handler is Python code, and others run meanwhile. If it raises, and the waiter was told while it ran, the wait
//! ends with both: a condition then passes the notification on.
//!
//! Nobody touches a waiter that has returned: its entry is gone when it does, and who took the entry out did not let go of
//! the GIL before it was done with the event.
//!
//! *Tasks.* A task waits in the same list, with a [`Place`]. Its future can be dropped at any moment, which leaves: a place that
//! was told, and whose task is gone before it made use of that, tells the next. To wake a task runs its event loop's code, so
//! that is done when everybody has been told, and its event is shared.
//!
//! *Fork.* In the child the other waiters' stacks do not exist; the calling thread's may (a signal handler that forks in the
//! middle of a wait). So an entry knows its thread, and the child forgets all others.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use pyo3::prelude::*;
use quell::wait::{Wait, WaitError};

use super::wait::{Patience, Waitable, sleep};
use crate::delivery;
use crate::delivery::gil_cell::GilCell;

/// The list. `W` is the word that waiters are told.
pub(super) struct Waiters<W>(GilCell<VecDeque<Entry<W>>>);

struct Entry<W> {
    waiter: *const Waiter<W>,
    thread: libc::pthread_t,
}

// SAFETY: the pointer is followed with the GIL only, while the entry is in the list; see the protocol.
unsafe impl<W> Send for Entry<W> {}

struct Waiter<W> {
    bell: Bell,
    told: Cell<Option<W>>,
}

/// What wakes a waiter.
enum Bell {
    Thread(quell::Event),
    Task(Arc<quell::Event>),
}

/// Tasks that were told something. They are woken when this is dropped, which runs Python code: that of their event loops.
#[must_use = "dropping it wakes them"]
#[derive(Default)]
pub(super) struct Wakes(Vec<Arc<quell::Event>>);

impl Wakes {
    #[cold]
    #[inline(never)]
    fn wake(&mut self) {
        for event in self.0.drain(..) {
            event.set();
        }
    }

    #[inline(always)]
    pub(super) fn and(&mut self, mut others: Wakes) {
        if !others.0.is_empty() {
            self.0.append(&mut others.0);
        }
    }
}

impl Drop for Wakes {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.wake();
        }
    }
}

/// What a wait is part of.
pub(super) trait Occasion {
    /// What the wait is for, for a fork.
    fn object(&self) -> &dyn Waitable;

    /// The thread is in the list. If this fails, it does not wait.
    fn joined(&mut self) -> PyResult<()> {
        Ok(())
    }

    /// Whether the thread may leave without having been told. If not, it will be told soon.
    fn may_leave(&self) -> bool {
        true
    }

    /// The thread leaves without having been told. One step with that: must not run Python code.
    fn left(&self) {}
}

/// How a wait ended.
pub(super) enum Ended<W> {
    Told(W),
    /// Without having been told: at the deadline, or with an error.
    Left(Option<PyErr>),
    /// Told, and a signal handler raised.
    Both(W, PyErr),
}

fn this_thread() -> libc::pthread_t {
    // SAFETY: no preconditions.
    unsafe { libc::pthread_self() }
}

impl<W: Copy> Waiters<W> {
    pub(super) const fn new() -> Self {
        Self(GilCell::new(VecDeque::new()))
    }

    /// How many wait.
    #[inline(always)]
    pub(super) fn len(&self, py: Python<'_>) -> usize {
        self.0.with(py, |list| list.len())
    }

    /// Tells the first `count` of those who wait, or as many as there are.
    #[inline(always)]
    pub(super) fn tell(&self, py: Python<'_>, count: usize, word: W) -> Wakes {
        // Mostly nobody waits.
        if self.len(py) == 0 { Wakes::default() } else { self.tell_waiting(py, count, word) }
    }

    #[cold]
    #[inline(never)]
    fn tell_waiting(&self, py: Python<'_>, count: usize, word: W) -> Wakes {
        let mut wakes = Wakes::default();
        self.0.with(py, |list| {
            for _ in 0..count {
                let Some(Entry { waiter, .. }) = list.pop_front() else { break };
                // SAFETY: it was in the list, so its thread waits, and cannot return before it has the GIL; or its task has a
                // place, which leaves the list before it ends.
                let waiter = unsafe { &*waiter };
                waiter.told.set(Some(word));
                match &waiter.bell {
                    Bell::Thread(event) => event.set(),
                    Bell::Task(event) => wakes.0.push(event.clone()),
                }
            }
        });
        wakes
    }

    /// A place for a task, at the end of the list.
    pub(super) fn join(&self, py: Python<'_>) -> Place<'_, W> {
        let event = Arc::new(quell::Event::new());
        let bell = Bell::Task(event.clone());
        let waiter = Box::new(Waiter { bell, told: Cell::new(None) });
        self.0.with(py, |list| {
            list.push_back(Entry { waiter: &raw const *waiter, thread: this_thread() });
        });
        Place { waiters: self, waiter, event, passes_on: false }
    }

    /// Waits until told. An interruption point. Where the patience is not to wait at all, it looks once after it has joined.
    pub(super) fn wait(
        &self,
        py: Python<'_>,
        patience: Patience,
        mut occasion: impl Occasion,
    ) -> Ended<W> {
        let event = quell::Event::new();
        let waiter = Waiter { bell: Bell::Thread(event), told: Cell::new(None) };
        let Bell::Thread(event) = &waiter.bell else { unreachable!("it was made so") };
        let listed = Listed { waiters: self, waiter: &waiter, py };
        self.0.with(py, |list| {
            list.push_back(Entry { waiter: &raw const waiter, thread: this_thread() });
        });
        let mut raised = occasion.joined().err();
        let deadline = patience.deadline();
        let mut expired = patience == Patience::Try;
        let mut looks = delivery::Looks::default();
        let mut listens = true;
        let interrupt = loop {
            if waiter.told.get().is_some() || (expired || raised.is_some()) && occasion.may_leave()
            {
                break None;
            }
            let wait = match delivery::wait_options(py, deadline.filter(|_| !expired), &mut looks) {
                Ok(wait) => Wait {
                    interruptible: wait.interruptible && listens && occasion.may_leave(),
                    signals: wait.signals && raised.is_none(),
                    leave_pending: true,
                    ..wait
                },
                Err(error) => {
                    raised = raised.or(Some(error));
                    Wait::new().shielded()
                }
            };
            match sleep(py, occasion.object(), &wait, |wait| event.wait_with(wait)) {
                Err(WaitError::TimedOut) => expired = true,
                Err(WaitError::Signalled) if waiter.told.get().is_none() => {
                    raised = raised.or(py.check_signals().err());
                    // It may be that it could leave when it fell asleep, and cannot any more.
                    if raised.is_none()
                        && waiter.told.get().is_none()
                        && wait.interruptible
                        && occasion.may_leave()
                        && let Some(interrupt) = delivery::take_where_blocked(py, &mut listens)
                    {
                        break Some(interrupt);
                    }
                }
                // Told; or told since. Interrupts stay pending, and an event belongs to nobody who could close a circle.
                Ok(())
                | Err(WaitError::Signalled | WaitError::Interrupted(_) | WaitError::Deadlock(_)) => {
                }
            }
        };
        match waiter.told.get() {
            Some(word) => raised.map_or(Ended::Told(word), |error| Ended::Both(word, error)),
            None => {
                listed.leave();
                occasion.left();
                Ended::Left(interrupt.map(|it| delivery::delivered(py, it)).or(raised))
            }
        }
    }

    /// Nobody waits, whoever did.
    pub(super) fn forget(&self, py: Python<'_>) {
        self.0.with(py, VecDeque::clear);
    }

    /// In the child of a fork: nobody waits but the calling thread, perhaps. How often that does.
    pub(super) fn forget_others(&self, py: Python<'_>) -> usize {
        self.0.with(py, |list| {
            list.retain(|entry| entry.thread == this_thread());
            list.len()
        })
    }
}

/// While it lives, a waiter may be in the list.
struct Listed<'a, 'py, W> {
    waiters: &'a Waiters<W>,
    waiter: &'a Waiter<W>,
    py: Python<'py>,
}

impl<W> Waiters<W> {
    fn remove(&self, py: Python<'_>, waiter: *const Waiter<W>) {
        self.0.with(py, |list| {
            if let Some(at) = list.iter().position(|e| std::ptr::eq(e.waiter, waiter)) {
                list.remove(at);
            }
        });
    }
}

impl<W> Listed<'_, '_, W> {
    fn leave(&self) {
        self.waiters.remove(self.py, self.waiter);
    }
}

impl<W> Drop for Listed<'_, '_, W> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A task's place in the list. Dropping it leaves.
pub(super) struct Place<'a, W: Copy> {
    waiters: &'a Waiters<W>,
    waiter: Box<Waiter<W>>,
    event: Arc<quell::Event>,
    passes_on: bool,
}

impl<'a, W: Copy> Place<'a, W> {
    /// The same; if it is dropped when it was told, and not [`used`](Self::used), the next one is told.
    pub(super) fn passing_on(self) -> Self {
        // Nothing is dropped by this.
        let mut place = self;
        place.passes_on = true;
        place
    }

    /// Waits until told.
    pub(super) fn told(&self) -> impl Future<Output = ()> + Send + use<W> {
        let event = self.event.clone();
        async move { event.wait_async().await }
    }

    /// What it was told, if it was.
    pub(super) fn word(&self) -> Option<W> {
        self.waiter.told.get()
    }

    /// The task has made use of what it was told.
    pub(super) fn used(mut self) {
        self.passes_on = false;
    }
}

impl<W: Copy> Drop for Place<'_, W> {
    fn drop(&mut self) {
        // SAFETY: a place lives in an operation, whose future is polled and dropped attached.
        let py = unsafe { Python::assume_attached() };
        match self.word() {
            None => self.waiters.remove(py, &raw const *self.waiter),
            Some(word) if self.passes_on => drop(self.waiters.tell(py, 1, word)),
            Some(_) => {}
        }
    }
}
