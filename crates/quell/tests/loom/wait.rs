//! Every interleaving of grant, time-out, interrupt and withdrawal over one node, and over a list of them.

use crate::models;
use loom::sync::atomic::AtomicBool;
use loom::thread;
use quell::model::{self, Waiters};
use quell::{Interrupt, Outcome, Thread, Wait, WaitError};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

type Answer = Result<Option<u32>, WaitError>;

/// A queue, and the state that its waiters look at: once it is open, nobody needs to wait.
struct Gate {
    queue: Waiters,
    open: AtomicBool,
}

impl Gate {
    fn new() -> Arc<Gate> {
        Arc::new(Gate { queue: Waiters::new(), open: AtomicBool::new(false) })
    }

    fn wait(&self, wait: &Wait, left: impl Fn(bool)) -> Answer {
        // Relaxed: the list's lock orders it.
        self.queue.wait(wait, || !self.open.load(Relaxed), left)
    }

    /// Opens, and grants to one; says whether there was one.
    fn open_one(&self) -> bool {
        self.open.store(true, Relaxed);
        self.queue.grant_one(7)
    }

    /// Opens, and grants to all; says to how many.
    fn open_all(&self) -> usize {
        self.open.store(true, Relaxed);
        self.queue.grant_all(7)
    }
}

/// A thread that waits at the gate.
fn waiter(handle: &Thread, gate: &Arc<Gate>, wait: Wait) -> thread::JoinHandle<Answer> {
    let (handle, gate) = (handle.clone(), Arc::clone(gate));
    models::spawn(move || {
        quell::adopt(&handle).unwrap();
        gate.wait(&wait, |_| {})
    })
}

/// Who opens and then grants, and who looks and then sleeps, do not miss each other; and what came before the grant
/// is visible after it.
#[test]
fn a_grant_arrives() {
    models::all(|| {
        let gate = Gate::new();
        let handle = Thread::unattached(None);
        let waiter = waiter(&handle, &gate, Wait::new());
        let granted = gate.open_one();
        assert_eq!(waiter.join().unwrap().unwrap(), granted.then_some(7));
    });
}

