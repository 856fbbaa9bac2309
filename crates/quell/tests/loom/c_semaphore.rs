//! Every interleaving of waits for a semaphore of the C library: ours, which interrupts and deadlines end, the library's own, and
//! posts. The kernel's futex and glibc's part are written out here. A lost wake-up is a deadlock, which loom reports.

use crate::models;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use loom::sync::{Condvar, Mutex};
use quell::model::CSemaphore;
use std::collections::VecDeque;
use std::sync::Arc;

/// Why a wait was given up.
#[derive(Debug)]
struct GivenUp;

/// The semaphore, and the futex of the kernel under its lower half.
struct Model {
    semaphore: CSemaphore,
    futex: Mutex<Futex>,
    changed: Condvar,
}

#[derive(Default)]
struct Futex {
    /// Who sleeps, the first in front.
    line: VecDeque<usize>,
    /// Whose sleep somebody has ended or will end before it has begun: an interrupt, a deadline.
    given_up: Vec<usize>,
}

impl Model {
    fn new(value: u32) -> Arc<Model> {
        Arc::new(Model {
            semaphore: CSemaphore::new(value),
            futex: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// `FUTEX_WAIT`: in line first, then compared, under the kernel's lock. Who was woken is told so, whatever else has happened.
    fn sleep(&self, who: usize) -> Result<(), GivenUp> {
        let mut futex = self.futex.lock().unwrap();
        if self.semaphore.word().load(Relaxed) as u32 != 0 {
            return Ok(());
        }
        futex.line.push_back(who);
        loop {
            if !futex.line.contains(&who) {
                return Ok(());
            }
            if futex.given_up.contains(&who) {
                futex.line.retain(|other| *other != who);
                return Err(GivenUp);
            }
            futex = self.changed.wait(futex).unwrap();
        }
    }

    /// `FUTEX_WAKE` of one.
    fn wake(&self) {
        self.futex.lock().unwrap().line.pop_front();
        self.changed.notify_all();
    }

    /// An interrupt of one who waits, or is about to.
    fn interrupt(&self, who: usize) {
        self.futex.lock().unwrap().given_up.push(who);
        self.changed.notify_all();
    }

    /// glibc's `sem_post`.
    fn post(&self) {
        let before = self.semaphore.word().fetch_add(1, Release);
        if before >> 32 != 0 {
            self.wake();
        }
    }

    /// glibc's `sem_wait`, which nothing ends.
    fn their_wait(&self, who: usize) {
        const WAITER: u64 = 1 << 32;
        let word = self.semaphore.word();
        let mut seen = word.fetch_add(WAITER, Relaxed) + WAITER;
        loop {
            if seen as u32 == 0 {
                self.sleep(who).expect("nobody gives it up");
                seen = word.load(Relaxed);
            } else {
                match word.compare_exchange(seen, seen - 1 - WAITER, Acquire, Relaxed) {
                    Ok(_) => return,
                    Err(now) => seen = now,
                }
            }
        }
    }

    /// Ours, as the patched locks wait: given up, it looks once more. Whether it has taken one.
    fn our_wait(&self, who: usize) -> bool {
        self.semaphore.wait(|| self.sleep(who)).is_ok() || self.semaphore.try_take()
    }

    /// As the patched semaphores of `multiprocessing` do: what was waited for is put back, and taken by a look that does not wait.
    fn wait_and_look(&self, who: usize) -> bool {
        while !self.semaphore.try_take() {
            match self.semaphore.wait(|| self.sleep(who)) {
                Ok(()) => self.post(),
                Err(GivenUp) => return self.semaphore.try_take(),
            }
        }
        true
    }

    /// The value, when nobody is left who could wait.
    fn rest(&self) -> u32 {
        let word = self.semaphore.word().load(Acquire);
        assert_eq!(word >> 32, 0, "nobody waits, and somebody is counted");
        word as u32
    }
}

#[test]
fn a_post_reaches_who_waits() {
    models::all(|| {
        let model = Model::new(0);
        let waits = models::spawn({
            let model = model.clone();
            move || assert!(model.our_wait(1))
        });
        model.post();
        waits.join().unwrap();
        assert_eq!(model.rest(), 0);
    });
}

/// A permit goes from one to the other of both kinds, and back.
#[test]
fn both_kinds_of_waiters_take_turns() {
    models::bounded(3, || {
        let model = Model::new(1);
        let theirs = models::spawn({
            let model = model.clone();
            move || {
                model.their_wait(1);
                model.post();
            }
        });
        let ours = models::spawn({
            let model = model.clone();
            move || {
                assert!(model.our_wait(2));
                model.post();
            }
        });
        assert!(model.our_wait(0));
        model.post();
        theirs.join().unwrap();
        ours.join().unwrap();
        assert_eq!(model.rest(), 1);
    });
}

/// One of two is interrupted while one permit is posted: either it has it, or the other, which nobody interrupts, goes on with it.
#[test]
fn an_interrupted_wait_takes_nobody_s_wake_up() {
    models::bounded(3, || {
        let model = Model::new(0);
        let ours = models::spawn({
            let model = model.clone();
            move || {
                if model.our_wait(1) {
                    model.post();
                }
            }
        });
        let theirs = models::spawn({
            let model = model.clone();
            move || model.their_wait(2)
        });
        let posts = model.clone();
        let posts = models::spawn(move || posts.post());
        model.interrupt(1);
        for thread in [ours, theirs, posts] {
            thread.join().unwrap();
        }
        assert_eq!(model.rest(), 0);
    });
}

/// The interrupt alone: it ends the wait, and leaves the semaphore as it was.
#[test]
fn an_interrupt_ends_the_wait() {
    models::all(|| {
        let model = Model::new(0);
        let ours = models::spawn({
            let model = model.clone();
            move || model.our_wait(1)
        });
        model.interrupt(1);
        assert!(!ours.join().unwrap());
        assert_eq!(model.rest(), 0);
    });
}

/// Permits that are put back reach the next one.
#[test]
fn what_is_put_back_is_not_lost() {
    models::bounded(2, || {
        let model = Model::new(0);
        let looks: Vec<_> = (1..3)
            .map(|who| {
                let model = model.clone();
                models::spawn(move || assert!(model.wait_and_look(who)))
            })
            .collect();
        model.post();
        model.post();
        for thread in looks {
            thread.join().unwrap();
        }
        assert_eq!(model.rest(), 0);
    });
}

/// The same while one is interrupted.
#[test]
fn an_interrupt_loses_nothing_that_is_put_back() {
    models::bounded(3, || {
        let model = Model::new(0);
        let looks = models::spawn({
            let model = model.clone();
            move || u32::from(model.wait_and_look(1))
        });
        let interrupts = models::spawn({
            let model = model.clone();
            move || model.interrupt(1)
        });
        model.post();
        let taken = looks.join().unwrap();
        interrupts.join().unwrap();
        assert_eq!(model.rest(), 1 - taken);
    });
}

/// What the one who posts has done before is seen by who takes.
#[test]
fn a_permit_carries_what_was_done_before() {
    models::bounded(3, || {
        let model = Model::new(1);
        let shared = Arc::new(Shared(loom::cell::UnsafeCell::new(0)));
        let others: Vec<_> = (1..3)
            .map(|who| {
                let (model, shared) = (model.clone(), shared.clone());
                models::spawn(move || {
                    assert!(model.our_wait(who));
                    shared.add();
                    model.post();
                })
            })
            .collect();
        for thread in others {
            thread.join().unwrap();
        }
        assert!(model.our_wait(0));
        shared.add();
    });
}

/// A number that is reached with the permit. Loom itself checks that two accesses never overlap and are ordered.
struct Shared(loom::cell::UnsafeCell<u32>);

// SAFETY: reached with the permit.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    fn add(&self) {
        // SAFETY: there is one permit.
        self.0.with_mut(|value| unsafe { *value += 1 });
    }
}
