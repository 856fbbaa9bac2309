//! Guarantee 3, nothing half done: an interrupted operation had no effect; no item taken or lost, no lock held.
//! Completion beats interruption. And what core can show of guarantee 4: no interrupt leaves a lock held.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Random, disturber, stress};
use quell::thread::JoinHandle;
use quell::{
    Event, GetError, Interrupt, Lock, Outcome, PutError, Queue, RLock, Wait, WaitError, thread,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

#[test]
fn completion_beats_interruption_in_a_get() {
    let queue = Queue::unbounded();
    queue.put(1).unwrap();
    let receipt = quell::current().interrupt(Interrupt::new(()));
    // There is an item: no wait, so no interruption point.
    assert_eq!(queue.get().unwrap(), 1);
    assert_eq!(receipt.state(), Outcome::Pending);
    assert!(matches!(queue.get(), Err(GetError::Interrupted(_))));
}

#[test]
fn an_interrupted_put_gives_the_item_back() {
    let queue = Queue::bounded(1);
    queue.put("first".to_owned()).unwrap();
    quell::current().interrupt(Interrupt::new(()));
    match queue.put("second".to_owned()) {
        Err(PutError::Interrupted(item, _)) => assert_eq!(item, "second"),
        other => panic!("{other:?}"),
    }
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.unfinished(), 1);
}

#[test]
fn a_lock_that_was_not_acquired_can_be_acquired() {
    let lock = Arc::new(Lock::new(0));
    let held = lock.lock().unwrap();
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.lock().is_err())
        })
        .collect();
    for waiter in &waiters {
        waiter.thread().interrupt(Interrupt::new(()));
    }
    for waiter in waiters {
        assert!(waiter.join().unwrap());
    }
    drop(held);
    *lock.try_lock().unwrap() += 1;
}

/// Threads take a lock in turn and are interrupted all the time. In the end it is free, and nobody was in it twice.
#[test]
fn no_lock_is_left_held() {
    let stop = Arc::new(AtomicBool::new(false));
    let lock = Arc::new(Lock::new(0_u64));
    let done = Arc::new(AtomicU64::new(0));
    let interrupted = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (lock, stop) = (Arc::clone(&lock), Arc::clone(&stop));
            let (done, interrupted) = (Arc::clone(&done), Arc::clone(&interrupted));
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    match lock.lock() {
                        Ok(mut value) => {
                            *value += 1;
                            done.fetch_add(1, SeqCst);
                            if done.load(SeqCst).is_multiple_of(64) {
                                // Long enough that the others go to sleep.
                                std::thread::yield_now();
                            }
                        }
                        Err(_) => {
                            interrupted.fetch_add(1, SeqCst);
                        }
                    }
                    if quell::checkpoint().is_err() {
                        interrupted.fetch_add(1, SeqCst);
                    }
                }
                interrupted.fetch_add(quell::current().withdraw_all() as u64, SeqCst);
            })
        })
        .collect();
    let targets = workers.iter().map(|worker| worker.thread().clone()).collect();
    let sent = disturber(7, 8, targets, &stop, stress(100_000)).join().unwrap();
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(*lock.try_lock().expect("nobody holds it"), done.load(SeqCst));
    assert_eq!(interrupted.load(SeqCst), sent);
}

/// The same with a recursive lock: depths add up.
#[test]
fn no_recursive_lock_is_left_held() {
    let stop = Arc::new(AtomicBool::new(false));
    let lock = Arc::new(RLock::new(std::cell::Cell::new(0_u64)));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (lock, stop) = (Arc::clone(&lock), Arc::clone(&stop));
            thread::spawn(move || {
                let mut done = 0;
                while !stop.load(SeqCst) {
                    let _ = quell::checkpoint();
                    let Ok(outer) = lock.lock() else { continue };
                    let inner = lock.lock().expect("its own lock needs no wait");
                    inner.set(outer.get() + 1);
                    done += 1;
                    if done % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
                done
            })
        })
        .collect();
    let targets = workers.iter().map(|worker| worker.thread().clone()).collect();
    disturber(7, 8, targets, &stop, stress(100_000)).join().unwrap();
    let done: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(lock.try_lock().expect("nobody holds it").get(), done);
    assert_eq!(lock.owner(), None);
}

