//! Native threads of quell's own.

use std::io;
use std::mem::MaybeUninit;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use pyo3::Python;

/// Starts a thread in which every signal is blocked: the kernel gives a process's signal to any thread that takes it,
/// and one that is spent on a thread of ours would not end the blocking call it was meant for.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // SAFETY: fills and passes sets of the right type; the mask of the calling thread is put back.
    unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut old = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
        let spawned = std::thread::Builder::new().name(name.into()).spawn(run);
        libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), std::ptr::null_mut());
        spawned.map(drop)
    }
}

/// Runs `f`, which calls into the interpreter and may give up the GIL there.
///
/// A thread that comes back for the GIL when the interpreter has begun to go away, as a daemon thread may, does not get it: CPython up
/// to 3.13 ends the thread there, by unwinding its stack, and ends the process when that gets to a Rust frame that must not be
/// unwound. So the unwinding stops here, in the first frame of ours: the thread hangs, as it does by itself from CPython 3.14 on,
/// until the process is gone. What `f` calls is declared `C-unwind`.
#[inline]
pub(crate) fn hanging_at_the_end<R>(f: impl FnOnce() -> R) -> R {
    struct Hang;
    impl Drop for Hang {
        #[cold]
        fn drop(&mut self) {
            loop {
                std::thread::park();
            }
        }
    }
    let hang = Hang;
    let answer = f();
    std::mem::forget(hang);
    answer
}

/// Lets a native thread visit the interpreter, until the interpreter goes away.
///
/// A thread that waits for the GIL while the interpreter is torn down never comes back, or is ended in the middle of its
/// Rust frames. So every visit is announced, and an `atexit` function closes the door: it waits until nobody is inside, and
/// lets nobody in any more. One thread visits through one door.
#[derive(Debug, Default)]
pub(crate) struct Door {
    state: Mutex<Visits>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Visits {
    inside: bool,
    closed: bool,
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, Visits> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` with the GIL, which it waits for; `None` when the door is closed or the interpreter gone.
    pub(crate) fn visit<R>(&self, f: impl FnOnce(Python<'_>) -> R) -> Option<R> {
        {
            let mut state = self.lock();
            if state.closed {
                return None;
            }
            state.inside = true;
        }
        let result = Python::try_attach(f);
        self.lock().inside = false;
        self.left.notify_all();
        result
    }

    /// Whether nobody is let in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Closes the door for good. Blocks, without the GIL, until the visitor has left; not an interruption point.
    pub(crate) fn close(&self, py: Python<'_>) {
        py.detach(|| {
            let mut state = self.lock();
            state.closed = true;
            while state.inside {
                state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        });
    }
}
