//! Every interleaving of grants with what a task does: it waits, is polled again, is dropped.

use crate::models::{self, Count};
use loom::future::block_on;
use loom::sync::atomic::AtomicBool;
use quell::model::{self, Gate, Waiters, wait_at};
use quell::{Event, Interrupt, RawLock, Thread, Wait};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::task::{Context, Poll, Waker};

/// A queue, and the state that its waiters look at: once it is open, nobody needs to wait.
struct Door {
    queue: Waiters,
    open: AtomicBool,
    /// Grants that were passed on.
    passed: AtomicU32,
}

impl Door {
    fn new() -> Arc<Door> {
        let (open, passed) = (AtomicBool::new(false), AtomicU32::new(0));
        Arc::new(Door { queue: Waiters::new(), open, passed })
    }

    /// Opens, and grants to one; says whether there was one.
    fn open_one(&self) -> bool {
        self.open.store(true, Relaxed);
        self.queue.grant_one(7)
    }

    fn passed(&self) -> u32 {
        self.passed.load(SeqCst)
    }
}

impl Gate for Door {
    fn waiters(&self) -> &Waiters {
        &self.queue
    }

    fn must_wait(&self) -> bool {
        // Relaxed: the list's lock orders it.
        !self.open.load(Relaxed)
    }

    fn left(&self, _empty: bool) {}

    fn pass_on(&self, token: u32) {
        assert_eq!(token, 7);
        self.passed.fetch_add(1, SeqCst);
    }
}

fn poll<F: Future>(future: &mut Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(waker))
}

/// Who opens and then grants, and the task that looks and then waits, do not miss each other.
#[test]
fn a_grant_arrives() {
    models::bounded(4, || {
        let door = Door::new();
        let task = Arc::clone(&door);
        let task = models::spawn(move || block_on(wait_at(&*task)));
        let granted = door.open_one();
        assert_eq!(task.join().unwrap(), granted.then_some(7));
        assert_eq!(door.passed(), 0);
    });
}

/// A future is dropped while it is granted: it left, or the grant was passed on; never both, never neither.
#[test]
fn a_grant_competes_with_a_drop() {
    models::bounded(4, || {
        let door = Door::new();
        let task = Arc::clone(&door);
        let task = models::spawn(move || {
            let mut future = pin!(wait_at(&*task));
            poll(&mut future, Waker::noop())
        });
        let granted = door.open_one();
        match task.join().unwrap() {
            Poll::Ready(token) => assert_eq!((token, granted), (None, false)),
            Poll::Pending => assert_eq!(door.passed(), u32::from(granted)),
        }
        assert!(!door.queue.grant_one(7), "nobody is left");
    });
}

/// A future that was polled last with the second waker is woken through that one.
#[test]
fn a_grant_competes_with_another_waker() {
    models::bounded(4, || {
        let door = Door::new();
        let task = Arc::clone(&door);
        let (count, second) = Count::new();
        let task = models::spawn(move || {
            let mut future = Box::pin(async move { wait_at(&*task).await });
            let mut polled = poll(&mut future.as_mut(), Waker::noop());
            if polled.is_pending() {
                polled = poll(&mut future.as_mut(), &second);
            }
            (polled, future)
        });
        let granted = door.open_one();
        let (polled, mut future) = task.join().unwrap();
        match polled {
            Poll::Ready(token) => assert_eq!(token, granted.then_some(7)),
            Poll::Pending => {
                assert!(granted);
                assert_eq!(count.calls(), 1, "it waits, and nobody woke it");
                assert_eq!(poll(&mut future.as_mut(), Waker::noop()), Poll::Ready(Some(7)));
            }
        }
        assert_eq!(door.passed(), 0);
    });
}

