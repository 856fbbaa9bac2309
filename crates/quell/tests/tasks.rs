//! Locks, events, conditions, semaphores and barriers between tasks and threads, on two runtimes. Dropping a future leaves
//! nothing half done. What the models show for every interleaving of two, this looks for among many.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Random, stress};
use quell::{Barrier, Condition, Event, Interrupt, Lock, Outcome, Semaphore, thread};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

/// Runs `tasks` side by side: on tokio's threads, then on one thread of smol.
fn on_both<F, T>(tasks: impl Fn() -> Vec<F>) -> [Vec<T>; 2]
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let on_tokio = runtime.block_on(async {
        let running: Vec<_> = tasks().into_iter().map(tokio::spawn).collect();
        let mut ended = Vec::new();
        for task in running {
            ended.push(task.await.unwrap());
        }
        ended
    });
    let executor = smol::LocalExecutor::new();
    let on_smol = smol::block_on(executor.run(async {
        let running: Vec<_> = tasks().into_iter().map(|task| executor.spawn(task)).collect();
        let mut ended = Vec::new();
        for task in running {
            ended.push(task.await);
        }
        ended
    }));
    [on_tokio, on_smol]
}

/// Polls once, as a task that is given up after that.
fn once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_guard_is_held_across_an_await() {
    let each = stress(300);
    let lock = Arc::new(Lock::new(0_u64));
    let counted = on_both(|| {
        (0..8)
            .map(|_| {
                let lock = Arc::clone(&lock);
                async move {
                    for _ in 0..each {
                        let mut value = lock.lock_async().await;
                        let before = *value;
                        smol::future::yield_now().await;
                        *value = before + 1;
                    }
                    each
                }
            })
            .collect()
    });
    assert_eq!(*lock.try_lock().unwrap(), counted.into_iter().flatten().sum::<u64>());
}

#[test]
fn threads_and_tasks_share_a_lock() {
    let each = stress(2_000);
    let lock = Arc::new(Lock::new(0_u64));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let lock = Arc::clone(&lock);
            thread::spawn(move || (0..each).for_each(|_| *lock.lock().unwrap() += 1))
        })
        .collect();
    on_both(|| {
        (0..4)
            .map(|_| {
                let lock = Arc::clone(&lock);
                async move {
                    for _ in 0..each {
                        *lock.lock_async().await += 1;
                    }
                }
            })
            .collect()
    });
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(*lock.try_lock().unwrap(), each * (2 + 2 * 4));
}

/// Tasks give up waiting at random; the lock is never left held, and nobody who stays waits for ever.
#[test]
fn futures_are_dropped_at_any_moment() {
    let each = stress(2_000);
    let lock = Arc::new(Lock::new(0_u64));
    let counted = on_both(|| {
        (0..6)
            .map(|seed| {
                let lock = Arc::clone(&lock);
                async move {
                    let mut random = Random::new(seed);
                    let mut taken = 0;
                    for _ in 0..each {
                        if random.below(2) == 0 {
                            *lock.lock_async().await += 1;
                            taken += 1;
                            continue;
                        }
                        // Gives up after a few turns of the others.
                        let patience = async {
                            for _ in 0..random.below(4) {
                                smol::future::yield_now().await;
                            }
                            false
                        };
                        let work = async {
                            let mut value = lock.lock_async().await;
                            smol::future::yield_now().await;
                            *value += 1;
                            true
                        };
                        taken += u64::from(smol::future::or(work, patience).await);
                    }
                    taken
                }
            })
            .collect()
    });
    assert_eq!(*lock.try_lock().unwrap(), counted.into_iter().flatten().sum::<u64>());
}

#[test]
fn permits_of_dropped_futures_are_not_lost() {
    let each = stress(1_000);
    let semaphore = Arc::new(Semaphore::new(3));
    on_both(|| {
        (0..6)
            .map(|seed| {
                let semaphore = Arc::clone(&semaphore);
                async move {
                    let mut random = Random::new(seed);
                    for _ in 0..each {
                        let count = 1 + random.below(3) as u32;
                        let (gives_up, turns) = (random.below(2) == 0, random.below(6));
                        let patience = async {
                            for _ in 0..turns {
                                smol::future::yield_now().await;
                            }
                        };
                        let work = async {
                            let _permits = semaphore.acquire_many_async(count).await;
                            smol::future::yield_now().await;
                        };
                        if gives_up {
                            smol::future::or(work, patience).await;
                        } else {
                            work.await;
                        }
                    }
                }
            })
            .collect()
    });
    assert_eq!(semaphore.value(), 3);
    assert!(semaphore.try_acquire_many(3).is_some());
}

