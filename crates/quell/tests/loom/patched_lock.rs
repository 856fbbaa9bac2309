//! Every interleaving of the line in which the Python package's patched calls wait, on its very code: locks as CPython 3.14 has
//! them, with waiters in line and in the interpreter's own parking lot, interrupts, deadlines, and calls that are restored.
//!
//! The interpreter's lock, its mutexes and its parking lot are written out here. A lost wake-up is a deadlock, which loom reports.

#[allow(dead_code, reason = "the package uses all of it")]
#[path = "../../../quell-python/src/patch/line.rs"]
mod line;

use crate::models::{self, with_handle};
use line::{Ended, Line, Releases, Waits};
use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread;
use quell::wait::{Wait, WaitError};
use quell::{Event, Interrupt, Thread, model};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const HELD: u8 = 1;
const PARKED: u8 = 2;

/// Where the lock is.
const AT: usize = 1;

/// What the GIL guards: the lock, and everything around it.
struct Gil {
    line: Line,
    byte: u8,
    /// The parking lot, and whom the lock was given to there.
    parked: VecDeque<u64>,
    given: Vec<u64>,
    /// Whether the calls are patched.
    told: bool,
}

struct Model {
    gil: Mutex<Gil>,
    unparked: Condvar,
    /// Whether everybody is taken to have waited for long.
    fair: bool,
    /// Reached with the lock. Loom itself checks that two accesses never overlap and are ordered.
    value: UnsafeCell<u32>,
}

// SAFETY: the value is reached with the lock.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn new(fair: bool, byte: u8) -> Arc<Model> {
        let (line, parked, given) = (Line::new(), VecDeque::new(), Vec::new());
        let gil = Mutex::new(Gil { line, byte, parked, given, told: true });
        Arc::new(Model { gil, unparked: Condvar::new(), fair, value: UnsafeCell::new(0) })
    }

    /// The patched acquire; false if it was given up.
    fn acquire(&self, who: u64, how: Acquire) -> bool {
        let gil = RefCell::new(Some(self.gil.lock().unwrap()));
        let mut waiter = Waiter { model: self, gil, how, looks: 0, sleeps: 0 };
        let ended = line::wait(&mut waiter, AT, who);
        drop(waiter);
        match ended {
            Ok(Ended::Got(())) => true,
            Ok(Ended::Untold) => {
                self.original_acquire(who);
                true
            }
            Ok(Ended::Late) | Err(()) => false,
        }
    }

    /// The patched release, or the original.
    fn release(&self) {
        let mut gil = self.gil.lock().unwrap();
        if gil.told {
            let after = if self.fair { Duration::ZERO } else { Duration::MAX };
            line::release(&mut Holder { model: self, gil: RefCell::new(&mut gil) }, AT, after);
        } else {
            self.original_release(&mut gil);
        }
    }

    /// The interpreter's own acquire.
    fn original_acquire(&self, who: u64) {
        let mut gil = self.gil.lock().unwrap();
        while gil.byte & HELD != 0 {
            gil.byte |= PARKED;
            gil.parked.push_back(who);
            while gil.parked.contains(&who) {
                gil = self.unparked.wait(gil).unwrap();
            }
            if gil.given.contains(&who) {
                return;
            }
        }
        gil.byte |= HELD;
    }

    /// The interpreter's own release.
    fn original_release(&self, gil: &mut Gil) {
        assert!(gil.byte & HELD != 0);
        let next = gil.parked.pop_front();
        gil.byte = if gil.parked.is_empty() { 0 } else { PARKED };
        if let Some(next) = next.filter(|_| self.fair) {
            gil.given.push(next);
            gil.byte |= HELD;
        }
        self.unparked.notify_all();
    }

    /// The calls are what they were.
    fn unpatch(&self) {
        let mut gil = self.gil.lock().unwrap();
        gil.told = false;
        gil.line.tell_all();
    }

    fn add(&self) {
        // SAFETY: the lock is held.
        self.value.with_mut(|value| unsafe { *value += 1 });
    }

    /// Nobody uses it any more: it is free, nobody is left, and it was taken so often.
    fn expect(&self, times: u32) {
        let gil = self.gil.lock().unwrap();
        assert_eq!(gil.byte, 0);
        assert!(gil.line.is_empty() && gil.parked.is_empty());
        // SAFETY: nobody else is there.
        assert_eq!(self.value.with(|value| unsafe { *value }), times);
    }
}

/// How somebody acquires.
#[derive(Clone, Copy)]
struct Acquire {
    wait: Wait,
    /// Lets others have the GIL before each sleep.
    pauses: bool,
    /// Fails before this sleep, counted from 0.
    fails: Option<u32>,
    /// The look that fails, counted from 0.
    blind: Option<u32>,
    /// Lets others have the GIL and goes on, when the sleep was ended.
    goes_on: bool,
}

impl Acquire {
    fn new() -> Acquire {
        let wait = Wait { leave_pending: true, ..Wait::new() };
        Acquire { wait, pauses: false, fails: None, blind: None, goes_on: false }
    }
}

