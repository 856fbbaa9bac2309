//! Threads of quell's that the standard library is just starting or ending: a fork waits for them.
//!
//! A program whose `main` is Rust's has a handler for overflowing stacks, and what std knows for it of each thread is in a list
//! with a lock. Each thread takes that lock as it begins and as it ends. No handler holds it during a fork, so a child that is made in
//! such a moment finds it held by nobody, for ever: the first thread that it starts hangs before it has begun.
//!
//! So a thread is *in passage* from before std starts it until its own function runs, and from the end of that function until
//! its first thread-local is destroyed. In neither does code of a user run.
//!
//! # The protocol
//!
//! | step | who |
//! | --- | --- |
//! | counts up, under the gate | who starts a thread; a thread whose function has returned |
//! | counts down | the thread, as its function begins; the destructor of the thread-local that was made last |
//! | shuts the gate, and looks until the count is zero | who forks, before what threads in passage go on to use is held |
//! | opens the gate | the same, in the parent and in the child |
//!
//! Who counts up has the gate, so behind a shut one the count only falls. Who forks looks again and again, and sleeps in between:
//! there is no wake-up that could be lost.
//!
//! It looks for a second at most. A thread in passage allocates memory, and an allocator that holds itself still during a
//! fork may have done so before this: then nobody gets on, until the fork is made as it would be without all this.
//!
//! Threads that others start with [`std::thread`] are not counted.

use crate::park::RawShort;
use crate::sys::atomic::AtomicU32;
use crate::sys::atomic::Ordering::{Acquire, Relaxed, Release};

/// How many are in passage.
pub(crate) struct Passage {
    gate: RawShort,
    count: AtomicU32,
}

impl Passage {
    const_fn! {
        pub(crate) fn new() -> Passage {
            Passage { gate: RawShort::new(), count: AtomicU32::new(0) }
        }
    }

    /// Waits, as long as a fork takes, if one is being made.
    pub(crate) fn enter(&self) {
        self.gate.lock();
        // Relaxed: whoever forks sees it by the gate.
        self.count.fetch_add(1, Relaxed);
        self.gate.unlock();
    }

    pub(crate) fn leave(&self) {
        // Release: who forks sees what was done in passage.
        self.count.fetch_sub(1, Release);
    }

    /// Before a fork: nobody enters any more, and whoever was inside has left; unless `wait`, which is called between two looks
    /// with their number, says that this is long enough.
    pub(crate) fn hold(&self, mut wait: impl FnMut(u32) -> bool) {
        self.gate.lock();
        let mut looks = 0;
        // Acquire, with the Release above. The changes are read-modify-writes, so one load is enough for all of them.
        while self.count.load(Acquire) != 0 && wait(looks) {
            looks += 1;
        }
    }

    /// After a fork, in both processes.
    pub(crate) fn release(&self) {
        self.gate.unlock();
    }
}

#[cfg(not(any(quell_loom, quell_shuttle)))]
mod threads {
    use super::Passage;
    use std::time::{Duration, Instant};

    static PASSAGE: Passage = Passage::new();

    /// A thread that is being started. Dropped as its function begins, or because it could not be started.
    pub(crate) struct Begins(());

    impl Begins {
        pub(crate) fn new() -> Begins {
            PASSAGE.enter();
            Begins(())
        }
    }

    impl Drop for Begins {
        fn drop(&mut self) {
            PASSAGE.leave();
        }
    }

    /// Dropped when a thread's function is about to return to std.
    pub(crate) struct Ends;

    impl Drop for Ends {
        fn drop(&mut self) {
            PASSAGE.enter();
            // Thread-locals are destroyed in the reverse order of their making.
            if LAST.try_with(|_| ()).is_err() {
                PASSAGE.leave();
            }
        }
    }

    thread_local! {
        static LAST: Last = const { Last };
    }

    /// The thread-local that is made last.
    struct Last;

    impl Drop for Last {
        fn drop(&mut self) {
            PASSAGE.leave();
        }
    }

    pub(in crate::fork) fn hold() {
        /// How long a fork waits.
        const PATIENCE: Duration = Duration::from_secs(1);
        let mut end = None;
        PASSAGE.hold(|looks| {
            if looks < 20 {
                std::thread::yield_now();
                return true;
            }
            // One of lower priority must get to run.
            std::thread::sleep(Duration::from_micros(50));
            let now = Instant::now();
            now < *end.get_or_insert(now + PATIENCE)
        });
    }

    pub(in crate::fork) fn release() {
        PASSAGE.release();
    }
}

/// No model forks, but for that of the passage itself.
#[cfg(any(quell_loom, quell_shuttle))]
mod threads {
    pub(crate) struct Begins;

    impl Begins {
        pub(crate) fn new() -> Begins {
            Begins
        }
    }

    pub(crate) struct Ends;
}

pub(crate) use threads::{Begins, Ends};
#[cfg(all(unix, not(any(quell_loom, quell_shuttle))))]
pub(super) use threads::{hold, release};
