//! Every interleaving of a scope's exit with what is aimed at it: delivered inside or never, and nobody else is hit.

use crate::models;
use quell::interrupt::{Left, Scope};
use quell::{Event, Interrupt, Outcome, Wait, WaitError, model};
use std::sync::Arc;

/// A sender against the exit: after it nothing is pending, whoever was faster.
#[test]
fn sent_while_the_scope_is_left() {
    models::all(|| {
        let scope = Scope::enter();
        let aim = scope.aim().clone();
        let sender = models::spawn(move || aim.interrupt(Interrupt::new(())));
        let left = scope.leave();
        assert!(!quell::current().has_pending());
        let receipt = sender.join().unwrap();
        assert!(!quell::current().has_pending());
        assert_eq!(receipt.state(), Outcome::Withdrawn);
        assert_ne!(left, Left::Delivered);
    });
}

/// A look inside the scope, the exit, and a look outside: only the first may find it.
#[test]
fn delivered_inside_or_not_at_all() {
    models::all(|| {
        let scope = Scope::enter();
        let aim = scope.aim().clone();
        let sender = models::spawn(move || aim.interrupt(Interrupt::new(())));
        let inside = quell::checkpoint().is_err();
        let left = scope.leave();
        assert!(quell::checkpoint().is_ok());
        let receipt = sender.join().unwrap();
        assert_eq!(left == Left::Delivered, inside);
        let outcome = if inside { Outcome::Delivered } else { Outcome::Withdrawn };
        assert_eq!(receipt.state(), outcome);
    });
}

/// Two senders and two scopes, one within the other: each is reached by its own.
#[test]
fn nested_scopes_keep_apart() {
    models::bounded(3, || {
        let outer = Scope::enter();
        let inner = Scope::enter();
        let (to_outer, to_inner) = (outer.aim().clone(), inner.aim().clone());
        let first = models::spawn(move || to_outer.interrupt(Interrupt::new("outer")));
        let second = models::spawn(move || to_inner.interrupt(Interrupt::new("inner")));
        let in_inner = quell::checkpoint();
        let left = inner.leave();
        let in_outer = quell::checkpoint();
        if let Err(interrupted) = &in_outer {
            assert_eq!(interrupted.downcast_ref::<&str>(), Some(&"outer"));
            assert!(outer.aim().sent(interrupted));
        }
        let got_inner = in_inner
            .as_ref()
            .is_err_and(|interrupted| interrupted.downcast_ref::<&str>() == Some(&"inner"));
        assert_eq!(left == Left::Delivered, got_inner);
        drop(outer);
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        assert!(!quell::current().has_pending());
        assert_ne!(first.state(), Outcome::Pending);
        assert_eq!(second.state() == Outcome::Delivered, got_inner);
    });
}

/// Two senders to one scope, of which one is taken back by its own receipt.
#[test]
fn two_senders_and_a_withdrawal() {
    models::bounded(3, || {
        let scope = Scope::enter();
        let (first, second) = (scope.aim().clone(), scope.aim().clone());
        let first = models::spawn(move || first.interrupt(Interrupt::new(())).withdraw());
        let second = models::spawn(move || second.interrupt(Interrupt::new(())));
        drop(scope);
        assert!(!quell::current().has_pending());
        first.join().unwrap();
        assert_eq!(second.join().unwrap().state(), Outcome::Withdrawn);
    });
}

/// The scope's wait is ended by what was aimed at it, or by what it waited for; the next wait is left alone. A lost kick
/// is a deadlock, which loom reports.
#[test]
fn the_wait_after_the_scope_is_left_alone() {
    models::bounded(3, || {
        let (one, other) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let scope = Scope::enter();
        let aim = scope.aim().clone();
        let sender = models::spawn(move || aim.interrupt(Interrupt::new(())));
        let setter = {
            let (one, other) = (Arc::clone(&one), Arc::clone(&other));
            models::spawn(move || {
                one.set();
                other.set();
            })
        };
        let inside = one.wait();
        let left = scope.leave();
        other.wait().unwrap();
        assert_eq!(left == Left::Delivered, inside.is_err());
        setter.join().unwrap();
        assert_ne!(sender.join().unwrap().state(), Outcome::Pending);
    });
}

/// What is aimed at a scope does not stand in the way of what is meant for the thread.
#[test]
fn a_plain_interrupt_stays() {
    models::bounded(3, || {
        let me = quell::current();
        let scope = Scope::enter();
        let aim = scope.aim().clone();
        let aimed = models::spawn(move || aim.interrupt(Interrupt::new("scope")));
        let plain = {
            let me = me.clone();
            models::spawn(move || me.interrupt(Interrupt::new("thread")))
        };
        drop(scope);
        let plain = plain.join().unwrap();
        assert_eq!(plain.state(), Outcome::Pending);
        let interrupted = quell::checkpoint().unwrap_err();
        assert_eq!(interrupted.downcast_ref::<&str>(), Some(&"thread"));
        assert_eq!(aimed.join().unwrap().state(), Outcome::Withdrawn);
        assert!(!me.has_pending());
    });
}

/// A shield holds a scope's interrupt too; leaving the scope inside the shield takes it back.
#[test]
fn a_shield_holds_and_the_exit_takes_back() {
    models::bounded(3, || {
        let scope = Scope::enter();
        let aim = scope.aim().clone();
        let me = quell::current();
        let sender = models::spawn(move || {
            let receipt = aim.interrupt(Interrupt::new(()));
            model::expire(&me);
            receipt
        });
        let shield = quell::shield();
        let ended = quell::thread::sleep_with(&Wait { interruptible: true, ..model::timed() });
        assert!(matches!(ended, Err(WaitError::TimedOut)));
        assert_eq!(scope.leave(), Left::TakenBack);
        assert!(shield.leave().is_ok());
        assert_eq!(sender.join().unwrap().state(), Outcome::Withdrawn);
    });
}
