//! The threads that are alive, by id; and which one is the main thread.

use super::handle::{Thread, ThreadId};
use crate::interrupt::{Interrupt, Receipt};
use crate::park::Short;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// The threads.
struct Registry {
    alive: BTreeMap<ThreadId, Thread>,
    /// Those that have ended, and have not told everybody yet. In the child of a fork they never will.
    ending: BTreeMap<ThreadId, Thread>,
    main: Option<Thread>,
}

impl Registry {
    const fn new() -> Registry {
        Registry { alive: BTreeMap::new(), ending: BTreeMap::new(), main: None }
    }
}

#[cfg(not(any(quell_loom, quell_shuttle)))]
static REGISTRY: Short<Registry> = Short::new(Registry::new());

// In a model every execution starts with an empty registry.
#[cfg(quell_loom)]
loom::lazy_static! {
    static ref REGISTRY: Short<Registry> = Short::new(Registry::new());
}
#[cfg(quell_shuttle)]
shuttle::lazy_static! {
    static ref REGISTRY: Short<Registry> = Short::new(Registry::new());
}

/// Adds a thread. Models go without: the registry takes no part in a protocol and would only multiply their states.
pub(super) fn add(thread: &Thread) {
    if cfg!(any(quell_loom, quell_shuttle)) {
        return;
    }
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    crate::fork::install();
    let replaced = REGISTRY.lock().alive.insert(thread.id(), thread.clone());
    debug_assert!(replaced.is_none(), "an id is used once");
}

/// Removes a thread that has ended, and is about to tell those who ask. Again: nothing, and false.
pub(super) fn remove(thread: &Thread) -> bool {
    if cfg!(any(quell_loom, quell_shuttle)) {
        return false;
    }
    let mut registry = REGISTRY.lock();
    let removed = registry.alive.remove(&thread.id());
    let is_ending = removed.is_some();
    registry.ending.extend(removed.map(|thread| (thread.id(), thread)));
    is_ending
}

/// A thread that was [removed](remove) has told everybody.
pub(super) fn forget(thread: &Thread) {
    let gone = REGISTRY.lock().ending.remove(&thread.id());
    // Dropped after the lock was released.
    drop(gone);
}

/// Registers the current thread, which nobody had registered before.
pub(super) fn register_foreign() -> Thread {
    if is_process_main() {
        return main();
    }
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    let name = std::thread::current().name().map(str::to_owned);
    #[cfg(any(quell_loom, quell_shuttle))]
    let name = None;
    Thread::unattached(name)
}

/// The main thread of the process: the one that `main` runs in.
///
/// It need not have used quell yet. Where the system does not tell which thread that is, it is the one that called this
/// first.
pub fn main() -> Thread {
    if let Some(main) = &REGISTRY.lock().main {
        return main.clone();
    }
    // Made outside the lock; whoever comes first wins.
    let candidate = Thread::new(Some("main".to_owned()));
    #[cfg(not(any(quell_loom, quell_shuttle)))]
    crate::fork::install();
    let mut registry = REGISTRY.lock();
    if let Some(main) = &registry.main {
        return main.clone();
    }
    registry.main = Some(candidate.clone());
    registry.alive.insert(candidate.id(), candidate.clone());
    candidate
}

/// The living thread with this id. `None`: it has ended, or there never was one.
pub fn lookup(id: ThreadId) -> Option<Thread> {
    REGISTRY.lock().alive.get(&id).cloned()
}

/// The living thread that holds locks under this number; a later one, if several have it.
pub(crate) fn lookup_number(number: u32) -> Option<Thread> {
    let registry = REGISTRY.lock();
    let last = registry.alive.last_key_value()?.0.get().get();
    let ids = crate::deadlock::with_number(number, last).filter_map(NonZeroU64::new);
    ids.filter_map(|id| registry.alive.get(&ThreadId::from_number(id)).cloned()).last()
}

/// All living threads that are registered, oldest first.
pub fn enumerate() -> Vec<Thread> {
    REGISTRY.lock().alive.values().cloned().collect()
}

/// Interrupts the main thread. As [`main`]`().interrupt(Interrupt::new(reason))`.
pub fn interrupt_main<R: std::any::Any + Send + Sync>(reason: R) -> Receipt {
    main().interrupt(Interrupt::new(reason))
}

/// Interrupts a thread by its id, or, with `None`, takes back all that is pending in it. Says how many threads that
/// concerned: 1, or 0 if no living thread has the id.
///
/// The safe form of CPython's `PyThreadState_SetAsyncExc`: ids are never reused, so it is never more than one, and
/// never a stranger.
pub fn set_async_exc(id: ThreadId, interrupt: Option<Interrupt>) -> usize {
    let Some(thread) = lookup(id) else { return 0 };
    match interrupt {
        Some(interrupt) => {
            thread.interrupt(interrupt);
        }
        None => {
            thread.withdraw_all();
        }
    }
    1
}

#[cfg(all(target_os = "linux", not(any(quell_loom, quell_shuttle))))]
fn is_process_main() -> bool {
    // SAFETY: neither call can fail.
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}

#[cfg(all(target_vendor = "apple", not(any(quell_loom, quell_shuttle))))]
fn is_process_main() -> bool {
    // SAFETY: the call cannot fail.
    unsafe { libc::pthread_main_np() == 1 }
}

#[cfg(not(any(
    all(target_os = "linux", not(any(quell_loom, quell_shuttle))),
    all(target_vendor = "apple", not(any(quell_loom, quell_shuttle)))
)))]
fn is_process_main() -> bool {
    false
}

/// Before fork: holds the registry and every slot, so that the child finds them whole. Senders hold one slot's lock at
/// most and nothing else, so this waits a moment only.
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) fn hold_all() {
    REGISTRY.raw().lock();
    // SAFETY: we hold the lock.
    let registry = unsafe { REGISTRY.held() };
    for thread in registry.alive.values().chain(registry.ending.values()) {
        thread.slot().raw().lock();
    }
}

/// After fork, in both processes: undoes [`hold_all`].
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) fn release_all() {
    // SAFETY: we hold the lock since `hold_all`.
    let registry = unsafe { REGISTRY.held() };
    for thread in registry.alive.values().chain(registry.ending.values()) {
        thread.slot().raw().unlock();
    }
    REGISTRY.raw().unlock();
}

/// In the child of a fork: the current thread, if it is registered, is alone, and is the main thread. The others
/// have ended, those included that were about to.
#[cfg(not(any(quell_loom, quell_shuttle)))]
pub(crate) fn after_fork() {
    let me = super::registered(Thread::clone);
    let mut registry = REGISTRY.lock();
    let known = registry.alive.values().chain(registry.ending.values());
    let others: Vec<Thread> = known.filter(|t| Some(*t) != me.as_ref()).cloned().collect();
    for thread in &others {
        registry.alive.remove(&thread.id());
        registry.ending.remove(&thread.id());
    }
    registry.main.clone_from(&me);
    drop(registry);
    if let Some(me) = me {
        me.keep_after_fork();
    }
    for thread in others {
        thread.exit_after_fork();
    }
}
