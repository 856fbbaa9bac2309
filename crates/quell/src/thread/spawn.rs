//! Starting threads.

use super::current::{attach, local};
use super::handle::Thread;
use super::join::{JoinHandle, Packet};
use crate::fork::passage::{Begins, Ends};
use crate::park::Short;
use crate::sys;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Starts a thread. As [`Builder::spawn`] without a name.
///
/// ```
/// let answer = quell::spawn(|| 6 * 7).join().unwrap();
/// assert_eq!(answer, 42);
/// ```
///
/// A panic ends the thread and comes out of its [`join`](JoinHandle::join); nothing else is poisoned by it.
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

/// How to start a thread: its name, the size of its stack, the masks it starts in.
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    masks: Masks,
}

/// The masks a thread starts in.
#[derive(Clone, Copy, Debug, Default)]
enum Masks {
    #[default]
    None,
    Masked,
    Shielded,
    Inherited,
}

impl Builder {
    /// A thread without a name, with the stack size that std chooses, in no mask.
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

    /// Starts the thread in a [mask](crate::mask), so that no checkpoint delivers before it is ready; it lets
    /// interrupts in with [`unmask`](crate::unmask), or for good with [`leave_mask`](crate::leave_mask).
    ///
    /// ```
    /// use quell::{Interrupt, thread};
    ///
    /// let thread = thread::Builder::new()
    ///     .masked()
    ///     .spawn(|| {
    ///         quell::checkpoint().expect("not before the handler below is in place");
    ///         let unmasked = quell::unmask();
    ///         let stopped = quell::sleep(std::time::Duration::from_secs(3600)).is_err();
    ///         drop(unmasked);
    ///         stopped
    ///     })
    ///     .unwrap();
    /// thread.thread().interrupt(Interrupt::new("at once"));
    /// assert!(thread.join().unwrap());
    /// ```
    #[must_use]
    pub fn masked(self) -> Builder {
        Builder { masks: Masks::Masked, ..self }
    }

    /// Starts the thread in a [shield](crate::shield): not even its waits deliver before it says so, as with
    /// [`masked`](Builder::masked).
    #[must_use]
    pub fn shielded(self) -> Builder {
        Builder { masks: Masks::Shielded, ..self }
    }

    /// Starts the thread masked if the thread that spawns it is masked, and shielded if that is shielded, as GHC's
    /// `forkIO` does. So a thread that is spawned in the middle of something that must not be cut is not cut before
    /// it has begun.
    ///
    /// ```
    /// use quell::thread;
    ///
    /// let _mask = quell::mask();
    /// let _again = quell::mask();
    /// let inherits = || thread::Builder::new().inherit_masks();
    /// assert_eq!(inherits().spawn(quell::mask_depth).unwrap().join().unwrap(), 1);
    /// assert_eq!(quell::spawn(quell::mask_depth).join().unwrap(), 0);
    /// ```
    #[must_use]
    pub fn inherit_masks(self) -> Builder {
        Builder { masks: Masks::Inherited, ..self }
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
        self.spawn_prepared(f, |_| ())
    }

    /// [`spawn`](Builder::spawn); `prepare` sees the handle before the thread runs. If none can be started, the handle is
    /// that of a thread which has ended.
    pub(crate) fn spawn_prepared<F, T>(
        self,
        f: F,
        prepare: impl FnOnce(&Thread),
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: nothing in them is borrowed.
        let (thread, packet) = unsafe { self.start(f, prepare, |_| ()) }?;
        Ok(JoinHandle { thread, packet })
    }

    /// Starts the thread. `prepare` runs before it does; `finished` when all that was in `f` is gone, also if no
    /// thread could be started.
    ///
    /// # Safety
    /// What `'a` borrows lives until `finished` was called.
    pub(super) unsafe fn start<'a, F, T, G>(
        self,
        f: F,
        prepare: impl FnOnce(&Thread),
        finished: G,
    ) -> io::Result<(Thread, Arc<Packet<T>>)>
    where
        F: FnOnce() -> T + Send + 'a,
        T: Send + 'a,
        G: FnOnce(&Thread) + Send + 'a,
    {
        let (mask, shield) = match self.masks {
            Masks::None => (0, 0),
            Masks::Masked => (1, 0),
            Masks::Shielded => (0, 1),
            Masks::Inherited => local(|l| (l.mask().min(1), l.shield().min(1))),
        };
        let thread = Thread::unattached(self.name.clone());
        prepare(&thread);
        let packet: Arc<Packet<T>> = Arc::new(Short::new(None));
        let mut builder = sys::thread::Builder::new();
        if let Some(name) = self.name {
            builder = builder.name(name);
        }
        if let Some(bytes) = self.stack_size {
            builder = builder.stack_size(bytes);
        }
        let end = End { thread: thread.clone(), finished: Some(finished) };
        let body: Box<dyn FnOnce() + Send + 'a> = {
            let (packet, begins) = (Arc::clone(&packet), Begins::new());
            Box::new(move || {
                // First, so that they are dropped last.
                let _ends = Ends;
                drop(begins);
                let end = end;
                attach(&end.thread);
                local(|l| l.set_depths(mask, shield));
                let result = catch_unwind(AssertUnwindSafe(f));
                *packet.lock() = Some(result);
                // If nobody joins, the result is dropped here, by the thread itself, which still can be interrupted.
                drop(packet);
            })
        };
        // SAFETY: the lifetime is all that changes. What the body borrows lives until `finished` is called, which is the
        // last thing the body does, and what dropping it unrun does.
        let body: Box<dyn FnOnce() + Send + 'static> = unsafe {
            std::mem::transmute::<Box<dyn FnOnce() + Send + 'a>, Box<dyn FnOnce() + Send>>(body)
        };
        // Nobody waits for the system's thread: `ended` says when it is done with what concerns quell. If it could not
        // be started, the body is dropped, and the thread has ended.
        builder.spawn(body).map(|_detached| (thread, packet))
    }
}

/// The end of a thread, also if dropping its result panics.
struct End<G: FnOnce(&Thread)> {
    thread: Thread,
    finished: Option<G>,
}

impl<G: FnOnce(&Thread)> Drop for End<G> {
    fn drop(&mut self) {
        /// Even if a reason's drop handler panics.
        struct Finish<'a, G: FnOnce(&Thread)>(&'a mut End<G>);
        impl<G: FnOnce(&Thread)> Drop for Finish<'_, G> {
            fn drop(&mut self) {
                if let Some(finished) = self.0.finished.take() {
                    finished(&self.0.thread);
                }
            }
        }
        let finish = Finish(self);
        finish.0.thread.exit();
    }
}
