//! Native threads of quell's own.

use std::io;
use std::mem::MaybeUninit;

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