/// Granted or interrupted; if granted, the interrupt has not moved.
#[test]
fn a_grant_competes_with_an_interrupt() {
    models::bounded(4, || {
        let gate = Gate::new();
        let handle = Thread::unattached(None);
        let waiter = waiter(&handle, &gate, Wait::new());
        let receipt = handle.interrupt(Interrupt::new(1));
        let granted = gate.open_one();
        match waiter.join().unwrap() {
            Ok(token) => {
                assert_eq!(token, granted.then_some(7));
                assert_eq!(receipt.state(), Outcome::Pending);
                assert!(handle.has_pending());
            }
            Err(WaitError::Interrupted(_)) => {
                assert!(!granted);
                assert_eq!(receipt.state(), Outcome::Delivered);
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_grant_competes_with_a_time_out() {
    models::bounded(4, || {
        let gate = Gate::new();
        let handle = Thread::unattached(None);
        let waiter = waiter(&handle, &gate, model::timed());
        model::expire(&handle);
        let granted = gate.open_one();
        match waiter.join().unwrap() {
            Ok(token) => assert_eq!(token, granted.then_some(7)),
            Err(WaitError::TimedOut) => assert!(!granted),
            Err(other) => panic!("{other:?}"),
        }
    });
}

/// All three at once, each in a thread of its own.
#[test]
fn grant_time_out_and_interrupt_compete() {
    models::bounded(2, || {
        let gate = Gate::new();
        let handle = Thread::unattached(None);
        let waiter = waiter(&handle, &gate, model::timed());
        let clock = handle.clone();
        let clock = models::spawn(move || model::expire(&clock));
        let granter = Arc::clone(&gate);
        let granter = models::spawn(move || granter.open_one());
        let receipt = handle.interrupt(Interrupt::new(1));
        let ended = waiter.join().unwrap();
        let granted = granter.join().unwrap();
        clock.join().unwrap();
        let outcome = match ended {
            Ok(token) => {
                assert_eq!(token, granted.then_some(7));
                Outcome::Pending
            }
            Err(WaitError::Interrupted(_)) => {
                assert!(!granted);
                Outcome::Delivered
            }
            Err(WaitError::TimedOut) => {
                assert!(!granted);
                Outcome::Pending
            }
            Err(WaitError::Signalled | WaitError::Deadlock(_)) => panic!("nobody did that"),
        };
        assert_eq!(receipt.state(), outcome);
        assert_eq!(handle.has_pending(), outcome == Outcome::Pending);
    });
}

/// An interrupt is withdrawn while the waiter, kicked by it, competes with a grant. A withdrawn interrupt ends nothing.
#[test]
fn grant_interrupt_and_withdrawal_compete() {
    models::bounded(3, || {
        let gate = Gate::new();
        let handle = Thread::unattached(None);
        let waiter = waiter(&handle, &gate, Wait::new());
        let receipt = handle.interrupt(Interrupt::new(1));
        let withdrawer = receipt.clone();
        let withdrawer = models::spawn(move || withdrawer.withdraw());
        let granted = gate.open_one();
        let withdrawn = withdrawer.join().unwrap();
        match waiter.join().unwrap() {
            Ok(token) => {
                assert_eq!(token, granted.then_some(7));
                let outcome = if withdrawn { Outcome::Withdrawn } else { Outcome::Pending };
                assert_eq!(receipt.state(), outcome);
            }
            Err(WaitError::Interrupted(_)) => {
                assert!(!granted && !withdrawn);
                assert_eq!(receipt.state(), Outcome::Delivered);
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

/// Two waiters, one grant, and the first is interrupted: the grant is never lost to the one that leaves.
#[test]
fn a_grant_goes_to_who_stays() {
    models::bounded(2, || {
        let gate = Gate::new();
        let (a, b) = (Thread::unattached(None), Thread::unattached(None));
        let first = waiter(&a, &gate, Wait::new());
        let second = waiter(&b, &gate, Wait::new());
        a.interrupt(Interrupt::new(1));
        let granted = gate.open_one();
        // Ends whoever is left.
        b.interrupt(Interrupt::new(2));
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        let got = |answer: &Answer| matches!(answer, Ok(Some(7)));
        assert_eq!(usize::from(got(&first)) + usize::from(got(&second)), usize::from(granted));
        if !granted {
            // Nobody was there: so the second, which nothing had ended by then, came when the gate was open.
            assert!(matches!(second, Ok(None)), "{second:?}");
        }
    });
}

/// All are granted, while one leaves and others join: as many as it says, and none of those who had joined is missed.
#[test]
fn all_are_granted_but_those_who_left() {
    models::bounded(2, || {
        let gate = Gate::new();
        let (a, b) = (Thread::unattached(None), Thread::unattached(None));
        let first = waiter(&a, &gate, model::timed());
        let second = waiter(&b, &gate, Wait::new());
        model::expire(&a);
        let granted = gate.open_all();
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        let got = |answer: &Answer| usize::from(matches!(answer, Ok(Some(7))));
        assert_eq!(got(&first) + got(&second), granted);
        assert!(matches!(first, Ok(_) | Err(WaitError::TimedOut)));
        assert!(second.is_ok());
    });
}

/// Who leaves is told under the lock whether anybody is left; the last one is told that nobody is.
#[test]
fn the_last_who_leaves_knows_it() {
    models::bounded(2, || {
        let gate = Gate::new();
        let last = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let handle = Thread::unattached(None);
                let (target, gate, last) = (handle.clone(), Arc::clone(&gate), Arc::clone(&last));
                let thread = models::spawn(move || {
                    quell::adopt(&target).unwrap();
                    let left = |empty: bool| {
                        last.fetch_add(u32::from(empty), SeqCst);
                    };
                    gate.wait(&Wait::new(), left).unwrap_err();
                });
                handle.interrupt(Interrupt::new(1));
                thread
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        // Once, or twice if they were never there together.
        assert!(last.load(SeqCst) >= 1);
        assert!(!gate.open_one());
    });
}