/// Items go through a bounded queue between threads that are interrupted all the time: each arrives once.
#[test]
fn no_item_is_lost_or_doubled() {
    const PUTTERS: u64 = 2;
    let stop = Arc::new(AtomicBool::new(false));
    let queue = Arc::new(Queue::bounded(4));
    let putters: Vec<JoinHandle<u64>> = (0..PUTTERS)
        .map(|me| {
            let (queue, stop) = (Arc::clone(&queue), Arc::clone(&stop));
            thread::spawn(move || {
                let mut number = 0;
                while !stop.load(SeqCst) {
                    let _ = quell::checkpoint();
                    let mut item = number * PUTTERS + me;
                    loop {
                        match queue.put(item) {
                            Ok(()) => break,
                            Err(PutError::Interrupted(back, _)) => item = back,
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    number += 1;
                }
                quell::current().withdraw_all();
                number
            })
        })
        .collect();
    let getters: Vec<JoinHandle<Vec<u64>>> = (0..2)
        .map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut got = Vec::new();
                loop {
                    let _ = quell::checkpoint();
                    match queue.get() {
                        Ok(item) => got.push(item),
                        Err(GetError::Interrupted(_)) => {}
                        Err(GetError::ShutDown) => break got,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    let targets = putters.iter().map(|p| p.thread().clone());
    let targets = targets.chain(getters.iter().map(|g| g.thread().clone())).collect();
    disturber(7, 8, targets, &stop, stress(100_000)).join().unwrap();
    let put: u64 = putters.into_iter().map(|putter| putter.join().unwrap()).sum();
    queue.shutdown(false);
    let mut seen = HashSet::new();
    for getter in getters {
        let mut last = [None; PUTTERS as usize];
        for item in getter.join().unwrap() {
            assert!(seen.insert(item), "{item} arrived twice");
            // One getter sees one putter's items in order.
            let putter = (item % PUTTERS) as usize;
            assert!(last[putter] < Some(item));
            last[putter] = Some(item);
        }
    }
    assert_eq!(seen.len() as u64, put);
}

/// Events set while waiters are interrupted: a waiter that came back well saw the set.
#[test]
fn an_interrupted_wait_leaves_the_event_whole() {
    let stop = Arc::new(AtomicBool::new(false));
    // Later than `stop`: the setter's last round needs its waiter.
    let over = Arc::new(AtomicBool::new(false));
    let (ping, pong) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let rounds = Arc::new(AtomicU64::new(0));
    let waiter = {
        let (ping, pong, rounds) = (Arc::clone(&ping), Arc::clone(&pong), Arc::clone(&rounds));
        let over = Arc::clone(&over);
        thread::spawn(move || {
            while !over.load(SeqCst) {
                let _ = quell::checkpoint();
                match ping.wait_with(&Wait::new()) {
                    Ok(()) => {
                        ping.clear();
                        rounds.fetch_add(1, SeqCst);
                        pong.set();
                    }
                    Err(WaitError::Interrupted(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        })
    };
    let setter = {
        let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
        let ping = Arc::clone(&ping);
        thread::spawn(move || {
            let mut set = 0;
            while !stop.load(SeqCst) {
                ping.set();
                set += 1;
                // A lost set would wait here for ever.
                pong.wait_with(&Wait::new().shielded()).unwrap();
                pong.clear();
                assert_eq!(rounds.load(SeqCst), set);
            }
        })
    };
    disturber(7, 8, vec![waiter.thread().clone()], &stop, stress(100_000)).join().unwrap();
    setter.join().unwrap();
    over.store(true, SeqCst);
    ping.set();
    waiter.join().unwrap();
}

/// Deadlines and interrupts and hand-overs at once.
#[test]
fn a_deadline_leaves_nothing_half_done_either() {
    let stop = Arc::new(AtomicBool::new(false));
    let lock = Arc::new(Lock::new(0_u64));
    let workers: Vec<_> = (0..3)
        .map(|seed| {
            let (lock, stop) = (Arc::clone(&lock), Arc::clone(&stop));
            thread::spawn(move || {
                let mut random = Random::new(seed + 1);
                let mut done = 0;
                while !stop.load(SeqCst) {
                    let wait = Wait::new().timeout(Duration::from_micros(random.below(60)));
                    if let Ok(mut value) = lock.lock_with(&wait) {
                        *value += 1;
                        done += 1;
                        for _ in 0..random.below(300) {
                            std::hint::spin_loop();
                        }
                    }
                    // What is left of the burst; the next one finds the thread in a wait again.
                    while quell::checkpoint().is_err() {}
                }
                done
            })
        })
        .collect();
    let targets = workers.iter().map(|worker| worker.thread().clone()).collect();
    disturber(7, 8, targets, &stop, stress(100_000)).join().unwrap();
    let done: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(*lock.try_lock().expect("nobody holds it"), done);
}
