//! Every interleaving of threads that are starting or ending with one that forks.

use crate::models;
use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::Relaxed;
use loom::sync::{Arc, Mutex};
use quell::model::Passage;

/// What threads in passage change under a lock that nobody holds for a fork. Who forks looks at both as a copy does: without the
/// lock, so that loom reports a look that one of the changes is not ordered before.
struct Std {
    passage: Passage,
    lock: Mutex<()>,
    is_locked: AtomicBool,
    list: UnsafeCell<u32>,
}

// SAFETY: changed under the lock, in passage; looked at while nobody is in passage, which is what is checked.
unsafe impl Sync for Std {}

impl Std {
    fn pass(&self) {
        self.passage.enter();
        let locked = self.lock.lock().unwrap();
        self.is_locked.store(true, Relaxed);
        // SAFETY: we hold the lock.
        self.list.with_mut(|list| unsafe { *list += 1 });
        self.is_locked.store(false, Relaxed);
        drop(locked);
        self.passage.leave();
    }

    /// What a child would find.
    fn fork(&self) -> u32 {
        self.passage.hold();
        assert!(!self.is_locked.load(Relaxed), "held by a thread that a child has not got");
        // SAFETY: nobody is in passage.
        let found = self.list.with(|list| unsafe { *list });
        self.passage.release();
        found
    }
}

fn model(preemptions: usize, threads: usize, forks: usize) {
    models::bounded(preemptions, move || {
        let std = Arc::new(Std {
            passage: Passage::new(),
            lock: Mutex::new(()),
            is_locked: AtomicBool::new(false),
            list: UnsafeCell::new(0),
        });
        let passing: Vec<_> = (0..threads)
            .map(|_| {
                let std = Arc::clone(&std);
                models::spawn(move || std.pass())
            })
            .collect();
        for _ in 0..forks {
            assert!(std.fork() <= threads as u32);
        }
        for thread in passing {
            thread.join().unwrap();
        }
        assert_eq!(std.fork(), threads as u32);
    });
}

#[test]
fn a_fork_finds_nobody_in_passage() {
    model(3, 2, 1);
}

#[test]
fn nor_does_the_next() {
    model(3, 1, 2);
}
