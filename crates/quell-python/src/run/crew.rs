//! quell's own threads in a process that runs a script: started, stopped and started again around a fork.
//!
//! They never take part in the script: all signals are blocked in them, so that the script's handlers run in
//! the script's threads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// The threads of one session.
#[derive(Debug, Default)]
pub(super) struct Crew(Mutex<Vec<JoinHandle<()>>>);

impl Crew {
    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread that runs `body`. One of the crew may start another.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(super) fn start(
        &self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        // Held until it is counted, so that no thread is there that [`others`](Self::others) does not know.
        let mut threads = self.threads();
        let blocked = BlockedSignals::new();
        let thread = Builder::new().name(name.to_owned()).stack_size(1 << 20).spawn(body);
        drop(blocked);
        threads.push(thread?);
        Ok(())
    }

    /// How many threads the process has besides, given what counts `all` of them. Counted again if one of the crew has come
    /// meanwhile.
    pub(super) fn others(&self, all: impl Fn() -> u32) -> u32 {
        loop {
            let own = self.threads().len();
            let all = all();
            if self.threads().len() == own {
                return all.saturating_sub(own as u32);
            }
        }
    }

    /// Waits until all have ended, those too that the others start meanwhile. They must have been told to.
    pub(super) fn join(&self) {
        loop {
            // Not held while waiting: the thread may be about to start another.
            let Some(thread) = self.threads().pop() else { return };
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

/// Runs `body` in a thread of its own and waits until it has ended.
///
/// # Errors
/// When the system gives no more threads; then nothing has run.
pub(super) fn in_a_thread(name: &str, body: impl FnOnce() + Send) -> std::io::Result<()> {
    std::thread::scope(|scope| {
        let blocked = BlockedSignals::new();
        let thread = Builder::new().name(name.to_owned()).spawn_scoped(scope, body);
        drop(blocked);
        // One that panicked has ended too.
        let _ = thread?.join();
        Ok(())
    })
}

/// All signals blocked in the calling thread, and so in the threads it starts, until dropped.
struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    fn new() -> Self {
        // SAFETY: both sets live on this stack; the mask is the calling thread's own.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: gives the calling thread the mask back that `new` found.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::mpsc;

    /// Both ways round: the count of all has seen the new one, or has not.
    #[test]
    fn one_that_comes_while_they_are_counted_is_no_other() {
        for seen in [true, false] {
            let (crew, all) = (Crew::default(), Cell::new(5));
            let (end, ended) = mpsc::channel::<()>();
            let news = Cell::new(Some(ended));
            let others = crew.others(|| {
                let before = all.get();
                if let Some(ended) = news.take() {
                    let until_the_end = move || assert!(ended.recv().is_err());
                    crew.start("new", until_the_end).unwrap();
                    all.set(before + 1);
                }
                if seen { all.get() } else { before }
            });
            assert_eq!(others, 5);
            assert!(news.take().is_none());
            drop(end);
            crew.join();
        }
    }
}
