//! The current thread's own state: what it is, its id, its masks.
//!
//! One thread-local of plain cells without a destructor, so that a fast path costs one access and no check; and one
//! with a destructor, which marks the end of a foreign thread.

use super::handle::{Thread, ThreadId};
use super::registry;
use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr;

/// The cells.
pub(crate) struct Local {
    /// The thread's handle, as `Thread::into_raw` made it; null before the first use. The reference it stands for is
    /// given up by `OnExit`.
    thread: Cell<*const ()>,
    /// The thread's id; 0 before the first use.
    id: Cell<u64>,
    mask: Cell<u32>,
    shield: Cell<u32>,
}

impl Local {
    const fn new() -> Local {
        Local {
            thread: Cell::new(ptr::null()),
            id: Cell::new(0),
            mask: Cell::new(0),
            shield: Cell::new(0),
        }
    }

    /// How many masks the thread is in.
    #[inline]
    pub(crate) fn mask(&self) -> u32 {
        self.mask.get()
    }

    /// How many shields the thread is in.
    #[inline]
    pub(crate) fn shield(&self) -> u32 {
        self.shield.get()
    }

    /// The thread is in so many from now on.
    #[inline]
    pub(crate) fn set_depths(&self, mask: u32, shield: u32) {
        self.mask.set(mask);
        self.shield.set(shield);
        self.show_depths();
    }

    /// Copies both to where others can see them.
    #[inline]
    fn show_depths(&self) {
        let raw = self.thread.get();
        if !raw.is_null() {
            // SAFETY: as in `registered`.
            let thread = ManuallyDrop::new(unsafe { Thread::from_raw(raw) });
            thread.show_depths(self.mask.get(), self.shield.get());
        }
    }
}

#[cfg(not(any(quell_loom, quell_shuttle)))]
thread_local! {
    static LOCAL: Local = const { Local::new() };
    static ON_EXIT: OnExit = const { OnExit };
}

#[cfg(quell_loom)]
loom::thread_local! {
    static LOCAL: Local = Local::new();
}

#[cfg(quell_shuttle)]
shuttle::thread_local! {
    static LOCAL: Local = Local::new();
}

/// The current thread's cells.
#[inline]
pub(crate) fn local<R>(f: impl FnOnce(&Local) -> R) -> R {
    LOCAL.with(f)
}

/// The current thread, if it is registered. Does not register it.
#[inline]
pub(crate) fn registered<R>(f: impl FnOnce(&Thread) -> R) -> Option<R> {
    let raw = local(|l| l.thread.get());
    if raw.is_null() {
        return None;
    }
    // SAFETY: the cell's reference is kept until the thread's thread-locals are destroyed; `ManuallyDrop` leaves it
    // alone.
    let thread = ManuallyDrop::new(unsafe { Thread::from_raw(raw) });
    Some(f(&thread))
}

/// Before fork, where a parker can be in the middle of something: the calling thread's, if it has one.
#[cfg(quell_parker_locks)]
pub(crate) fn hold_parker() -> Option<crate::park::Held<'static>> {
    registered(|thread| {
        let held = thread.parker().hold();
        // SAFETY: only the lifetime is changed. The thread's record lives until its thread-locals are destroyed, and this goes
        // into another of them, to be taken out when `fork` returns.
        unsafe { std::mem::transmute::<crate::park::Held<'_>, crate::park::Held<'static>>(held) }
    })
}

/// The current thread. A thread that quell does not know is registered by this.
///
/// ```
/// let me = quell::current();
/// assert!(me.is_alive());
/// assert_eq!(me, quell::current());
/// ```
pub fn current() -> Thread {
    match registered(Thread::clone) {
        Some(thread) => thread,
        None => register(),
    }
}

/// Whether the current thread is registered: whether it has run anything that needs to know who it is.
#[inline]
pub fn is_registered() -> bool {
    local(|l| !l.thread.get().is_null())
}

