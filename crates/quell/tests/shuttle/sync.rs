//! Large random schedules: conditions, semaphores and barriers, with threads and tasks at each, interrupts, withdrawals,
//! deadlines, and futures that are dropped. What loom shows for every interleaving of two or three, this looks for in
//! longer runs of more.
//!
//! `QUELL_SCHEDULES` says how many schedules; a failing one prints how to repeat it.

use crate::schedules::{check, disturb, handles, settle, start};
use quell::sync::BarrierError;
use quell::{Barrier, BoundedSemaphore, Condition, Lock, Wait, WaitError, model};
use shuttle::future::block_on;
use shuttle::thread;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Waker};

/// With waiters that are woken to look, and with waiters that get it handed over.
fn both_ways(model: impl Fn() + Send + Sync + Copy + 'static) {
    for fair in [false, true] {
        model::set_fair(fair);
        check(2_500, model);
    }
}

/// A future that is given up after one poll. Whether it was ready.
fn once(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn a_buffer_of_one_under_a_lock_and_two_conditions() {
    struct Buffer {
        item: Lock<Option<u64>>,
        filled: Condition,
        emptied: Condition,
    }
    both_ways(|| {
        const ITEMS: u64 = 3;
        let buffer = Arc::new(Buffer {
            item: Lock::new(None),
            filled: Condition::new(),
            emptied: Condition::new(),
        });
        let handles = handles(3);
        let interrupted = Arc::new(AtomicU64::new(0));
        let putters: Vec<_> = (0..2_u64)
            .map(|me| {
                let (buffer, interrupted) = (Arc::clone(&buffer), Arc::clone(&interrupted));
                start(&handles[me as usize], move || {
                    for number in 0..ITEMS {
                        let mut item = buffer.item.lock_uninterruptible();
                        while buffer.emptied.wait_while(&mut item, Option::is_some).is_err() {
                            interrupted.fetch_add(1, SeqCst);
                        }
                        *item = Some(me * ITEMS + number);
                        buffer.filled.notify_one();
                    }
                })
            })
            .collect();
        let thread = {
            let (buffer, interrupted) = (Arc::clone(&buffer), Arc::clone(&interrupted));
            start(&handles[2], move || {
                let mut got = Vec::new();
                while got.len() < ITEMS as usize {
                    let mut item = buffer.item.lock_uninterruptible();
                    while buffer.filled.wait_while(&mut item, Option::is_none).is_err() {
                        interrupted.fetch_add(1, SeqCst);
                    }
                    got.extend(item.take());
                    buffer.emptied.notify_one();
                }
                got
            })
        };
        let task = {
            let buffer = Arc::clone(&buffer);
            thread::spawn(move || {
                let mut got = Vec::new();
                while got.len() < ITEMS as usize {
                    // One that is given up takes no notification along.
                    once(async {
                        let item = buffer.item.lock_async().await;
                        drop(buffer.filled.wait_async(item).await);
                        buffer.filled.notify_one();
                    });
                    block_on(async {
                        let item = buffer.item.lock_async().await;
                        let mut item = buffer.filled.wait_while_async(item, Option::is_none).await;
                        got.extend(item.take());
                    });
                    buffer.emptied.notify_one();
                }
                got
            })
        };
        let receipts = disturb(&handles, model::expire).join().unwrap();
        for putter in putters {
            putter.join().unwrap();
        }
        let mut all = [thread.join().unwrap(), task.join().unwrap()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..2 * ITEMS).collect::<Vec<_>>());
        assert_eq!(settle(&handles, &receipts), interrupted.load(SeqCst));
    });
}

#[test]
fn permits_are_shared_by_the_interrupted() {
    both_ways(|| {
        let semaphore = Arc::new(BoundedSemaphore::new(2));
        let in_use = Arc::new(AtomicU64::new(0));
        let handles = handles(3);
        let interrupted = Arc::new(AtomicU64::new(0));
        let workers: Vec<_> = handles
            .iter()
            .enumerate()
            .map(|(me, handle)| {
                let (semaphore, in_use, interrupted) =
                    (Arc::clone(&semaphore), Arc::clone(&in_use), Arc::clone(&interrupted));
                start(handle, move || {
                    for round in 0..3 {
                        let count = 1 + u32::from((me + round) % 2 == 0);
                        let wait = if round == 1 { model::timed() } else { Wait::new() };
                        match semaphore.acquire_many_with(count, &wait) {
                            Ok(_permits) => {
                                let now = in_use.fetch_add(count.into(), SeqCst) + u64::from(count);
                                assert!(now <= 2, "{now} of 2 in use");
                                thread::yield_now();
                                in_use.fetch_sub(count.into(), SeqCst);
                            }
                            Err(WaitError::Interrupted(_)) => {
                                interrupted.fetch_add(1, SeqCst);
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
        let task = {
            let semaphore = Arc::clone(&semaphore);
            thread::spawn(move || {
                for count in [2, 1] {
                    once(semaphore.acquire_many_async(count));
                    block_on(async { drop(semaphore.acquire_many_async(count).await) });
                }
            })
        };
        let receipts = disturb(&handles, model::expire).join().unwrap();
        for worker in workers {
            worker.join().unwrap();
        }
        task.join().unwrap();
        assert_eq!(semaphore.value(), 2);
        assert_eq!(settle(&handles, &receipts), interrupted.load(SeqCst));
    });
}

#[test]
fn a_barrier_of_the_interrupted() {
    check(2_500, || {
        let rounds = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&rounds);
        let barrier = Arc::new(Barrier::with_action(3, move || {
            counted.fetch_add(1, SeqCst);
        }));
        let handles = handles(2);
        let interrupted = Arc::new(AtomicU64::new(0));
        let mut parties: Vec<_> = handles
            .iter()
            .map(|handle| {
                let (barrier, interrupted) = (Arc::clone(&barrier), Arc::clone(&interrupted));
                start(handle, move || {
                    let mut through = 0;
                    while through < 2 {
                        match barrier.wait() {
                            Ok(_) => through += 1,
                            Err(BarrierError::Interrupted(_)) => {
                                interrupted.fetch_add(1, SeqCst);
                                barrier.reset();
                            }
                            Err(_) => barrier.reset(),
                        }
                    }
                })
            })
            .collect();
        let task = Arc::clone(&barrier);
        parties.push(thread::spawn(move || {
            task.abort();
            let mut through = 0;
            while through < 2 {
                match block_on(task.wait_async()) {
                    Ok(_) => through += 1,
                    Err(_) => task.reset(),
                }
            }
        }));
        let receipts = disturb(&handles, model::expire).join().unwrap();
        for party in parties {
            party.join().unwrap();
        }
        assert_eq!(rounds.load(SeqCst), 2);
        assert_eq!(settle(&handles, &receipts), interrupted.load(SeqCst));
    });
}
