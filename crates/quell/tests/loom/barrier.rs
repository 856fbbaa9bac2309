//! Every interleaving of arrivals at a barrier with interrupts, deadlines, dropped futures, aborts and resets.

use crate::models::{self, Count, poll, with_handle};
use loom::sync::atomic::Ordering::{Relaxed, SeqCst};
use loom::sync::atomic::{AtomicBool, AtomicU32};
use loom::thread;
use quell::sync::BarrierError;
use quell::{Barrier, Interrupt, Outcome, Thread, Wait, model};
use std::sync::Arc;
use std::task::Context;

#[test]
fn all_get_through_when_all_have_arrived() {
    models::bounded(2, || {
        let shared = Arc::new((Barrier::new(3), AtomicU32::new(0)));
        let arrive = |shared: &(Barrier, AtomicU32)| {
            shared.1.fetch_add(1, Relaxed);
            let index = shared.0.wait().unwrap();
            // What all did before is visible.
            assert_eq!(shared.1.load(Relaxed), 3);
            1_u32 << index
        };
        let others: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                models::spawn(move || arrive(&shared))
            })
            .collect();
        let mut places = arrive(&shared);
        for other in others {
            places |= other.join().unwrap();
        }
        assert_eq!(places, 0b111);
    });
}

#[test]
fn it_is_ready_for_the_next_round() {
    models::bounded(2, || {
        let barrier = Arc::new(Barrier::new(2));
        let other = Arc::clone(&barrier);
        let other = models::spawn(move || [other.wait().unwrap(), other.wait().unwrap()]);
        let mine = [barrier.wait().unwrap(), barrier.wait().unwrap()];
        let theirs = other.join().unwrap();
        assert_eq!([mine[0] + theirs[0], mine[1] + theirs[1]], [1, 1]);
    });
}

