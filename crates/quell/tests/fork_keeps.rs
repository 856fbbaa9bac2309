//! Fork: what the documentation of `quell::fork` says that the child has, line by line; and what is kept is whole there.

#![cfg(all(target_os = "linux", not(any(quell_loom, quell_shuttle))))]

mod common;

use common::child::in_child;
use common::detection::{until, with};
use quell::deadlock::{self, Detection, Holder, set_detection};
use quell::thread::{self, JoinError};
use quell::{
    Barrier, Condition, Event, Interrupt, Lock, Outcome, PriorityQueue, Queue, RLock, RawLock,
    Semaphore, fork, monitor,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Threads change queues all the time while the process forks; in the child each is whole and works.
#[test]
fn a_kept_queue_is_whole_at_any_moment() {
    static LASTING: Queue<Box<u64>> = Queue::bounded(4);
    let shared: Arc<Queue<Box<u64>>> = Arc::new(Queue::unbounded());
    let sorted: Arc<PriorityQueue<Box<u64>>> = Arc::new(PriorityQueue::unbounded());
    fork::keep(&LASTING);
    fork::keep(&shared);
    fork::keep(&sorted);
    fork::keep(&shared); // again: nothing changes
    fork::keep(&Arc::new(Queue::<u8>::unbounded())); // gone at once
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..3)
        .map(|kind| {
            let (stop, shared, sorted) =
                (Arc::clone(&stop), Arc::clone(&shared), Arc::clone(&sorted));
            thread::spawn(move || {
                for at in 0.. {
                    if stop.load(SeqCst) {
                        break;
                    }
                    match kind {
                        0 => {
                            let _full = LASTING.try_put(Box::new(at));
                            let _empty = LASTING.try_get();
                        }
                        1 => {
                            shared.put(Box::new(at)).unwrap();
                            shared.get().unwrap();
                        }
                        _ => {
                            sorted.put(Box::new(at % 7)).unwrap();
                            sorted.put(Box::new(at % 5)).unwrap();
                            sorted.get().unwrap();
                            sorted.get().unwrap();
                        }
                    }
                }
            })
        })
        .collect();
    for _ in 0..common::stress(150) {
        in_child(|| {
            let mut all = true;
            for _ in 0..5 {
                while LASTING.try_get().is_ok() {}
                LASTING.put(Box::new(1)).unwrap();
                all &= *LASTING.get().unwrap() == 1 && LASTING.is_empty();
            }
            let before = shared.len();
            shared.put(Box::new(1)).unwrap();
            all &= shared.len() == before + 1;
            while shared.try_get().is_ok() {}
            sorted.put(Box::new(9)).unwrap();
            let mut last = 0;
            while let Ok(item) = sorted.try_get() {
                all &= *item >= last;
                last = *item;
            }
            all && last == 9
        });
    }
    stop.store(true, SeqCst);
    for thread in busy {
        thread.join().unwrap();
    }
}

