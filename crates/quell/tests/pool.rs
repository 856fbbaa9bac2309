//! The pool: results, back-pressure, cancelling, limits, shut-down; and guarantee 7, the right task.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Random, stress};
use quell::pool::{
    Cancel, Failure, Pool, SubmitError, Task, TaskError, TaskInterrupted, TaskState, Why,
};
use quell::{Event, Interrupt, Interrupted, Outcome, Wait, sleep, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);

fn wait_for(state: TaskState, task: &Task<impl Send>) {
    while task.state() != state {
        std::thread::yield_now();
    }
}

fn why<T: std::fmt::Debug>(result: Result<T, TaskError<T>>) -> Why {
    match result {
        Err(TaskError::Failed(Failure::NeverRan(why))) => why,
        other => panic!("{other:?}"),
    }
}

fn reason(interrupted: &Interrupted) -> Why {
    interrupted.downcast_ref::<TaskInterrupted>().expect("a task's own").why()
}

/// A pool of one worker, which is held up until the event is set.
fn held_up(backlog: usize) -> (Pool, Arc<Event>) {
    let pool = Pool::builder().workers(1).backlog(backlog).name("held").build().unwrap();
    let go_on = Arc::new(Event::new());
    let holds = Arc::clone(&go_on);
    let task = pool.submit(move || holds.wait().is_ok()).unwrap();
    wait_for(TaskState::Running, &task);
    (pool, go_on)
}

#[test]
fn results_come_back() {
    let pool = Pool::new(3);
    let tasks: Vec<_> = (0..100_u64).map(|n| pool.submit(move || n * n).unwrap()).collect();
    let sum: u64 = tasks.into_iter().map(|task| task.get().unwrap()).sum();
    assert_eq!(sum, (0..100).map(|n| n * n).sum());
    assert_eq!(pool.stats().returned, 100);
}

#[test]
fn workers_have_names_and_are_known() {
    let pool = Pool::builder().workers(2).name("named").build().unwrap();
    let name = pool.submit(|| quell::current().name().unwrap()).unwrap().get().unwrap();
    assert!(name == "named-1" || name == "named-2");
    assert!(pool.workers().iter().all(|worker| quell::enumerate().contains(worker)));
    let workers = pool.workers().to_vec();
    pool.shutdown();
    pool.join().unwrap();
    assert!(workers.iter().all(|worker| !worker.is_alive()));
}

#[test]
fn a_full_backlog_pushes_back() {
    let (pool, go_on) = held_up(1);
    let queued = pool.submit(|| 1).unwrap();
    let full = pool.try_submit(|| 2).unwrap_err();
    assert!(matches!(full, SubmitError::Full(_)));
    // The function comes back whole.
    assert_eq!(full.into_function()(), 2);
    let wait = Wait::new().timeout(Duration::from_millis(1));
    let late = pool.task().wait(wait).submit(|| 3).unwrap_err();
    assert!(matches!(late, SubmitError::TimedOut(_)));
    quell::current().interrupt(Interrupt::new("no more"));
    let interrupted = pool.submit(|| 4).unwrap_err();
    assert!(matches!(interrupted, SubmitError::Interrupted(..)));
    assert_eq!(interrupted.into_function()(), 4);
    go_on.set();
    assert_eq!(pool.submit(|| 5).unwrap().get().unwrap(), 5);
    assert_eq!(queued.get().unwrap(), 1);
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.finished()), (3, 3));
}

/// A worker never waits for room in its own backlog: it is told that it is full.
#[test]
fn a_worker_submits_to_its_own_pool() {
    let pool = Arc::new(Pool::builder().workers(1).backlog(1).build().unwrap());
    let inner = Arc::clone(&pool);
    let task = pool.submit(move || {
        let first = inner.submit(|| 1).unwrap();
        let full = inner.submit(|| 2).unwrap_err();
        assert!(matches!(full, SubmitError::Full(_)));
        (first, full.into_function()())
    });
    let (first, second) = task.unwrap().get().unwrap();
    assert_eq!(first.get().unwrap() + second, 3);
}