/// The current thread's id, as a number. Registers the thread.
#[inline]
pub(crate) fn current_id() -> u64 {
    match local(|l| l.id.get()) {
        0 => new_id(),
        id => id,
    }
}

#[cold]
fn new_id() -> u64 {
    current().id().get().get()
}

#[cold]
fn register() -> Thread {
    let earlier = local(|l| l.id.get());
    if let Some(id) = std::num::NonZeroU64::new(earlier) {
        return revive(ThreadId::from_number(id));
    }
    let thread = registry::register_foreign();
    attach(&thread);
    thread
}

/// The thread's thread-locals are being destroyed, and another destructor waits for something. It has ended and stays so,
/// but can still wait, under the id it had. This reference is never given up.
fn revive(id: ThreadId) -> Thread {
    let thread = Thread::with_id(id, None);
    thread.slot().close();
    set(&thread);
    thread
}

/// Makes `thread` the current thread's, for good.
pub(super) fn attach(thread: &Thread) {
    thread.attach_clock();
    set(thread);
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    if ON_EXIT.try_with(|_| ()).is_err() {
        // First used in another thread-local's destructor, after ours would have run.
        thread.exit();
    }
}

fn set(thread: &Thread) {
    let raw = thread.clone().into_raw();
    local(|l| {
        l.thread.set(raw);
        l.id.set(thread.id().get().get());
        l.show_depths();
    });
}

/// The current thread is already known under another handle.
#[derive(Debug)]
pub struct AlreadyRegistered {
    thread: Thread,
}

impl AlreadyRegistered {
    /// The handle it is known under.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }
}

impl fmt::Display for AlreadyRegistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the current thread is registered as {}: adopt a handle before its first use of quell",
            self.thread
        )
    }
}

impl std::error::Error for AlreadyRegistered {}

/// Takes over a handle that was made by [`Thread::unattached`]: from now on it is the current thread's, with
/// whatever is pending in it. Adopting one's own handle again does nothing.
///
/// ```
/// use quell::{Interrupt, Thread};
///
/// let handle = Thread::unattached(Some("late".into()));
/// handle.interrupt(Interrupt::new("before it began"));
/// std::thread::spawn(move || {
///     quell::adopt(&handle).unwrap();
///     assert!(quell::checkpoint().is_err());
/// })
/// .join()
/// .unwrap();
/// ```
///
/// A handle that was given up with [`mark_exited`](Thread::mark_exited) in the meantime is taken over all the same, and
/// stays ended: nobody can interrupt the thread.
///
/// # Errors
/// If the thread has used quell before, under another handle.
pub fn adopt(handle: &Thread) -> Result<(), AlreadyRegistered> {
    if let Some(thread) = registered(Thread::clone) {
        return if thread == *handle { Ok(()) } else { Err(AlreadyRegistered { thread }) };
    }
    attach(handle);
    Ok(())
}

/// Its destructor runs at the end of every registered thread.
#[cfg(not(any(quell_loom, quell_shuttle)))]
struct OnExit;

#[cfg(not(any(quell_loom, quell_shuttle)))]
impl Drop for OnExit {
    fn drop(&mut self) {
        end();
    }
}

/// In a model, the cells' own destructor runs at the end of a thread.
#[cfg(any(quell_loom, quell_shuttle))]
impl Drop for Local {
    fn drop(&mut self) {
        let raw = self.thread.replace(ptr::null());
        if !raw.is_null() {
            // SAFETY: the cell's own reference, given up here.
            drop(unsafe { Thread::from_raw(raw) });
        }
    }
}

/// The current thread ends. It can be called early (a spawned thread whose function has returned) and again.
#[cfg(not(any(quell_loom, quell_shuttle)))]
fn end() {
    // The handle stays current while it is closed: drop handlers of what is pending may use quell.
    if let Some(thread) = registered(Thread::clone) {
        thread.exit();
    }
    let raw = local(|l| l.thread.replace(ptr::null()));
    if !raw.is_null() {
        // SAFETY: the cell's own reference, given up here.
        drop(unsafe { Thread::from_raw(raw) });
    }
}
