//! quell's own threads in a process that runs a script: started, stopped and started again around a fork.
//!
//! They never take part in the script: all signals are blocked in them, so that the script's handlers run in
//! the script's threads.

use std::sync::Mutex;
use std::thread::{Builder, JoinHandle};

/// The threads of one session.
#[derive(Debug, Default)]
pub(super) struct Crew(Mutex<Vec<JoinHandle<()>>>);

impl Crew {
    /// Starts a thread that runs `body`.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(super) fn start(
        &self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let blocked = BlockedSignals::new();
        let thread = Builder::new().name(name.to_owned()).stack_size(1 << 20).spawn(body);
        drop(blocked);
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(thread?);
        Ok(())
    }

    /// How many are running.
    pub(super) fn size(&self) -> usize {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len()
    }

    /// Waits until all have ended. They must have been told to.
    pub(super) fn join(&self) {
        let threads =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for thread in threads {
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