/// Somebody waits at each; in the child nobody does, without a further word.
#[test]
fn what_is_kept_forgets_who_waited() {
    struct All {
        queue: Arc<Queue<u32>>,
        lock: Arc<Lock<()>>,
        again: Arc<RLock<()>>,
        raw: Arc<RawLock>,
        changed: Arc<Condition>,
        semaphore: Arc<Semaphore>,
        event: Arc<Event>,
        barrier: Arc<Barrier>,
    }
    let all = Arc::new(All {
        queue: Arc::default(),
        lock: Arc::default(),
        again: Arc::default(),
        raw: Arc::default(),
        changed: Arc::default(),
        semaphore: Arc::new(Semaphore::new(0)),
        event: Arc::default(),
        barrier: Arc::new(Barrier::new(2)),
    });
    fork::keep(&all.queue);
    fork::keep(&all.lock);
    fork::keep(&all.again);
    fork::keep(&all.raw);
    fork::keep(&all.changed);
    fork::keep(&all.semaphore);
    fork::keep(&all.event);
    fork::keep(&all.barrier);
    let (held, owned) = (all.lock.lock().unwrap(), all.again.lock().unwrap());
    all.raw.lock().unwrap();
    let waiters: Vec<_> = (0..8)
        .map(|kind| {
            let all = Arc::clone(&all);
            thread::spawn(move || match kind {
                0 => all.queue.get().is_err(),
                1 => all.lock.lock().is_err(),
                2 => all.again.lock().is_err(),
                3 => all.raw.lock().is_err(),
                4 => all.changed.wait(&mut Lock::new(()).lock().unwrap()).is_err(),
                5 => all.semaphore.acquire().is_err(),
                6 => all.event.wait().is_err(),
                _ => all.barrier.wait().is_err(),
            })
        })
        .collect();
    until(|| waiters.iter().all(|waiter| deadlock::waits().of(waiter.thread()).is_some()));
    in_child(|| {
        all.queue.put(1).unwrap();
        let queue = all.queue.try_get().unwrap() == 1;
        drop((held, owned));
        all.raw.unlock();
        let locks = all.lock.try_lock().is_some() && all.again.try_lock().is_some();
        let raw = all.raw.try_lock();
        let changed = !all.changed.notify_one();
        all.semaphore.release(1);
        let semaphore = all.semaphore.try_acquire().is_some();
        all.event.set();
        let barrier = all.barrier.waiting() == 0 && !all.barrier.is_broken();
        // Nobody in here waits any more, and a new thread may.
        let nobody = deadlock::waits().is_empty();
        let event = Arc::clone(&all.event);
        let waits = thread::spawn(move || event.wait().is_ok()).join().unwrap();
        queue && locks && raw && changed && semaphore && barrier && nobody && waits
    });
    for waiter in &waiters {
        waiter.thread().interrupt(Interrupt::new(()));
    }
    for waiter in waiters {
        // The two that waited for what this closure had, and has dropped, have got it.
        waiter.join().unwrap();
    }
}

/// The lines on the thread that forks, and on the others.
#[test]
fn who_is_there_and_what_is_pending() {
    let go_on = Arc::new(Event::new());
    let other = {
        let go_on = Arc::clone(&go_on);
        thread::spawn(move || go_on.wait_with(&quell::Wait::new().shielded()).is_ok())
    };
    let theirs = other.thread().interrupt(Interrupt::new(()));
    let me = quell::current();
    let mine = [me.interrupt(Interrupt::new(1)), me.interrupt(Interrupt::new(2))];
    let (mask, shield) = (quell::mask(), quell::shield());
    let deadline = Arc::new(Event::new());
    let armed = {
        let deadline = Arc::clone(&deadline);
        monitor::at(Instant::now() + Duration::from_millis(50), move || deadline.set())
    };
    let handle = other.thread().clone();
    in_child(|| {
        let same = quell::current() == me && me.is_alive() && quell::main() == me;
        let alone = quell::enumerate() == [me.clone()] && !handle.is_alive();
        let late = handle.interrupt(Interrupt::new(())).state() == Outcome::TargetExited;
        let settled = theirs.state() == Outcome::TargetExited;
        let masked = quell::mask_depth() == 1 && quell::shield_depth() == 1;
        let pending = mine.iter().all(|receipt| receipt.state() == Outcome::Pending);
        // Shielded: nothing ends this wait but the deadline, for which the monitor is started again.
        quell::after_fork_child();
        deadline.wait().unwrap();
        drop(shield);
        drop(mask);
        let first = quell::checkpoint().unwrap_err().downcast_ref() == Some(&1);
        let second = quell::checkpoint().unwrap_err().downcast_ref() == Some(&2);
        let gone = matches!(other.join(), Err(JoinError::Gone(thread)) if thread == handle);
        same && alone && late && settled && masked && pending && first && second && gone
    });
    armed.cancel();
    me.withdraw_all();
    go_on.set();
    until(|| !handle.is_alive());
}