/// Threads and tasks wait in one queue; a thread that leaves takes nothing from the task behind it, and vice versa.
#[test]
fn a_grant_goes_to_who_stays() {
    models::bounded(2, || {
        let door = Door::new();
        let handle = Thread::unattached(None);
        let leaves = {
            let (door, handle) = (Arc::clone(&door), handle.clone());
            models::spawn(move || {
                quell::adopt(&handle).unwrap();
                door.queue.wait(&Wait::new(), || door.must_wait(), |_| {})
            })
        };
        let task = Arc::clone(&door);
        let task = models::spawn(move || {
            let mut future = pin!(wait_at(&*task));
            poll(&mut future, Waker::noop())
        });
        handle.interrupt(Interrupt::new(1));
        let granted = door.open_one();
        let (left, task) = (leaves.join().unwrap(), task.join().unwrap());
        let got = u32::from(matches!(left, Ok(Some(7)))) + u32::from(task == Poll::Ready(Some(7)));
        assert_eq!(got + door.passed(), u32::from(granted));
        assert!(!door.queue.grant_one(7), "nobody is left");
    });
}

/// More than are woken in one go: all who waited at the `set` are woken by it, and who joins after a `clear` is not.
#[test]
fn a_set_wakes_all_who_waited_and_nobody_else() {
    models::bounded(3, || {
        let event = Arc::new(Event::new());
        let mut waits: Vec<_> = (0..3)
            .map(|_| {
                let event = Arc::clone(&event);
                let mut wait = Box::pin(async move { event.wait_async().await });
                assert!(poll(&mut wait.as_mut(), Waker::noop()).is_pending());
                wait
            })
            .collect();
        let setter = Arc::clone(&event);
        let setter = models::spawn(move || setter.set());
        // One that has left in the meantime is no harm.
        drop(waits.pop());
        let mut late = pin!(event.wait_async());
        let was_set = event.is_set();
        if was_set {
            event.clear();
            assert!(poll(&mut late, Waker::noop()).is_pending());
        }
        setter.join().unwrap();
        for mut wait in waits {
            assert!(poll(&mut wait.as_mut(), Waker::noop()).is_ready());
        }
        if was_set {
            assert!(poll(&mut late, Waker::noop()).is_pending());
        }
        event.set();
        assert!(poll(&mut late, Waker::noop()).is_ready());
    });
}

/// A task that was given the lock, or woken to look for it, is dropped: the next gets it all the same.
#[test]
fn a_dropped_task_passes_the_lock_on() {
    for fair in [false, true] {
        model::set_fair(fair);
        models::bounded(2, || {
            let lock = Arc::new(RawLock::new());
            lock.lock().unwrap();
            let task = Arc::clone(&lock);
            let task = models::spawn(move || {
                let mut future = Box::pin(async move { task.lock_async().await });
                let taken = poll(&mut future.as_mut(), Waker::noop()).is_ready();
                drop(future);
                taken
            });
            let next = Arc::clone(&lock);
            let next = models::spawn(move || {
                next.lock().unwrap();
                next.unlock();
            });
            lock.unlock();
            if task.join().unwrap() {
                lock.unlock();
            }
            // Would never end if the lock, or the news that it is free, had gone with the task.
            next.join().unwrap();
            assert!(lock.try_lock());
        });
    }
}

/// A lock taken by a task and by a thread.
#[test]
fn a_lock_excludes_threads_and_tasks() {
    for fair in [false, true] {
        model::set_fair(fair);
        models::bounded(2, || {
            let shared = Arc::new((RawLock::new(), loom::cell::UnsafeCell::new(0)));
            // SAFETY: only called by who holds the lock; loom checks that.
            let add = |value: &loom::cell::UnsafeCell<u32>| value.with_mut(|v| unsafe { *v += 1 });
            let task = Shared(Arc::clone(&shared));
            let task = models::spawn(move || {
                let task = &task;
                block_on(task.0.0.lock_async());
                add(&task.0.1);
                task.0.0.unlock();
            });
            shared.0.lock().unwrap();
            add(&shared.1);
            shared.0.unlock();
            task.join().unwrap();
            assert!(shared.0.try_lock());
            // SAFETY: nobody else is there.
            assert_eq!(shared.1.with(|v| unsafe { *v }), 2);
        });
    }
}

struct Shared(Arc<(RawLock, loom::cell::UnsafeCell<u32>)>);

// SAFETY: the value is reached under the lock.
unsafe impl Send for Shared {}
