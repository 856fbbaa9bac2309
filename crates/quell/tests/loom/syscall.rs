//! Every interleaving of a system call with what ends it: interrupts, withdrawals, nudges, deadlines, its completion. A
//! lost kick is a deadlock, which loom reports; the model's kernel reports a signal outside a registered call, and one
//! that is still on its way when the call is left.

use crate::models::{self, with_handle};
use quell::{Interrupt, Outcome, Thread, Wait, WaitError, model};

#[test]
fn a_call_is_reached() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || {
            assert!(matches!(model::call(&Wait::new()), Err(WaitError::Interrupted(_))));
        });
        let receipt = handle.interrupt(Interrupt::new(1));
        target.join().unwrap();
        assert_eq!(receipt.state(), Outcome::Delivered);
    });
}

/// The second call of a thread takes other steps than the first, which says that it makes calls.
#[test]
fn each_of_two_calls_is_reached() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || {
            for _ in 0..2 {
                assert!(matches!(model::call(&Wait::new()), Err(WaitError::Interrupted(_))));
            }
        });
        let first = handle.interrupt(Interrupt::new(1));
        let second = handle.interrupt(Interrupt::new(2));
        target.join().unwrap();
        assert_eq!(first.state(), Outcome::Delivered);
        assert_eq!(second.state(), Outcome::Delivered);
    });
}

#[test]
fn two_senders_reach_it_twice() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || {
            for _ in 0..2 {
                assert!(matches!(model::call(&Wait::new()), Err(WaitError::Interrupted(_))));
            }
        });
        let other = handle.clone();
        let other = models::spawn(move || drop(other.interrupt(Interrupt::new(1))));
        handle.interrupt(Interrupt::new(2));
        other.join().unwrap();
        target.join().unwrap();
        assert!(!handle.has_pending());
    });
}

/// If it completes, the interrupt stays pending; if it is interrupted, it has not completed.
#[test]
fn completion_or_interruption() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || model::call(&Wait::new()).is_ok());
        let other = handle.clone();
        let other = models::spawn(move || model::complete_call(&other));
        let receipt = handle.interrupt(Interrupt::new(1));
        let completed = target.join().unwrap();
        other.join().unwrap();
        let expected = if completed { Outcome::Pending } else { Outcome::Delivered };
        assert_eq!(receipt.state(), expected);
    });
}

/// A kick whose interrupt is taken back ends no call, and the next one is not lost.
#[test]
fn a_withdrawn_kick_ends_no_call() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || match model::call(&Wait::new()) {
            Err(WaitError::Interrupted(i)) => *i.downcast_ref::<u32>().unwrap(),
            other => panic!("{other:?}"),
        });
        let withdrawn = handle.interrupt(Interrupt::new(1_u32)).withdraw();
        handle.interrupt(Interrupt::new(2_u32));
        assert_eq!(target.join().unwrap(), if withdrawn { 2 } else { 1 });
    });
}

/// The thread leaves its calls and enters others while kicks are on their way: what the kernel of the model asserts.
#[test]
fn no_signal_outside_a_call() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || {
            let mut reached = 0;
            for _ in 0..2 {
                reached += u32::from(model::call(&Wait::new()).is_err());
            }
            reached
        });
        model::complete_call(&handle);
        let withdrawn = handle.interrupt(Interrupt::new(1)).withdraw();
        model::complete_call(&handle);
        let reached = target.join().unwrap();
        assert_eq!(reached, u32::from(!withdrawn && !handle.has_pending()));
    });
}

/// A shielded call, and one that cannot be interrupted, is not even signalled.
#[test]
fn a_shield_is_not_signalled() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || {
            let shield = quell::shield();
            model::call(&Wait::new()).unwrap();
            drop(shield);
            assert!(model::call(&Wait::new()).is_err());
        });
        let receipt = handle.interrupt(Interrupt::new(1));
        model::complete_call(&handle);
        target.join().unwrap();
        assert_eq!(receipt.state(), Outcome::Delivered);
    });
}

#[test]
fn a_nudge_ends_a_call_with_signals() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || {
            let ended = model::call(&Wait::new().signals());
            assert!(matches!(ended, Err(WaitError::Signalled)));
        });
        handle.nudge();
        target.join().unwrap();
    });
}

#[test]
fn a_deadline_ends_a_call() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || {
            assert!(matches!(model::call(&model::timed()), Err(WaitError::TimedOut)));
        });
        model::expire_call(&handle, 1);
        target.join().unwrap();
    });
}

/// The deadline of a call that is over comes late: it ends none of the next.
#[test]
fn a_late_deadline_ends_no_other_call() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || {
            let first = model::call(&model::timed());
            assert!(matches!(first, Ok(()) | Err(WaitError::TimedOut)));
            if first.is_err() {
                // What was meant for it.
                model::call(&Wait::new()).unwrap();
            }
            model::call(&model::timed()).unwrap();
        });
        model::complete_call(&handle);
        model::expire_call(&handle, 1);
        model::complete_call(&handle);
        target.join().unwrap();
    });
}

/// Interrupt, deadline and completion at once: one of them ends it, and nothing is lost.
#[test]
fn an_interrupt_competes_with_the_deadline() {
    models::bounded(2, || {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || model::call(&model::timed()));
        let clock = handle.clone();
        let clock = models::spawn(move || model::expire_call(&clock, 1));
        let receipt = handle.interrupt(Interrupt::new(1));
        let ended = target.join().unwrap();
        clock.join().unwrap();
        match ended {
            Err(WaitError::Interrupted(_)) => assert_eq!(receipt.state(), Outcome::Delivered),
            Err(WaitError::TimedOut) => assert_eq!(receipt.state(), Outcome::Pending),
            other => panic!("{other:?}"),
        }
    });
}

/// Waits and calls, one after the other, and an interrupt for each: each goes the way of where the thread is.
#[test]
fn a_wait_and_then_a_call() {
    models::bounded(2, || {
        let handle = Thread::unattached(None);
        let target = with_handle(&handle, || {
            assert!(model::call(&Wait::new()).is_err());
            assert!(quell::thread::sleep_with(&Wait::new()).is_err());
            assert!(model::call(&Wait::new()).is_err());
        });
        for _ in 0..3 {
            handle.interrupt(Interrupt::new(()));
        }
        target.join().unwrap();
    });
}