/// The line on pools and pipelines: their workers are not there, so nothing is run, whatever is submitted.
#[test]
fn pools_and_pipelines_run_nothing_in_the_child() {
    let pool = quell::Pool::new(2);
    assert_eq!(pool.submit(|| 1).unwrap().get().unwrap(), 1);
    let ran = Arc::new(AtomicBool::new(false));
    in_child(|| {
        let flag = Arc::clone(&ran);
        let task = pool.submit(move || flag.store(true, SeqCst)).unwrap();
        let alone = quell::enumerate().len() == 1;
        let short = quell::Wait::new().timeout(Duration::from_millis(20));
        let waits = task.wait_with(&short).is_err();
        alone && waits && !ran.load(SeqCst)
    });
    // The parent's go on.
    assert_eq!(pool.submit(|| 2).unwrap().get().unwrap(), 2);
}

/// Workers wait for tasks, and somebody waits for what comes of one: in the child nothing goes to any of them. Their stacks
/// are larger than the C library keeps, so that whoever looks for them there finds no memory.
#[test]
fn what_pools_and_pipelines_are_given_in_the_child_is_there() {
    const LARGE: usize = 64 << 20;
    let pool = quell::Pool::new(1);
    let (began, go_on) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let busy = {
        let (began, go_on) = (Arc::clone(&began), Arc::clone(&go_on));
        pool.submit(move || {
            began.set();
            go_on.wait().unwrap();
        })
    };
    began.wait().unwrap();
    // It waits behind that one, and a thread for it.
    let queued = Arc::new(pool.submit(|| 1).unwrap());
    let waiter = {
        let queued = Arc::clone(&queued);
        let large = thread::Builder::new().stack_size(LARGE);
        large.spawn(move || queued.wait().is_ok()).unwrap()
    };
    let idle = quell::Pool::builder().workers(2).stack_size(LARGE).build().unwrap();
    let pipeline =
        quell::Pipeline::stage(quell::Stage::named("waits"), |n: u32| Ok::<_, std::io::Error>(n));
    let pipeline = pipeline.start().unwrap();
    let waits = |thread: &quell::Thread| deadlock::waits().of(thread).is_some();
    until(|| waits(waiter.thread()) && idle.workers().iter().all(waits));
    until(|| quell::enumerate().iter().all(|t| waits(t) || *t == quell::current()));
    in_child(|| {
        // At whose end the C library gives up what is too much.
        std::thread::spawn(|| ()).join().unwrap();
        let given = idle.submit(|| ()).unwrap();
        let abandoned = idle.shutdown_now() == 0 && given.get().is_err();
        pipeline.put(1).unwrap();
        let passes = pipeline.stats()[0].queued == 1;
        pipeline.stop();
        let ended = pool.shutdown_now() == 1 && queued.wait().is_ok();
        abandoned && passes && ended
    });
    go_on.set();
    busy.unwrap().get().unwrap();
    assert!(waiter.join().unwrap());
    pipeline.put(2).unwrap();
    assert_eq!(pipeline.get().unwrap(), 2);
}

/// Workers take tasks, show them and are done with them all the time while the process forks.
#[test]
fn a_pool_is_whole_at_any_moment() {
    let pool = quell::Pool::builder().workers(2).backlog(8).build().unwrap();
    let stop = AtomicBool::new(false);
    let fork = || {
        in_child(|| {
            pool.shutdown_now();
            pool.submit(|| ()).is_err() && pool.stats().queued == 0
        });
    };
    thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(SeqCst) {
                pool.submit(|| ()).unwrap();
            }
        });
        (0..common::stress(100)).for_each(|_| fork());
        stop.store(true, SeqCst);
    });
}

