//! Every interleaving of what can happen to an interrupt: send, withdraw, take, block, exit.

use crate::models::{self, with_handle as start};
use quell::{Event, Interrupt, Outcome, Thread, Wait, WaitError, model};
use std::sync::Arc;

#[test]
fn taken_or_withdrawn_never_both() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let receipt = handle.interrupt(Interrupt::new(1));
        let target = start(&handle, || quell::take_pending(false).is_some());
        let withdrawn = receipt.withdraw();
        let taken = target.join().unwrap();
        assert!(taken != withdrawn);
        let outcome = if taken { Outcome::Delivered } else { Outcome::Withdrawn };
        assert_eq!(receipt.state(), outcome);
        assert!(!handle.has_pending());
    });
}

#[test]
fn two_withdrawals_and_one_succeeds() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let receipt = handle.interrupt(Interrupt::new(1));
        let other = receipt.clone();
        let other = models::spawn(move || other.withdraw());
        let mine = receipt.withdraw();
        assert!(mine != other.join().unwrap());
        assert_eq!(receipt.state(), Outcome::Withdrawn);
    });
}

/// A receipt made before sending withdraws while the sender sends.
#[test]
fn withdrawn_while_it_is_sent() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let interrupt = Interrupt::new(1);
        let receipt = interrupt.receipt();
        let target = handle.clone();
        let sender = models::spawn(move || {
            target.interrupt(interrupt);
        });
        assert!(receipt.withdraw());
        sender.join().unwrap();
        assert_eq!(receipt.state(), Outcome::Withdrawn);
        assert!(!handle.has_pending());
    });
}

/// A lost kick is a deadlock, which loom reports.
#[test]
fn a_sleeper_is_reached() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let target = start(&handle, || {
            let ended = quell::thread::sleep_with(&Wait::new());
            assert!(matches!(ended, Err(WaitError::Interrupted(_))));
        });
        let receipt = handle.interrupt(Interrupt::new(1));
        target.join().unwrap();
        assert_eq!(receipt.state(), Outcome::Delivered);
    });
}

#[test]
fn two_senders_reach_a_sleeper_twice() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = start(&handle, || {
            for _ in 0..2 {
                let ended = quell::thread::sleep_with(&Wait::new());
                assert!(matches!(ended, Err(WaitError::Interrupted(_))));
            }
        });
        let other = handle.clone();
        let other = models::spawn(move || other.interrupt(Interrupt::new(1)));
        let mine = handle.interrupt(Interrupt::new(2));
        let other = other.join().unwrap();
        target.join().unwrap();
        assert_eq!(mine.state(), Outcome::Delivered);
        assert_eq!(other.state(), Outcome::Delivered);
    });
}

/// The kick and the deadline at once: exactly one ends the sleep, and the interrupt is delivered or still pending.
#[test]
fn a_kick_competes_with_the_deadline() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = start(&handle, || quell::thread::sleep_with(&model::timed()).unwrap_err());
        let clock = handle.clone();
        let clock = models::spawn(move || model::expire(&clock));
        let receipt = handle.interrupt(Interrupt::new(1));
        let ended = target.join().unwrap();
        clock.join().unwrap();
        match ended {
            WaitError::Interrupted(_) => assert_eq!(receipt.state(), Outcome::Delivered),
            WaitError::TimedOut => {
                assert_eq!(receipt.state(), Outcome::Pending);
                assert!(handle.has_pending());
            }
            WaitError::Signalled | WaitError::Deadlock(_) => panic!("nobody did that"),
        }
    });
}

/// A kick whose interrupt is taken back: the sleeper goes back to sleep, and the next one still reaches it.
#[test]
fn a_withdrawn_kick_ends_no_sleep() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = start(&handle, || match quell::thread::sleep_with(&Wait::new()) {
            Err(WaitError::Interrupted(i)) => *i.downcast_ref::<u32>().unwrap(),
            other => panic!("{other:?}"),
        });
        let first = handle.interrupt(Interrupt::new(1_u32));
        let withdrawn = first.withdraw();
        let second = handle.interrupt(Interrupt::new(2_u32));
        let got = target.join().unwrap();
        assert_eq!(got, if withdrawn { 2 } else { 1 });
        assert_eq!(second.state() == Outcome::Delivered, withdrawn);
    });
}

/// In a shield the kick ends nothing and is not lost.
#[test]
fn a_shield_keeps_it_pending() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let event = Arc::new(Event::new());
        let target = {
            let event = Arc::clone(&event);
            start(&handle, move || {
                let shield = quell::shield();
                event.wait().unwrap();
                drop(shield);
                quell::thread::sleep_with(&Wait::new()).unwrap_err();
            })
        };
        let receipt = handle.interrupt(Interrupt::new(1));
        event.set();
        target.join().unwrap();
        assert_eq!(receipt.state(), Outcome::Delivered);
    });
}

#[test]
fn sent_while_the_target_ends() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let target = handle.clone();
        let target = models::spawn(move || model::exit(&target));
        let receipt = handle.interrupt(Interrupt::new(1));
        target.join().unwrap();
        assert_eq!(receipt.state(), Outcome::TargetExited);
        assert!(!handle.has_pending());
    });
}

#[test]
fn withdrawn_while_the_target_ends() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let receipt = handle.interrupt(Interrupt::new(1));
        let target = handle.clone();
        let target = models::spawn(move || model::exit(&target));
        let withdrawn = receipt.withdraw();
        target.join().unwrap();
        let outcome = if withdrawn { Outcome::Withdrawn } else { Outcome::TargetExited };
        assert_eq!(receipt.state(), outcome);
    });
}

/// The sender waits for the end, and is told.
#[test]
fn a_receipt_wakes_who_waits_for_it() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let receipt = handle.interrupt(Interrupt::new(1));
        let target = start(&handle, || quell::take_pending(false).is_some());
        assert_eq!(receipt.wait(None).unwrap(), Outcome::Delivered);
        assert!(target.join().unwrap());
    });
}

/// A nudge is never lost between the look and the sleep.
#[test]
fn a_nudge_ends_a_wait_with_signals() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let target = start(&handle, || {
            let ended = quell::thread::sleep_with(&Wait::new().signals());
            assert!(matches!(ended, Err(WaitError::Signalled)));
        });
        handle.nudge();
        target.join().unwrap();
    });
}

/// An interrupt ends a wait that leaves it pending, and is there to be taken afterwards: the kick is not lost, and neither is
/// the interrupt.
#[test]
fn a_wait_that_leaves_the_interrupt_pending_is_ended_by_it() {
    models::all(|| {
        let handle = Thread::unattached(None);
        let target = start(&handle, || {
            let ended = quell::thread::sleep_with(&Wait { leave_pending: true, ..Wait::new() });
            assert!(matches!(ended, Err(WaitError::Signalled)));
            quell::take_pending(true).is_some()
        });
        let receipt = handle.interrupt(Interrupt::new(1));
        assert!(target.join().unwrap());
        assert_eq!(receipt.state(), Outcome::Delivered);
    });
}

/// Against a deadline: taken now, or kept for the next time. A lost one is a deadlock, which loom reports.
#[test]
fn an_unpark_is_never_lost() {
    models::bounded(3, || {
        let handle = Thread::unattached(None);
        let target = start(&handle, || {
            if quell::thread::park_with(&model::timed()).is_err() {
                quell::thread::park_with(&Wait::new()).unwrap();
            }
        });
        let clock = handle.clone();
        let clock = models::spawn(move || model::expire(&clock));
        handle.unpark();
        target.join().unwrap();
        clock.join().unwrap();
    });
}
