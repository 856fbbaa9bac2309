//! The right to a thread's result: waiting for its end, and how that can fail.

use super::handle::Thread;
use crate::deadlock::Deadlock;
use crate::interrupt::Interrupted;
use crate::park::Short;
use crate::wait::{Wait, WaitError};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a thread leaves what it returned, or its panic.
pub(super) type Packet<T> = Short<Option<std::thread::Result<T>>>;

/// The right to a thread's result. Dropping it leaves the thread running.
pub struct JoinHandle<T> {
    pub(super) thread: Thread,
    pub(super) packet: Arc<Packet<T>>,
}

impl<T> JoinHandle<T> {
    /// The thread's handle.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Whether the thread has ended: a [`join`](JoinHandle::join) would not block.
    pub fn is_finished(&self) -> bool {
        self.thread.ended().is_set()
    }

    /// Waits for the thread's end and takes its result. An interruption point of the waiting thread: not even
    /// waiting for another thread makes it unreachable.
    ///
    /// ```
    /// use quell::thread::JoinError;
    /// use quell::{Interrupt, spawn};
    ///
    /// let sleeper = spawn(|| quell::sleep(std::time::Duration::from_secs(3600)).is_err());
    /// quell::current().interrupt(Interrupt::new("look here"));
    /// let sleeper = match sleeper.join() {
    ///     Err(JoinError::Interrupted(sleeper, _)) => sleeper, // it sleeps on
    ///     other => panic!("{other:?}"),
    /// };
    /// sleeper.thread().interrupt(Interrupt::new("wake up"));
    /// assert!(sleeper.join().unwrap());
    /// ```
    ///
    /// # Errors
    /// [`JoinError::Panicked`] if the thread panicked. [`JoinError::Interrupted`] if the waiting thread was
    /// interrupted; the thread waited for is not touched, and the handle comes back in the error.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError<JoinHandle<T>>> {
        self.join_with(&Wait::new())
    }

    /// [`join`](JoinHandle::join), for `time` at most.
    ///
    /// # Errors
    /// As `join`, and [`JoinError::TimedOut`].
    #[track_caller]
    pub fn join_timeout(self, time: Duration) -> Result<T, JoinError<JoinHandle<T>>> {
        self.join_with(&Wait::new().timeout(time))
    }

    /// [`join`](JoinHandle::join), until `deadline` at most.
    ///
    /// # Errors
    /// As `join`, and [`JoinError::TimedOut`].
    #[track_caller]
    pub fn join_until(self, deadline: Instant) -> Result<T, JoinError<JoinHandle<T>>> {
        self.join_with(&Wait::new().until(deadline))
    }

    /// [`join`](JoinHandle::join) as a task of an async runtime. Not an interruption point. Dropping the future lets the thread
    /// run on.
    ///
    /// # Errors
    /// [`JoinError::Panicked`] if the thread panicked.
    pub async fn join_async(self) -> Result<T, JoinError<JoinHandle<T>>> {
        self.thread.ended().wait_async().await;
        // It has ended: this does not wait.
        self.join_with(&Wait::new().shielded())
    }

    /// [`join`](JoinHandle::join) with every option.
    ///
    /// # Errors
    /// As the options allow. The handle comes back in the error, unless the thread has ended.
    #[track_caller]
    pub fn join_with(self, wait: &Wait) -> Result<T, JoinError<JoinHandle<T>>> {
        joined(self, wait, |handle| (&handle.thread, &handle.packet))
    }
}

/// The wait under every kind of handle.
#[track_caller]
pub(super) fn joined<H, T>(
    handle: H,
    wait: &Wait,
    parts: impl Fn(&H) -> (&Thread, &Arc<Packet<T>>),
) -> Result<T, JoinError<H>> {
    let (thread, packet) = parts(&handle);
    match thread.wait_ended(wait) {
        Ok(()) => {}
        Err(WaitError::Deadlock(deadlock)) => return Err(JoinError::Deadlock(handle, deadlock)),
        Err(WaitError::TimedOut) => return Err(JoinError::TimedOut(handle)),
        Err(WaitError::Signalled) => return Err(JoinError::Signalled(handle)),
        Err(WaitError::Interrupted(interrupted)) => {
            return Err(JoinError::Interrupted(handle, interrupted));
        }
    }
    if is_left_behind(packet) {
        return Err(JoinError::Gone(thread.clone()));
    }
    let result = packet.lock().take();
    match result {
        Some(Ok(value)) => Ok(value),
        Some(Err(panic)) => Err(JoinError::Panicked(panic)),
        None => Err(JoinError::Gone(thread.clone())),
    }
}

/// Whether the thread was about to leave its result when the process forked: of one that has ended otherwise, nobody
/// else has the packet.
#[cfg(not(any(quell_loom, quell_shuttle)))]
fn is_left_behind<T>(packet: &Packet<T>) -> bool {
    packet.raw().is_locked()
}

/// No model forks.
#[cfg(any(quell_loom, quell_shuttle))]
fn is_left_behind<T>(_packet: &Packet<T>) -> bool {
    false
}

impl<T> AsRef<Thread> for JoinHandle<T> {
    fn as_ref(&self) -> &Thread {
        &self.thread
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("thread", &self.thread).finish_non_exhaustive()
    }
}

/// Why a join has no result. Where the thread may still run, its handle, an `H`, is in here.
pub enum JoinError<H> {
    /// The thread panicked; this is the panic's payload.
    Panicked(Box<dyn Any + Send>),
    /// The deadline has passed.
    TimedOut(H),
    /// The waiting thread was interrupted.
    Interrupted(H, Interrupted),
    /// A signal handler ran in the waiting thread, or it was nudged, and the wait had asked to know.
    Signalled(H),
    /// The thread waits, itself or through others, for the one that waited for it. Only with
    /// [detection](crate::deadlock) on.
    Deadlock(H, Deadlock),
    /// The thread ended without leaving a result: the process was forked while it ran, and it exists in the parent
    /// only.
    Gone(Thread),
}

impl<H> JoinError<H> {
    /// The handle, to try again. `None` if the thread has ended.
    pub fn into_handle(self) -> Option<H> {
        match self {
            JoinError::TimedOut(handle)
            | JoinError::Interrupted(handle, _)
            | JoinError::Deadlock(handle, _)
            | JoinError::Signalled(handle) => Some(handle),
            JoinError::Panicked(_) | JoinError::Gone(_) => None,
        }
    }
}

impl<H: AsRef<Thread>> fmt::Debug for JoinError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl<H: AsRef<Thread>> fmt::Display for JoinError<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(payload) => {
                write!(f, "the thread panicked: {}", panic_words(&**payload))
            }
            JoinError::TimedOut(handle) => write!(f, "waiting for {} timed out", handle.as_ref()),
            JoinError::Interrupted(handle, interrupted) => {
                write!(f, "{interrupted}, while waiting for {}", handle.as_ref())
            }
            JoinError::Signalled(handle) => {
                write!(f, "waiting for {} was ended by a signal", handle.as_ref())
            }
            JoinError::Deadlock(_, deadlock) => deadlock.fmt(f),
            JoinError::Gone(thread) => {
                write!(f, "{thread} does not exist in this process since fork")
            }
        }
    }
}

impl<H: AsRef<Thread>> std::error::Error for JoinError<H> {}

/// A panic's payload in words.
pub(crate) fn panic_words(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(payload is not a string)")
}