/// Both get through and the interrupt stays pending, or one is interrupted and the other told so.
#[test]
fn an_interrupt_competes_with_the_last_arrival() {
    models::bounded(3, || {
        let barrier = Arc::new(Barrier::new(2));
        let handle = Thread::unattached(None);
        let waiter = Arc::clone(&barrier);
        let waiter = with_handle(&handle, move || waiter.wait());
        let receipt = handle.interrupt(Interrupt::new(1));
        let mine = barrier.wait_with(&Wait::new().shielded());
        match (waiter.join().unwrap(), mine) {
            (Ok(theirs), Ok(mine)) => {
                assert_eq!(theirs + mine, 1);
                assert_eq!(receipt.state(), Outcome::Pending);
                assert!(!barrier.is_broken());
            }
            (Err(BarrierError::Interrupted(_)), Err(BarrierError::Broken(_))) => {
                assert_eq!(receipt.state(), Outcome::Delivered);
                assert!(barrier.is_broken());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(barrier.waiting(), 0);
    });
}

/// The deadline passes while the last arrives: both get through, or one has run out of time and the other is told.
#[test]
fn a_time_out_competes_with_the_last_arrival() {
    models::bounded(3, || {
        let barrier = Arc::new(Barrier::new(2));
        let handle = Thread::unattached(None);
        let timed = Arc::clone(&barrier);
        let timed = with_handle(&handle, move || timed.wait_with(&model::timed()));
        model::expire(&handle);
        let mine = barrier.wait();
        match (timed.join().unwrap(), mine) {
            (Ok(theirs), Ok(mine)) => assert_eq!((theirs + mine, barrier.is_broken()), (1, false)),
            (Err(BarrierError::TimedOut), Err(BarrierError::Broken(_))) => {
                assert!(barrier.is_broken());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(barrier.waiting(), 0);
    });
}

/// One of three runs out of time, and the third never comes: the second is told.
#[test]
fn a_time_out_breaks_it_for_all() {
    models::bounded(2, || {
        let barrier = Arc::new(Barrier::new(3));
        let handle = Thread::unattached(None);
        let timed = Arc::clone(&barrier);
        let timed = with_handle(&handle, move || timed.wait_with(&model::timed()));
        let other = Arc::clone(&barrier);
        let other = models::spawn(move || other.wait());
        model::expire(&handle);
        assert!(matches!(timed.join().unwrap(), Err(BarrierError::TimedOut)));
        assert!(matches!(other.join().unwrap(), Err(BarrierError::Broken(_))));
        assert!(matches!(barrier.wait(), Err(BarrierError::Broken(_))));
    });
}

/// Two run out of time and are interrupted at once: each says why, or that it was broken by the other.
#[test]
fn two_give_up_at_once() {
    models::bounded(2, || {
        let barrier = Arc::new(Barrier::new(3));
        let handles = [Thread::unattached(None), Thread::unattached(None)];
        let waiters = handles.clone().map(|handle| {
            let barrier = Arc::clone(&barrier);
            with_handle(&handle, move || barrier.wait())
        });
        let receipts = handles.map(|handle| handle.interrupt(Interrupt::new(1)));
        let mut gave_up = 0;
        for (waiter, receipt) in waiters.into_iter().zip(receipts) {
            let interrupted = match waiter.join().unwrap() {
                Err(BarrierError::Interrupted(_)) => true,
                Err(BarrierError::Broken(_)) => false,
                other => panic!("{other:?}"),
            };
            assert_eq!(receipt.state() == Outcome::Delivered, interrupted);
            gave_up += u32::from(interrupted);
        }
        assert!(gave_up >= 1);
    });
}

/// A future is dropped while the last arrives: they get through, or are told.
#[test]
fn a_dropped_future_competes_with_the_last_arrival() {
    models::bounded(3, || {
        let barrier = Arc::new(Barrier::new(2));
        let task = Arc::clone(&barrier);
        let mut task = Box::pin(async move { task.wait_async().await });
        assert!(poll(&mut task.as_mut()).is_pending());
        let begun = Arc::new(AtomicBool::new(false));
        let last = {
            let (last, begun) = (Arc::clone(&barrier), Arc::clone(&begun));
            models::spawn(move || {
                begun.store(true, SeqCst);
                last.wait()
            })
        };
        drop(task);
        let came_after = !begun.load(SeqCst);
        let last = last.join().unwrap();
        assert_eq!(last.is_err(), barrier.is_broken(), "{last:?}");
        assert!(last.is_err() || !came_after, "it got through with one that had given up");
        assert!(!matches!(last, Err(BarrierError::Interrupted(_))));
    });
}

/// More than are let through in one go, and the first of the next round comes while they are.
#[test]
fn a_round_in_several_batches() {
    models::bounded(2, || {
        let barrier = Arc::new(Barrier::new(4));
        let task = || {
            let barrier = Arc::clone(&barrier);
            Box::pin(async move { barrier.wait_async().await })
        };
        let mut tasks = [task(), task(), task()];
        for task in &mut tasks {
            assert!(poll(&mut task.as_mut()).is_pending());
        }
        let last = Arc::clone(&barrier);
        let last = models::spawn(move || last.wait().unwrap());
        let mut next = task();
        thread::yield_now();
        if barrier.waiting() == 0 {
            assert!(poll(&mut next.as_mut()).is_pending());
        }
        let mut places = vec![last.join().unwrap()];
        for mut task in tasks {
            match poll(&mut task.as_mut()) {
                std::task::Poll::Ready(place) => places.push(place.unwrap()),
                std::task::Poll::Pending => panic!("it waits for ever"),
            }
        }
        assert!(poll(&mut next.as_mut()).is_pending());
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3]);
        assert!(!barrier.is_broken());
    });
}

/// The action runs once, by the last, before anybody gets through; an abort in the meantime breaks the next round.
#[test]
fn an_action_and_an_abort() {
    models::bounded(2, || {
        let acted = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&acted);
        let barrier = Arc::new(Barrier::with_action(2, move || {
            counted.fetch_add(1, Relaxed);
        }));
        let other = {
            let (barrier, acted) = (Arc::clone(&barrier), Arc::clone(&acted));
            models::spawn(move || barrier.wait().map(|_| assert_eq!(acted.load(Relaxed), 1)))
        };
        let aborter = Arc::clone(&barrier);
        let aborter = models::spawn(move || aborter.abort());
        let mine = barrier.wait();
        let theirs = other.join().unwrap();
        aborter.join().unwrap();
        assert_eq!(mine.is_ok(), theirs.is_ok());
        assert_eq!(acted.load(Relaxed), u32::from(mine.is_ok()));
        assert!(barrier.is_broken());
    });
}

/// Who comes while the action runs waits until it has, and is told then; it belongs to the next round.
#[test]
fn one_comes_while_the_action_runs() {
    models::bounded(2, || {
        let acting = Arc::new(AtomicBool::new(false));
        let acts = Arc::clone(&acting);
        let action = move || {
            acts.store(true, SeqCst);
            acts.store(false, SeqCst);
        };
        let barrier = Arc::new(Barrier::with_action(2, action));
        let others = [0; 2].map(|_| {
            let barrier = Arc::clone(&barrier);
            models::spawn(move || barrier.wait().unwrap())
        });
        let (count, waker) = Count::new();
        let mut late = None;
        thread::yield_now();
        if acting.load(SeqCst) {
            let barrier = Arc::clone(&barrier);
            let mut wait = Box::pin(async move { barrier.wait_async().await });
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            late = Some(wait);
        }
        let places: usize = others.into_iter().map(|other| other.join().unwrap()).sum();
        assert_eq!(places, 1);
        if let Some(mut late) = late {
            // Either it came when the action was over, and has arrived; or it was woken when that was.
            assert!(barrier.waiting() == 1 || count.calls() == 1, "nobody told it");
            assert!(poll(&mut late.as_mut()).is_pending());
            assert_eq!(barrier.waiting(), 1);
        }
    });
}

/// Who waits at a reset is told, and may wait again.
#[test]
fn a_reset_begins_a_new_round() {
    models::bounded(2, || {
        let barrier = Arc::new(Barrier::new(2));
        let other = Arc::clone(&barrier);
        let other = models::spawn(move || {
            let mut broken = 0;
            while other.wait().is_err() {
                broken += 1;
            }
            broken
        });
        barrier.reset();
        assert!(barrier.wait().is_ok());
        assert!(other.join().unwrap() <= 1);
    });
}

/// Somebody gives up while another resets: nobody waits for a round that is over.
#[test]
fn a_reset_competes_with_one_that_gives_up() {
    models::bounded(2, || {
        let barrier = Arc::new(Barrier::new(3));
        let handles = [Thread::unattached(None), Thread::unattached(None)];
        let waiters = handles.clone().map(|handle| {
            let barrier = Arc::clone(&barrier);
            with_handle(&handle, move || barrier.wait().is_err())
        });
        handles[0].interrupt(Interrupt::new(1));
        barrier.reset();
        handles[1].interrupt(Interrupt::new(1));
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
        assert_eq!(barrier.waiting(), 0);
    });
}

/// Who comes alone goes through without a lock; an abort is not lost to that, and a reset ends it.
#[test]
fn a_barrier_for_one_and_an_abort() {
    models::bounded(3, || {
        let shared = Arc::new((Barrier::new(1), AtomicU32::new(0)));
        let waiter = Arc::clone(&shared);
        let waiter = models::spawn(move || {
            waiter.1.store(1, Relaxed);
            let rounds = [waiter.0.wait().is_ok(), waiter.0.wait().is_ok()];
            // Once broken, it stays so.
            assert!(rounds != [false, true]);
        });
        let other = Arc::clone(&shared);
        let other = models::spawn(move || other.0.wait().is_ok());
        shared.0.abort();
        assert!(shared.0.is_broken());
        assert!(matches!(shared.0.wait(), Err(BarrierError::Broken(_))));
        waiter.join().unwrap();
        other.join().unwrap();
        shared.0.reset();
        assert_eq!(shared.0.wait().unwrap(), 0);
    });
}

/// What a thread did before its round is visible after the next one, whoever's that is.
#[test]
fn the_rounds_of_a_barrier_for_one_come_one_after_the_other() {
    models::all(|| {
        let shared = Arc::new((Barrier::new(1), AtomicU32::new(0), AtomicU32::new(0)));
        let other = Arc::clone(&shared);
        let round = |mine: &AtomicU32, theirs: &AtomicU32, barrier: &Barrier| {
            mine.store(1, Relaxed);
            barrier.wait().unwrap();
            theirs.load(Relaxed)
        };
        let other = models::spawn(move || round(&other.1, &other.2, &other.0));
        let seen = round(&shared.2, &shared.1, &shared.0);
        assert!(seen + other.join().unwrap() > 0);
    });
}