#[test]
fn panics_are_the_waiters() {
    let pool = Pool::new(1);
    let task =
        pool.submit(|| -> u32 { std::panic::resume_unwind(Box::new("on purpose")) }).unwrap();
    match task.get() {
        Err(TaskError::Failed(failure @ Failure::Panicked(_))) => {
            assert_eq!(failure.to_string(), "the task panicked: on purpose");
        }
        other => panic!("{other:?}"),
    }
    // The worker goes on, also after a result that panics when it is dropped.
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("in drop"));
        }
    }
    drop(pool.submit(|| Bad).unwrap());
    assert_eq!(pool.submit(|| 1).unwrap().get().unwrap(), 1);
    assert_eq!(pool.stats().panicked, 1);
}

/// Java's `Future.get` with a timeout, and while the waiting thread is interrupted: the task is not touched.
#[test]
fn waiting_says_nothing_to_the_task() {
    let (pool, go_on) = held_up(4);
    let task = pool.submit(|| 7).unwrap();
    let task = task.get_timeout(Duration::from_millis(1)).unwrap_err().into_task().unwrap();
    let task = task.get_until(Instant::now()).unwrap_err().into_task().unwrap();
    quell::current().interrupt(Interrupt::new(()));
    let task = match task.get() {
        Err(TaskError::Interrupted(task, _)) => task,
        other => panic!("{other:?}"),
    };
    let task = task.try_get().unwrap_err();
    go_on.set();
    task.wait().unwrap();
    assert_eq!(task.try_get().unwrap().unwrap(), 7);
}

/// Java's `Future.cancel(true)` before the task has started: it never runs, and `get` says so.
#[test]
fn a_queued_task_that_is_cancelled_never_runs() {
    let (pool, go_on) = held_up(4);
    let (ran, captured) = (Arc::new(AtomicU64::new(0)), Arc::new(()));
    let (run, inner) = (Arc::clone(&ran), Arc::clone(&captured));
    let task = pool
        .submit(move || {
            let _inner = inner;
            run.fetch_add(1, SeqCst)
        })
        .unwrap();
    assert!(matches!(task.cancel(), Cancel::NeverRuns));
    // Its function is dropped at once, and a second time there is nothing to cancel.
    assert_eq!(Arc::strong_count(&captured), 1);
    assert!(matches!(task.cancel(), Cancel::Finished));
    assert_eq!(why(task.get()), Why::Cancelled);
    go_on.set();
    pool.wait_idle().unwrap();
    assert_eq!(ran.load(SeqCst), 0);
    assert_eq!(pool.stats().cancelled, 1);
}

/// Java's `Future.cancel(true)` while the task runs: its thread is interrupted. Unlike there, what it then returns is its
/// result, and nothing it made is lost.
#[test]
fn a_running_task_that_is_cancelled_is_interrupted() {
    let pool = Pool::new(1);
    let task = pool.submit(|| (sleep(LONG), "made")).unwrap();
    wait_for(TaskState::Running, &task);
    let Cancel::Interrupted(receipt) = task.canceller().cancel() else { panic!("it runs") };
    let (slept, made) = task.get().unwrap();
    assert_eq!(reason(&slept.unwrap_err()), Why::Cancelled);
    assert_eq!((made, receipt.state()), ("made", Outcome::Delivered));
    assert_eq!(pool.stats().interrupted, 1);
}

/// Java's `Future.cancel` after completion: no effect.
#[test]
fn a_finished_task_is_not_cancelled() {
    let pool = Pool::new(1);
    let task = pool.submit(|| 7).unwrap();
    task.wait().unwrap();
    assert!(matches!(task.cancel(), Cancel::Finished));
    assert_eq!(task.get().unwrap(), 7);
}

#[test]
fn a_task_that_goes_on_can_be_cancelled_again() {
    let pool = Pool::new(1);
    let task = pool
        .submit(|| (0..3).map(|_| reason(&sleep(LONG).unwrap_err())).collect::<Vec<_>>())
        .unwrap();
    wait_for(TaskState::Running, &task);
    for _ in 0..3 {
        let Cancel::Interrupted(receipt) = task.cancel() else { panic!("it runs") };
        assert_eq!(receipt.wait(None).unwrap(), Outcome::Delivered);
    }
    assert_eq!(task.get().unwrap(), [Why::Cancelled; 3]);
}