struct Waiter<'a> {
    model: &'a Model,
    gil: RefCell<Option<MutexGuard<'a, Gil>>>,
    how: Acquire,
    looks: u32,
    sleeps: u32,
}

impl Waiter<'_> {
    fn let_others(&mut self) {
        *self.gil.get_mut() = None;
        thread::yield_now();
        *self.gil.get_mut() = Some(self.model.gil.lock().unwrap());
    }
}

impl Waits for Waiter<'_> {
    type Item = ();
    type Error = ();

    fn with<R>(&self, f: impl FnOnce(&mut Line) -> R) -> R {
        f(&mut self.gil.borrow_mut().as_mut().unwrap().line)
    }

    fn prepare(&mut self) -> Result<(), ()> {
        if self.how.pauses {
            self.let_others();
        }
        self.sleeps += 1;
        if self.how.fails == Some(self.sleeps - 1) { Err(()) } else { Ok(()) }
    }

    fn is_told(&self) -> bool {
        self.gil.borrow().as_ref().unwrap().told
    }

    fn look(&mut self) -> Result<Option<()>, ()> {
        self.looks += 1;
        if self.how.blind == Some(self.looks - 1) {
            return Err(());
        }
        let gil = self.gil.get_mut().as_mut().unwrap();
        let free = gil.byte & HELD == 0;
        gil.byte |= HELD;
        Ok(free.then_some(()))
    }

    fn given(&mut self) {}

    fn sleep(&mut self, told: &Event) -> Result<(), WaitError> {
        *self.gil.get_mut() = None;
        let slept = told.wait_with(&self.how.wait);
        *self.gil.get_mut() = Some(self.model.gil.lock().unwrap());
        slept
    }

    fn stopped(&mut self) -> Result<(), ()> {
        if !self.how.goes_on {
            return Err(());
        }
        self.let_others();
        Ok(())
    }
}

struct Holder<'a, 'g> {
    model: &'a Model,
    gil: RefCell<&'a mut MutexGuard<'g, Gil>>,
}

impl Releases for Holder<'_, '_> {
    type Answer = ();

    fn with<R>(&self, f: impl FnOnce(&mut Line) -> R) -> R {
        f(&mut self.gil.borrow_mut().line)
    }

    fn may_give(&self) -> bool {
        self.gil.borrow().byte == HELD
    }

    fn give_to(&mut self, _thread: u64) {}

    fn let_go(&mut self) {
        self.model.original_release(self.gil.get_mut());
    }

    fn is_free(&self) -> bool {
        self.gil.borrow().byte & HELD == 0
    }
}

fn late() -> Acquire {
    Acquire { wait: Wait { leave_pending: true, ..model::timed() }, ..Acquire::new() }
}

/// With locks that are released, and with locks that are given.
fn both_ways(preemptions: usize, model: impl Fn(bool) + Sync + Send + Copy + 'static) {
    for fair in [false, true] {
        models::bounded(preemptions, move || model(fair));
    }
}

/// Takes it, uses it and releases it, if it gets it.
fn use_once(model: &Model, who: u64, how: Acquire) -> u32 {
    let taken = model.acquire(who, how);
    if taken {
        model.add();
        model.release();
    }
    u32::from(taken)
}

#[test]
fn who_waits_in_line_has_it_by_turns() {
    both_ways(3, |fair| {
        let model = Model::new(fair, 0);
        let others: Vec<_> = (1..3)
            .map(|who| {
                let model = model.clone();
                models::spawn(move || assert_eq!(use_once(&model, who, Acquire::new()), 1))
            })
            .collect();
        assert_eq!(use_once(&model, 0, Acquire::new()), 1);
        for other in others {
            other.join().unwrap();
        }
        model.expect(3);
    });
}

/// One waits in the parking lot, as the main thread does.
#[test]
fn both_kinds_of_waiters_take_turns() {
    both_ways(3, |fair| {
        let model = Model::new(fair, 0);
        let original = models::spawn({
            let model = model.clone();
            move || {
                model.original_acquire(1);
                model.add();
                model.release();
            }
        });
        let in_line = models::spawn({
            let model = model.clone();
            move || assert_eq!(use_once(&model, 2, Acquire::new()), 1)
        });
        assert_eq!(use_once(&model, 0, Acquire::new()), 1);
        original.join().unwrap();
        in_line.join().unwrap();
        model.expect(3);
    });
}

/// Two wait, one of them is interrupted while the lock is released: the other has it in the end, and the first before, or not.
#[test]
fn an_interrupted_wait_takes_nobody_s_turn() {
    both_ways(2, |fair| {
        let model = Model::new(fair, HELD);
        let handle = Thread::unattached(None);
        let leaves = with_handle(&handle, {
            let model = model.clone();
            move || use_once(&model, 1, Acquire::new())
        });
        let stays = models::spawn({
            let model = model.clone();
            move || assert_eq!(use_once(&model, 2, Acquire::new()), 1)
        });
        handle.interrupt(Interrupt::new(1));
        model.release();
        stays.join().unwrap();
        let taken = leaves.join().unwrap();
        model.expect(1 + taken);
    });
}

