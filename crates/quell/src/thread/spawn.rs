//! Starting threads, and waiting for their end.

use super::current::attach;
use super::handle::Thread;
use crate::interrupt::Interrupted;
use crate::park::Short;
use crate::sys;
use crate::wait::{Wait, WaitError};
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Starts a thread. As [`Builder::spawn`] without a name.
///
/// ```
/// let answer = quell::spawn(|| 6 * 7).join().unwrap();
/// assert_eq!(answer, 42);
/// ```
///
/// # Panics
/// If the system cannot start one.
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(f).expect("the system could not start a thread")
}

/// How to start a thread: its name, the size of its stack.
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
}

impl Builder {
    /// A thread without a name, with the stack size that std chooses.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the thread. Error messages and panics show it.
    #[must_use]
    pub fn name(self, name: String) -> Builder {
        Builder { name: Some(name), ..self }
    }

    /// The size of the stack, in bytes.
    #[must_use]
    pub fn stack_size(self, bytes: usize) -> Builder {
        Builder { stack_size: Some(bytes), ..self }
    }

    /// Starts the thread. It can be interrupted at once, before it has run at all.
    ///
    /// # Errors
    /// If the system cannot start one.
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let thread = Thread::unattached(self.name.clone());
        let packet: Arc<Packet<T>> = Arc::new(Short::new(None));
        let mut builder = sys::thread::Builder::new();
        if let Some(name) = self.name {
            builder = builder.name(name);
        }
        if let Some(bytes) = self.stack_size {
            builder = builder.stack_size(bytes);
        }
        let body = {
            let (thread, packet) = (thread.clone(), Arc::clone(&packet));
            move || {
                attach(&thread);
                let result = catch_unwind(AssertUnwindSafe(f));
                *packet.lock() = Some(result);
                // If nobody joins, the result is dropped here, by the thread itself, which still can be interrupted.
                drop(packet);
                thread.exit();
            }
        };
        match builder.spawn(body) {
            // Nobody waits for the system's thread: `ended` says when it is done with what concerns quell.
            Ok(_detached) => Ok(JoinHandle { thread, packet }),
            Err(error) => {
                thread.exit();
                Err(error)
            }
        }
    }
}

type Packet<T> = Short<Option<std::thread::Result<T>>>;

/// The right to a thread's result. Dropping it leaves the thread running.
pub struct JoinHandle<T> {
    thread: Thread,
    packet: Arc<Packet<T>>,
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
    /// # Errors
    /// [`JoinError::Panicked`] if the thread panicked. [`JoinError::Interrupted`] if the waiting thread was
    /// interrupted; the thread waited for is not touched, and the handle comes back in the error.
    pub fn join(self) -> Result<T, JoinError<T>> {
        self.join_with(&Wait::new())
    }

    /// [`join`](JoinHandle::join), until `deadline` at most.
    ///
    /// # Errors
    /// As `join`, and [`JoinError::TimedOut`].
    pub fn join_until(self, deadline: Instant) -> Result<T, JoinError<T>> {
        self.join_with(&Wait::new().until(deadline))
    }

    /// [`join`](JoinHandle::join) with every option.
    ///
    /// # Errors
    /// As the options allow. The handle comes back in the error, unless the thread panicked.
    pub fn join_with(self, wait: &Wait) -> Result<T, JoinError<T>> {
        match self.thread.ended().wait_with(wait) {
            Ok(()) => {}
            Err(WaitError::TimedOut) => return Err(JoinError::TimedOut(self)),
            Err(WaitError::Signalled) => return Err(JoinError::Signalled(self)),
            Err(WaitError::Interrupted(interrupted)) => {
                return Err(JoinError::Interrupted(self, interrupted));
            }
        }
        let result = self.packet.lock().take();
        match result {
            Some(Ok(value)) => Ok(value),
            Some(Err(panic)) => Err(JoinError::Panicked(panic)),
            None => Err(JoinError::Gone(self.thread)),
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("thread", &self.thread).finish_non_exhaustive()
    }
}

/// Why [`JoinHandle::join`] has no result. Where the thread may still run, its handle is in here.
pub enum JoinError<T> {
    /// The thread panicked; this is the panic's payload.
    Panicked(Box<dyn Any + Send>),
    /// The deadline has passed.
    TimedOut(JoinHandle<T>),
    /// The waiting thread was interrupted.
    Interrupted(JoinHandle<T>, Interrupted),
    /// A signal handler ran in the waiting thread, or it was nudged, and the wait had asked to know.
    Signalled(JoinHandle<T>),
    /// The thread ended without leaving a result: the process was forked while it ran, and it exists in the parent
    /// only.
    Gone(Thread),
}

impl<T> JoinError<T> {
    /// The handle, to try again. `None` if the thread has ended.
    pub fn into_handle(self) -> Option<JoinHandle<T>> {
        match self {
            JoinError::TimedOut(handle)
            | JoinError::Interrupted(handle, _)
            | JoinError::Signalled(handle) => Some(handle),
            JoinError::Panicked(_) | JoinError::Gone(_) => None,
        }
    }
}

impl<T> fmt::Debug for JoinError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl<T> fmt::Display for JoinError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(payload) => {
                let words = payload
                    .downcast_ref::<&'static str>()
                    .copied()
                    .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                write!(f, "the thread panicked: {}", words.unwrap_or("(payload is not a string)"))
            }
            JoinError::TimedOut(handle) => write!(f, "waiting for {} timed out", handle.thread),
            JoinError::Interrupted(handle, interrupted) => {
                write!(f, "{interrupted}, while waiting for {}", handle.thread)
            }
            JoinError::Signalled(handle) => {
                write!(f, "waiting for {} was ended by a signal", handle.thread)
            }
            JoinError::Gone(thread) => {
                write!(f, "{thread} does not exist in this process since fork")
            }
        }
    }
}

impl<T> std::error::Error for JoinError<T> {}