#[test]
fn a_task_that_runs_for_too_long_is_interrupted() {
    let limit = Duration::from_millis(2);
    let pool = Pool::builder().workers(1).task_timeout(limit).build().unwrap();
    let slow = pool.submit(|| sleep(LONG)).unwrap();
    assert_eq!(reason(&slow.get().unwrap().unwrap_err()), Why::Limit(limit));
    let own = Duration::from_millis(1);
    let slower = pool.task().timeout(own).submit(|| sleep(LONG)).unwrap();
    assert_eq!(reason(&slower.get().unwrap().unwrap_err()), Why::Limit(own));
    let free = pool.task().timeout(None).submit(move || sleep(limit * 3)).unwrap();
    free.get().unwrap().unwrap();
}

#[test]
fn a_deadline_ends_a_task_queued_or_running() {
    let (pool, go_on) = held_up(4);
    let soon = Instant::now() + Duration::from_millis(2);
    let queued = pool.task().deadline(soon).submit(|| ()).unwrap();
    assert_eq!(why(queued.get()), Why::Deadline);
    go_on.set();
    let running = pool
        .task()
        .deadline(Instant::now() + Duration::from_millis(200))
        .submit(|| sleep(LONG))
        .unwrap();
    match running.get() {
        Ok(slept) => assert_eq!(reason(&slept.unwrap_err()), Why::Deadline),
        // A machine that gave the worker no time for as long.
        other => assert_eq!(why(other), Why::Deadline),
    }
    // And leaves alone what is done in time.
    let task = pool.task().deadline(Instant::now() + LONG).submit(|| 7).unwrap();
    assert_eq!(task.get().unwrap(), 7);
}

/// Java's `ExecutorService.shutdown`: nothing more is accepted, what was accepted is done.
#[test]
fn a_graceful_shutdown_drains() {
    let (pool, go_on) = held_up(16);
    let tasks: Vec<_> = (0..10).map(|n| pool.submit(move || n).unwrap()).collect();
    pool.shutdown();
    assert!(pool.is_shut_down());
    let refused = pool.submit(|| 10).unwrap_err();
    assert!(matches!(refused, SubmitError::ShutDown(_)));
    go_on.set();
    pool.join().unwrap();
    let done: Vec<_> = tasks.into_iter().map(|task| task.try_get().unwrap().unwrap()).collect();
    assert_eq!(done, (0..10).collect::<Vec<_>>());
}

/// Java's `ExecutorService.shutdownNow`: what is queued never runs, what runs is interrupted.
#[test]
fn an_immediate_shutdown_cancels_and_interrupts() {
    let pool = Pool::new(2);
    let running: Vec<_> = (0..2).map(|_| pool.submit(|| sleep(LONG)).unwrap()).collect();
    running.iter().for_each(|task| wait_for(TaskState::Running, task));
    let queued: Vec<_> = (0..5).map(|n| pool.submit(move || n).unwrap()).collect();
    assert_eq!(pool.shutdown_now(), 2);
    pool.join().unwrap();
    for task in running {
        assert_eq!(reason(&task.try_get().unwrap().unwrap().unwrap_err()), Why::ShutDown);
    }
    for task in queued {
        assert_eq!(why(task.get()), Why::ShutDown);
    }
    assert_eq!(pool.stats().dropped, 5);
    assert_eq!(pool.shutdown_now(), 0);
}

/// Who waits for room is told when the pool is shut down, and has its function back.
#[test]
fn a_shutdown_wakes_who_waits_for_room() {
    let (pool, go_on) = held_up(1);
    drop(pool.submit(|| ()).unwrap());
    thread::scope(|s| {
        let waiting = s.spawn(|| match pool.submit(|| 7) {
            Err(SubmitError::ShutDown(f)) => f(),
            other => panic!("{other:?}"),
        });
        pool.shutdown();
        assert_eq!(waiting.join().unwrap(), 7);
    });
    go_on.set();
    pool.join().unwrap();
}

#[test]
fn a_dropped_pool_finishes_what_it_has() {
    let (pool, go_on) = held_up(4);
    let task = pool.submit(|| 7).unwrap();
    let workers = pool.workers().to_vec();
    drop(pool);
    go_on.set();
    assert_eq!(task.get().unwrap(), 7);
    for worker in workers {
        while worker.is_alive() {
            std::thread::yield_now();
        }
    }
}

/// The last handle may be dropped in one of the pool's own tasks.
#[test]
fn a_pool_is_dropped_by_its_own_task() {
    let (pool, last) = (Arc::new(Pool::new(1)), Arc::new(Event::new()));
    let (inner, set) = (Arc::clone(&pool), Arc::clone(&last));
    let task = pool.submit(move || {
        set.wait().unwrap();
        drop(inner);
        7
    });
    drop(pool);
    last.set();
    assert_eq!(task.unwrap().get().unwrap(), 7);
}