/// The same with one in the parking lot.
#[test]
fn an_interrupted_wait_takes_no_turn_of_the_parking_lot() {
    both_ways(2, |fair| {
        let model = Model::new(fair, HELD);
        let handle = Thread::unattached(None);
        let leaves = with_handle(&handle, {
            let model = model.clone();
            move || use_once(&model, 1, Acquire::new())
        });
        let stays = models::spawn({
            let model = model.clone();
            move || {
                model.original_acquire(2);
                model.add();
                model.release();
            }
        });
        handle.interrupt(Interrupt::new(1));
        model.release();
        stays.join().unwrap();
        let taken = leaves.join().unwrap();
        model.expect(1 + taken);
    });
}

/// The same with a deadline.
#[test]
fn a_wait_that_is_late_takes_nobody_s_turn() {
    both_ways(2, |fair| {
        let model = Model::new(fair, HELD);
        let handle = Thread::unattached(None);
        let leaves = with_handle(&handle, {
            let model = model.clone();
            move || use_once(&model, 1, late())
        });
        let stays = models::spawn({
            let model = model.clone();
            move || assert_eq!(use_once(&model, 2, Acquire::new()), 1)
        });
        model::expire(&handle);
        model.release();
        stays.join().unwrap();
        let taken = leaves.join().unwrap();
        model.expect(1 + taken);
    });
}

/// One that may have been told ends with an error: in a look, or as it would sleep once more.
#[test]
fn who_ends_with_an_error_passes_the_turn_on() {
    let blind = Acquire { blind: Some(1), ..Acquire::new() };
    let fails = Acquire { fails: Some(1), ..Acquire::new() };
    for how in [blind, fails] {
        both_ways(2, move |fair| {
            let model = Model::new(fair, HELD);
            let ends = models::spawn({
                let model = model.clone();
                move || use_once(&model, 1, how)
            });
            let stays = models::spawn({
                let model = model.clone();
                move || assert_eq!(use_once(&model, 2, Acquire::new()), 1)
            });
            model.release();
            stays.join().unwrap();
            let taken = ends.join().unwrap();
            model.expect(1 + taken);
        });
    }
}

/// Two wait; one lets others have the GIL before it sleeps, as it asks who is to give up a deadlock, and may be the one.
#[test]
fn who_looks_around_before_a_sleep_misses_nothing() {
    for fails in [None, Some(0), Some(1)] {
        both_ways(2, move |fair| {
            let model = Model::new(fair, HELD);
            let looks = models::spawn({
                let model = model.clone();
                move || use_once(&model, 1, Acquire { pauses: true, fails, ..Acquire::new() })
            });
            let stays = models::spawn({
                let model = model.clone();
                move || assert_eq!(use_once(&model, 2, Acquire::new()), 1)
            });
            model.release();
            stays.join().unwrap();
            let taken = looks.join().unwrap();
            assert!(taken == 1 || fails.is_some());
            model.expect(1 + taken);
        });
    }
}

/// A sleep is ended for what concerns it not, such as a signal in the main thread: it sleeps again.
#[test]
fn a_wait_that_is_disturbed_goes_on() {
    both_ways(2, |fair| {
        let model = Model::new(fair, HELD);
        let handle = Thread::unattached(None);
        let disturbed = with_handle(&handle, {
            let model = model.clone();
            move || {
                let wait = Acquire::new().wait.signals();
                use_once(&model, 1, Acquire { wait, goes_on: true, ..Acquire::new() })
            }
        });
        let other = models::spawn({
            let model = model.clone();
            move || assert_eq!(use_once(&model, 2, Acquire::new()), 1)
        });
        handle.nudge();
        model.release();
        other.join().unwrap();
        assert_eq!(disturbed.join().unwrap(), 1);
        model.expect(2);
    });
}

/// The calls are restored while one lets others have the GIL before it sleeps.
#[test]
fn who_looks_around_while_the_calls_are_restored_is_not_left_behind() {
    both_ways(3, |fair| {
        let model = Model::new(fair, HELD);
        let looks = models::spawn({
            let model = model.clone();
            move || use_once(&model, 1, Acquire { pauses: true, ..Acquire::new() })
        });
        model.unpatch();
        model.release();
        assert_eq!(looks.join().unwrap(), 1);
        model.expect(1);
    });
}

/// The calls are restored while two wait: they go on in the original, which nobody has to tell.
#[test]
fn who_waits_while_the_calls_are_restored_is_not_left_behind() {
    both_ways(2, |fair| {
        let model = Model::new(fair, HELD);
        let others: Vec<_> = (1..3)
            .map(|who| {
                let model = model.clone();
                models::spawn(move || assert_eq!(use_once(&model, who, Acquire::new()), 1))
            })
            .collect();
        model.unpatch();
        model.release();
        for other in others {
            other.join().unwrap();
        }
        model.expect(2);
    });
}