/// The line on scopes: one with threads of the parent never ends in the child.
#[test]
fn a_scope_with_threads_of_the_parent_waits_in_the_child() {
    let go_on = Event::new();
    let is_child = AtomicBool::new(false);
    thread::scope(|s| {
        let waiter = s.spawn(|| go_on.wait());
        until(|| deadlock::waits().of(waiter.thread()).is_some());
        // SAFETY: the child needs nothing of the parent's other threads.
        let child = unsafe { libc::fork() };
        if child == 0 {
            is_child.store(true, SeqCst);
            // SAFETY: ends the child after a while, should it hang elsewhere.
            unsafe { libc::alarm(20) };
            let me = quell::current();
            // Sees the scope's end being waited for, and leaves with that for a result.
            std::thread::spawn(move || {
                until(|| deadlock::waits().of(&me).is_some());
                // SAFETY: ends the child without the test harness.
                unsafe { libc::_exit(7) };
            });
            return;
        }
        let mut status = 0;
        // SAFETY: the child is ours.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 7));
        go_on.set();
        waiter.join().unwrap().unwrap();
    });
    // Only the parent comes here.
    assert!(!is_child.load(SeqCst));
}

/// A thread may be leaving its result at the very moment: in the child it left one, or is gone, and nobody hangs.
#[test]
fn a_join_in_the_child_ends() {
    for _ in 0..common::stress(1000) {
        let begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&begun);
        let ending = thread::spawn(move || begins.store(true, SeqCst));
        until(|| begun.load(SeqCst));
        let thread = ending.thread().clone();
        in_child(|| matches!(ending.join(), Ok(()) | Err(JoinError::Gone(_))));
        until(|| !thread.is_alive());
    }
}

/// Detection goes on in the child: with what this thread holds, and without those who waited.
#[test]
fn deadlocks_are_seen_in_the_child() {
    let _with = with(Detection::Fail);
    let (mine, theirs) = (Arc::new(Lock::new(())), Arc::new(Lock::new(())));
    let _name = deadlock::name(&*mine, "mine");
    let held = mine.lock().unwrap();
    let other = {
        let (mine, theirs) = (Arc::clone(&mine), Arc::clone(&theirs));
        thread::spawn(move || {
            let _held = theirs.lock().unwrap();
            mine.lock().is_err()
        })
    };
    until(|| deadlock::waits().of(other.thread()).is_some());
    let id = other.thread().id();
    in_child(|| {
        let nobody = deadlock::waits().is_empty();
        mine.forget_waiters_after_fork();
        theirs.forget_waiters_after_fork();
        let itself = mine.lock().unwrap_err().deadlock().is_some_and(|deadlock| {
            deadlock.waits().len() == 1 && deadlock.to_string().contains("lock \"mine\"")
        });
        // Of whom holds the other, nothing is left; it is no deadlock, and shown for what it is.
        let theirs = Arc::clone(&theirs);
        let waiter = thread::spawn(move || theirs.lock().is_err());
        until(|| deadlock::waits().of(waiter.thread()).is_some());
        let shown = deadlock::waits().of(waiter.thread()).unwrap().holder == Holder::Ended(id);
        waiter.thread().interrupt(Interrupt::new(()));
        nobody && itself && shown && waiter.join().unwrap()
    });
    set_detection(Detection::Off);
    drop(held);
    assert!(!other.join().unwrap());
}

/// Somebody looks, waits and gives up all the time while the process forks.
#[test]
fn the_graph_is_whole_at_any_moment() {
    let _with = with(Detection::Fail);
    let stop = Arc::new(AtomicBool::new(false));
    let locks: Arc<[Lock<()>; 2]> = Arc::default();
    let busy: Vec<_> = (0..3)
        .map(|kind| {
            let (stop, locks) = (Arc::clone(&stop), Arc::clone(&locks));
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    if kind == 2 {
                        let _shown = deadlock::waits().to_string();
                        continue;
                    }
                    let _first = locks[kind].lock();
                    let _second = locks[1 - kind].lock();
                }
            })
        })
        .collect();
    for _ in 0..common::stress(100) {
        in_child(|| {
            let lock = Lock::new(());
            let _held = lock.lock().unwrap();
            deadlock::waits().is_empty() && lock.lock().is_err_and(|e| e.deadlock().is_some())
        });
    }
    stop.store(true, SeqCst);
    for thread in busy {
        thread.join().unwrap();
    }
}