#[test]
fn a_worker_cannot_join_its_own_pool() {
    let pool = Arc::new(Pool::new(1));
    let inner = Arc::clone(&pool);
    let task = pool.submit(move || {
        std::panic::set_hook(Box::new(|_| {}));
        let joined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inner.join()));
        let _ = std::panic::take_hook();
        joined.is_err()
    });
    assert!(task.unwrap().get().unwrap());
}

/// A wait for the end of everything is interrupted like any other.
#[test]
fn waits_for_the_pool_are_interruption_points() {
    let (pool, go_on) = held_up(4);
    for wait in [Pool::wait_idle, Pool::join] {
        quell::current().interrupt(Interrupt::new(()));
        assert!(wait(&pool).is_err());
    }
    assert!(pool.wait_idle_with(&Wait::new().timeout(Duration::from_millis(1))).is_err());
    go_on.set();
    pool.wait_idle().unwrap();
}

/// Masks and shields that a task leaves behind end with it, and it starts with none.
#[test]
fn masks_end_with_their_task() {
    let pool = Pool::new(1);
    let leave = pool.submit(|| {
        assert_eq!((quell::mask_depth(), quell::shield_depth()), (0, 0));
        quell::enter_mask();
        quell::enter_shield();
    });
    leave.unwrap().get().unwrap();
    let depths = pool.submit(|| (quell::mask_depth(), quell::shield_depth())).unwrap();
    assert_eq!(depths.get().unwrap(), (0, 0));
}

/// An interrupt sent to an idle worker by its handle is withdrawn, not kept for the next task.
#[test]
fn an_idle_worker_is_hit_by_nothing() {
    let pool = Pool::new(1);
    for _ in 0..stress(100) {
        pool.wait_idle().unwrap();
        let receipt = pool.workers()[0].interrupt(Interrupt::new("stray"));
        let task = pool.submit(quell::checkpoint).unwrap();
        // The task may have begun only after it, so there is no saying which of them this is for; but one that was sent
        // while the worker was idle is not delivered.
        task.get().unwrap().unwrap();
        pool.wait_idle().unwrap();
        let sleeper = pool.submit(|| sleep(Duration::from_micros(1))).unwrap();
        sleeper.get().unwrap().unwrap();
        assert_eq!(receipt.state(), Outcome::Withdrawn);
    }
}

/// Guarantee 7 under stress: every task is cancelled at some moment around its end, and whatever a task receives is its own.
#[test]
fn an_interrupt_reaches_its_task_or_nobody() {
    let pool = Pool::builder().workers(2).backlog(8).build().unwrap();
    let rounds = stress(140_000);
    let cancels = Arc::new(quell::Queue::bounded(4));
    let canceller = {
        let cancels: Arc<quell::Queue<(quell::pool::Canceller, u64)>> = Arc::clone(&cancels);
        thread::spawn(move || {
            let mut receipts = Vec::new();
            while let Ok((canceller, spins)) = cancels.get() {
                (0..spins).for_each(|_| std::hint::spin_loop());
                if let Cancel::Interrupted(receipt) = canceller.cancel() {
                    receipts.push(receipt);
                }
            }
            receipts
        })
    };
    let (delivered, mut random) = (Arc::new(AtomicU64::new(0)), Random::new(7));
    for round in 0..rounds {
        let (count, looks) = (Arc::clone(&delivered), random.below(60));
        // Three of four tasks are meant to be cancelled; the others must never see anything.
        let mine = round % 4 != 0;
        let task = pool
            .submit(move || {
                for _ in 0..looks {
                    if let Err(interrupted) = quell::checkpoint() {
                        assert!(mine, "a task was hit that nobody cancelled");
                        assert_eq!(reason(&interrupted), Why::Cancelled);
                        count.fetch_add(1, SeqCst);
                    }
                }
            })
            .unwrap();
        if mine {
            cancels.put((task.canceller(), random.below(400))).unwrap();
        }
    }
    pool.wait_idle().unwrap();
    cancels.shutdown(false);
    let receipts = canceller.join().unwrap();
    pool.shutdown();
    pool.join().unwrap();
    assert!(receipts.iter().all(|receipt| receipt.state() != Outcome::Pending));
    let arrived = receipts.iter().filter(|receipt| receipt.state() == Outcome::Delivered).count();
    assert_eq!(arrived as u64, delivered.load(SeqCst));
    let stats = pool.stats();
    assert_eq!(stats.panicked, 0, "{stats}");
    assert_eq!((stats.submitted, stats.finished()), (rounds, rounds), "{stats}");
}

