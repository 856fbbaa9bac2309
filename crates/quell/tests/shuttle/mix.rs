//! Large random schedules: queues and selections over them, a lock and an event, several threads at each, with interrupts, withdrawals and
//! deadlines. What loom shows for every interleaving of two or three threads, this looks for in longer runs of
//! more.
//!
//! `QUELL_SCHEDULES` says how many schedules; a failing one prints how to repeat it.

use crate::schedules::{check, disturb, handles, settle, start};
use quell::{Event, GetError, Lock, PutError, Queue, Select, Wait, WaitError, model};
use shuttle::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

#[test]
fn items_go_through_a_small_queue() {
    check(2_500, || items_go_through(Queue::bounded(1)));
}

#[test]
fn items_go_through_a_rendezvous() {
    check(2_500, || items_go_through(Queue::rendezvous()));
}

fn items_go_through(queue: Queue<u64>) {
    const ITEMS: u64 = 4;
    let queue = Arc::new(queue);
    let handles = handles(4);
    let interrupted = Arc::new(AtomicU64::new(0));
    let putters: Vec<_> = (0..2_u64)
        .map(|me| {
            let (queue, interrupted) = (Arc::clone(&queue), Arc::clone(&interrupted));
            start(&handles[me as usize], move || {
                for number in 0..ITEMS {
                    let mut item = me * ITEMS + number;
                    loop {
                        match queue.put(item) {
                            Ok(()) => break,
                            Err(PutError::Interrupted(back, _)) => {
                                interrupted.fetch_add(1, SeqCst);
                                item = back;
                            }
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                }
            })
        })
        .collect();
    let getters: Vec<_> = (2..4)
        .map(|me: usize| {
            let (queue, interrupted) = (Arc::clone(&queue), Arc::clone(&interrupted));
            start(&handles[me], move || {
                let mut got = Vec::new();
                loop {
                    match queue.get() {
                        Ok(item) => {
                            got.push(item);
                            queue.task_done().unwrap();
                        }
                        Err(GetError::Interrupted(_)) => {
                            interrupted.fetch_add(1, SeqCst);
                        }
                        Err(GetError::ShutDown) => break got,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    let receipts = disturb(&handles, |_| ()).join().unwrap();
    for putter in putters {
        putter.join().unwrap();
    }
    queue.join().unwrap();
    queue.shutdown(false);
    let mut all: Vec<u64> = getters.into_iter().flat_map(|getter| getter.join().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..2 * ITEMS).collect::<Vec<_>>());
    assert_eq!(settle(&handles, &receipts), interrupted.load(SeqCst));
}

#[test]
fn a_lock_is_shared_by_the_interrupted() {
    for fair in [false, true] {
        model::set_fair(fair);
        check(2_500, share_a_lock);
    }
}

fn share_a_lock() {
    let lock = Arc::new(Lock::new(0_u64));
    let handles = handles(4);
    let counts = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let workers: Vec<_> = handles
        .iter()
        .map(|handle| {
            let (lock, counts) = (Arc::clone(&lock), Arc::clone(&counts));
            start(handle, move || {
                for round in 0..3 {
                    let wait = if round == 1 { model::timed() } else { Wait::new() };
                    match lock.lock_with(&wait) {
                        Ok(mut value) => {
                            let before = *value;
                            thread::yield_now();
                            *value = before + 1;
                            counts.0.fetch_add(1, SeqCst);
                        }
                        Err(WaitError::Interrupted(_)) => {
                            counts.1.fetch_add(1, SeqCst);
                        }
                        Err(WaitError::TimedOut) => {}
                        Err(WaitError::Signalled | WaitError::Deadlock(_)) => {
                            panic!("nobody did that")
                        }
                    }
                }
            })
        })
        .collect();
    let clock = {
        let handles = handles.clone();
        thread::spawn(move || handles.iter().for_each(model::expire))
    };
    let receipts = disturb(&handles, |_| ()).join().unwrap();
    clock.join().unwrap();
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(*lock.try_lock().expect("nobody holds it"), counts.0.load(SeqCst));
    assert_eq!(settle(&handles, &receipts), counts.1.load(SeqCst));
}

#[test]
fn an_event_wakes_the_interrupted_and_the_others() {
    check(2_500, || {
        let event = Arc::new(Event::new());
        let handles = handles(4);
        let interrupted = Arc::new(AtomicU64::new(0));
        let waiters: Vec<_> = handles
            .iter()
            .map(|handle| {
                let (event, interrupted) = (Arc::clone(&event), Arc::clone(&interrupted));
                start(handle, move || {
                    while event.wait().is_err() {
                        interrupted.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        let disturber = disturb(&handles, |_| ());
        event.set();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        let receipts = disturber.join().unwrap();
        assert_eq!(settle(&handles, &receipts), interrupted.load(SeqCst));
    });
}

/// Two that put into either of two queues, two that get from either, all selecting, all interrupted; and an event that
/// ends the getters.
#[test]
fn selections_pass_items_both_ways() {
    check(2_500, || select_both_ways([Queue::rendezvous(), Queue::rendezvous()]));
    check(2_500, || select_both_ways([Queue::bounded(1), Queue::rendezvous()]));
}

fn select_both_ways(queues: [Queue<u64>; 2]) {
    const ITEMS: u64 = 3;
    let queues = Arc::new(queues);
    let stop = Arc::new(Event::new());
    let handles = handles(4);
    let interrupted = Arc::new(AtomicU64::new(0));
    let putters: Vec<_> = (0..2_u64)
        .map(|me| {
            let (queues, interrupted) = (Arc::clone(&queues), Arc::clone(&interrupted));
            start(&handles[me as usize], move || {
                for number in 0..ITEMS {
                    let mut item = Some(me * ITEMS + number);
                    while item.is_some() {
                        let (mut one, mut two) = (item, item);
                        // The item is put once: an arm that did not happen has its own copy back.
                        let put = Select::new()
                            .put(&queues[0], &mut one, Result::unwrap)
                            .put(&queues[1], &mut two, Result::unwrap)
                            .wait();
                        item = if one.is_some() && two.is_some() { item } else { None };
                        match put {
                            Ok(()) => assert!(item.is_none()),
                            Err(WaitError::Interrupted(_)) => {
                                assert!(item.is_some());
                                interrupted.fetch_add(1, SeqCst);
                            }
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                }
            })
        })
        .collect();
    let getters: Vec<_> = (2..4)
        .map(|me: usize| {
            let (queues, interrupted) = (Arc::clone(&queues), Arc::clone(&interrupted));
            let stop = Arc::clone(&stop);
            start(&handles[me], move || {
                let mut all = Vec::new();
                loop {
                    let got = Select::new()
                        .get(&queues[0], |got| Some(got.unwrap()))
                        .event(&stop, || None)
                        .get(&queues[1], |got| Some(got.unwrap()))
                        .wait();
                    match got {
                        Ok(Some(item)) => all.push(item),
                        Ok(None) => break all,
                        Err(WaitError::Interrupted(_)) => {
                            interrupted.fetch_add(1, SeqCst);
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    let receipts = disturb(&handles, |_| ()).join().unwrap();
    for putter in putters {
        putter.join().unwrap();
    }
    stop.set();
    let mut all: Vec<u64> = getters.into_iter().flat_map(|getter| getter.join().unwrap()).collect();
    all.extend(queues.iter().flat_map(|queue| queue.try_iter()));
    all.sort_unstable();
    assert_eq!(all, (0..2 * ITEMS).collect::<Vec<_>>());
    assert_eq!(settle(&handles, &receipts), interrupted.load(SeqCst));
}