#[test]
fn a_condition_between_tasks_and_threads() {
    let items = stress(500);
    let shared = Arc::new((Lock::new(Vec::new()), Condition::new()));
    let producer = {
        let shared = Arc::clone(&shared);
        // For both runtimes.
        thread::spawn(move || {
            for item in 0..2 * 4 * items {
                shared.0.lock().unwrap().push(item);
                shared.1.notify_one();
            }
        })
    };
    let taken = on_both(|| {
        (0..4)
            .map(|_| {
                let shared = Arc::clone(&shared);
                async move {
                    let mut sum = 0;
                    for _ in 0..items {
                        let guard = shared.0.lock_async().await;
                        let mut guard =
                            shared.1.wait_while_async(guard, |items| items.is_empty()).await;
                        sum += guard.pop().unwrap();
                    }
                    sum
                }
            })
            .collect()
    });
    producer.join().unwrap();
    let count = 2 * 4 * items;
    assert_eq!(taken.into_iter().flatten().sum::<u64>(), count * (count - 1) / 2);
}

#[test]
fn a_barrier_of_tasks() {
    let barrier = Arc::new(Barrier::new(5));
    let places = on_both(|| {
        (0..5)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                async move {
                    let mut places = Vec::new();
                    for _ in 0..stress(100) {
                        places.push(barrier.wait_async().await.unwrap());
                    }
                    places
                }
            })
            .collect()
    });
    for runtime in places {
        for round in 0..stress(100) as usize {
            let mut round: Vec<_> = runtime.iter().map(|places| places[round]).collect();
            round.sort_unstable();
            assert_eq!(round, [0, 1, 2, 3, 4]);
        }
    }
}

#[test]
fn an_event_wakes_tasks_by_the_hundred() {
    let events = [Event::new(), Event::new()].map(Arc::new);
    let next = AtomicU64::new(0);
    on_both(|| {
        let event = &events[next.fetch_add(1, SeqCst) as usize];
        (0..100)
            .map(|number| {
                let event = Arc::clone(event);
                async move { if number == 99 { event.set() } else { event.wait_async().await } }
            })
            .collect()
    });
}

/// An interrupt of the thread that runs a task does not end the task's wait, and stays pending.
#[test]
fn a_wait_of_a_task_is_no_interruption_point() {
    let lock = Lock::new(());
    let event = Event::new();
    let receipt = quell::current().interrupt(Interrupt::new(()));
    let held = lock.try_lock().unwrap();
    assert!(once(lock.lock_async()).is_pending());
    assert!(once(event.wait_async()).is_pending());
    drop(held);
    smol::block_on(async {
        drop(lock.lock_async().await);
        event.set();
        event.wait_async().await;
    });
    assert_eq!(receipt.state(), Outcome::Pending);
    assert!(receipt.withdraw());
}

#[test]
fn a_future_that_was_never_polled_has_not_arrived() {
    let barrier = Barrier::new(2);
    drop(barrier.wait_async());
    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    assert!(once(barrier.wait_async()).is_pending());
    assert!(barrier.is_broken(), "one that was polled had arrived, and gave up");
}

#[test]
fn a_waker_may_use_the_lock_that_wakes_it() {
    struct Uses(Lock<u32>, AtomicBool);
    impl std::task::Wake for Uses {
        fn wake(self: Arc<Self>) {
            // Would deadlock if it were called under the queue's own lock.
            self.1.store(self.0.try_lock().is_some(), SeqCst);
        }
    }
    let uses = Arc::new(Uses(Lock::new(0), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&uses));
    let held = uses.0.try_lock().unwrap();
    let mut waits = pin!(uses.0.lock_async());
    assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(held);
    assert!(uses.1.load(SeqCst));
    assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

/// Whoever is woken beside a waker that panics is woken all the same.
#[test]
fn a_waker_that_panics_stands_in_nobodys_way() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
    let event = Arc::new(Event::new());
    let waits = |waker: &Waker| {
        let event = Arc::clone(&event);
        let mut wait = Box::pin(async move { event.wait_async().await });
        assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        wait
    };
    // More than are woken in one go.
    let mut others = vec![waits(Waker::noop())];
    let _panics = waits(&Waker::from(Arc::new(Panics)));
    others.extend((0..100).map(|_| waits(Waker::noop())));
    let setter = Arc::clone(&event);
    std::panic::catch_unwind(move || setter.set()).unwrap_err();
    for mut other in others {
        assert!(other.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