/// Each task ends in exactly one way, whatever is cancelled and whenever the pool is stopped.
#[test]
fn every_task_ends_once() {
    for round in 0..stress(200) {
        let mut random = Random::new(round);
        let pool = Pool::builder().workers(2).backlog(4).build().unwrap();
        let ran = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        thread::scope(|s| {
            let stop_after = random.below(3000);
            let stopper = s.spawn({
                let pool = &pool;
                move || {
                    (0..stop_after).for_each(|_| std::hint::spin_loop());
                    pool.shutdown_now();
                }
            });
            for _ in 0..20 {
                let count = Arc::clone(&ran);
                match pool.submit(move || {
                    drop((count.fetch_add(1, SeqCst), sleep(Duration::from_micros(5))))
                }) {
                    Ok(task) => tasks.push(task),
                    Err(SubmitError::ShutDown(_)) => break,
                    Err(other) => panic!("{other:?}"),
                }
                if random.below(4) == 0 {
                    tasks.last().unwrap().cancel();
                }
            }
            stopper.join().unwrap();
        });
        pool.join().unwrap();
        let (mut done, mut never, all) = (0, 0, tasks.len() as u64);
        for task in tasks {
            match task.try_get().expect("all have ended") {
                Ok(()) => done += 1,
                Err(Failure::NeverRan(_)) => never += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!((done, done + never), (ran.load(SeqCst), all));
        assert_eq!(pool.stats().finished(), all);
    }
}

mod awaited {
    use super::*;
    use std::task::{Context, Poll, Wake, Waker};

    struct Unpark(quell::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let waker = Waker::from(Arc::new(Unpark(quell::current())));
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            thread::park().unwrap();
        }
    }

    #[test]
    fn a_task_is_awaited() {
        let pool = Pool::new(2);
        for round in 0..stress(2_000) {
            let task = pool.submit(move || round).unwrap();
            assert_eq!(block_on(task).unwrap(), round);
        }
        let (cancelled, go_on) = held_up(4);
        let task = cancelled.submit(|| ()).unwrap();
        task.cancel();
        assert!(matches!(block_on(task), Err(Failure::NeverRan(Why::Cancelled))));
        go_on.set();
    }

    /// Waiting for room, for the end of all tasks and of the pool; a submission that is given up leaves nothing behind.
    #[test]
    fn submissions_are_awaited() {
        let (pool, go_on) = held_up(1);
        let queued = pool.submit(|| 1).unwrap();
        let captured = Arc::new(());
        {
            let inner = Arc::clone(&captured);
            let mut waits = std::pin::pin!(pool.task().submit_async(move || drop(inner)));
            let context = &mut Context::from_waker(Waker::noop());
            assert!(waits.as_mut().poll(context).is_pending());
        }
        assert_eq!(Arc::strong_count(&captured), 1);
        go_on.set();
        let task = smol::block_on(pool.task().submit_async(|| 2)).unwrap();
        assert_eq!(smol::block_on(async { queued.await.unwrap() + task.await.unwrap() }), 3);
        smol::block_on(pool.wait_idle_async());
        pool.shutdown();
        let refused = smol::block_on(pool.task().submit_async(|| 3)).unwrap_err();
        assert_eq!(refused.into_function()(), 3);
        smol::block_on(pool.join_async());
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.finished(), stats.dropped), (4, 4, 1));
        assert_eq!(smol::block_on(quell::spawn(|| 7).join_async()).unwrap(), 7);
    }

    /// On two runtimes.
    #[test]
    fn a_task_is_awaited_on_tokio_and_smol() {
        let pool = Pool::new(1);
        let sum = async {
            let (one, two) = (pool.submit(|| 1).unwrap(), pool.submit(|| 2).unwrap());
            two.await.unwrap() + one.await.unwrap()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(sum), 3);
        let task = pool.submit(|| 7).unwrap();
        assert_eq!(smol::block_on(task).unwrap(), 7);
    }
}
