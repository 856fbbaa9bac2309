//! Primitives of the program that are held while a copy of the process is made, and forget in the child who waited.
//!
//! The list has one lock. Whoever forks takes it first and keeps it until the copy is made, so one thread at a time
//! waits for one of the primitives' own locks while it holds another; all others wait for one at most, for a few
//! instructions.

use super::install;
use crate::park::Short;
use crate::queue::{Kind, QueueOf};
use crate::sync::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, RawLock, RawRLock, Semaphore,
};
use crate::wait::Goal;
use std::sync::{Arc, Weak};

/// What can be [kept](keep) through a fork: the queues, every primitive of [`sync`](crate::sync), and what is made of
/// those, which passes each call on to all of its parts:
///
/// ```
/// use quell::fork::{self, Keep};
/// use quell::{Event, Queue};
/// use std::sync::Arc;
///
/// struct Service {
///     jobs: Queue<u32>,
///     ready: Event,
/// }
///
/// impl Keep for Service {
///     fn hold(&self) {
///         self.jobs.hold();
///         self.ready.hold();
///     }
///
///     unsafe fn release(&self) {
///         // SAFETY: they are held, as this is.
///         unsafe {
///             self.jobs.release();
///             self.ready.release();
///         }
///     }
///
///     fn forget_waiters(&self) {
///         self.jobs.forget_waiters();
///         self.ready.forget_waiters();
///     }
/// }
///
/// let service = Arc::new(Service { jobs: Queue::unbounded(), ready: Event::new() });
/// fork::keep(&service);
/// ```
///
/// The methods are called around a fork, and are not for other uses.
pub trait Keep: Send + Sync + 'static {
    /// Before a fork: waits until nobody is in the middle of changing it, and keeps it so.
    fn hold(&self);

    /// After a fork, in the parent and in the child: undoes [`hold`](Keep::hold).
    ///
    /// # Safety
    /// It is held, by this thread or by the one that it is a copy of.
    unsafe fn release(&self);

    /// In the child, after [`release`](Keep::release): forgets who waited.
    fn forget_waiters(&self);
}

/// What [`keep`] takes: an `Arc`, of which it holds on to a [`Weak`], or a reference that lives for ever.
pub struct Kept(Held);

enum Held {
    Shared(Weak<dyn Keep>),
    Static(&'static dyn Keep),
}

impl<K: Keep> From<&Arc<K>> for Kept {
    fn from(shared: &Arc<K>) -> Kept {
        let weak: Weak<K> = Arc::downgrade(shared);
        Kept(Held::Shared(weak))
    }
}

impl<K: Keep> From<&'static K> for Kept {
    fn from(lasting: &'static K) -> Kept {
        Kept(Held::Static(lasting))
    }
}

impl Kept {
    fn address(&self) -> usize {
        match &self.0 {
            Held::Shared(weak) => weak.as_ptr().addr(),
            Held::Static(lasting) => std::ptr::from_ref(*lasting).addr(),
        }
    }

    fn is_gone(&self) -> bool {
        matches!(&self.0, Held::Shared(weak) if weak.strong_count() == 0)
    }
}

/// The list.
struct List {
    kept: Vec<Kept>,
    /// Those of them that are held for a fork.
    held: Vec<Alive>,
}

/// One of them, for as long as it is held.
enum Alive {
    Shared(Arc<dyn Keep>),
    Static(&'static dyn Keep),
}

impl Alive {
    fn get(&self) -> &dyn Keep {
        match self {
            Alive::Shared(shared) => &**shared,
            Alive::Static(lasting) => *lasting,
        }
    }
}

static LIST: Short<List> = Short::new(List { kept: Vec::new(), held: Vec::new() });

/// From now on, every fork of this process waits until no other thread is in the middle of changing it (a few
/// instructions), and in the child it has forgotten who waited when `fork` returns. What another thread held stays held.
/// Keeping the same again changes nothing; of a shared one that is gone, nothing is left.
///
/// Needs `pthread_atfork`: a child that was made around libc is not helped. Does not block for longer than a fork takes.
///
/// ```
/// use quell::{Queue, fork};
/// use std::sync::Arc;
///
/// static LOG: Queue<String> = Queue::unbounded();
///
/// fork::keep(&LOG);
/// let jobs: Arc<Queue<u32>> = Arc::new(Queue::bounded(8));
/// fork::keep(&jobs);
/// ```
pub fn keep(what: impl Into<Kept>) {
    let what = what.into();
    install();
    let mut list = LIST.lock();
    let (gone, mut kept): (Vec<_>, Vec<_>) =
        std::mem::take(&mut list.kept).into_iter().partition(Kept::is_gone);
    let new = kept.iter().all(|other| other.address() != what.address());
    if new {
        kept.push(what);
    }
    list.kept = kept;
    drop(list);
    // Memory only; but outside the lock.
    drop(gone);
}

/// Before fork.
pub(super) fn hold() {
    let mut list = LIST.lock();
    let alive = |kept: &Kept| match &kept.0 {
        Held::Shared(weak) => weak.upgrade().map(Alive::Shared),
        Held::Static(lasting) => Some(Alive::Static(*lasting)),
    };
    list.held = list.kept.iter().filter_map(alive).collect();
    list.held.iter().for_each(|kept| kept.get().hold());
    std::mem::forget(list);
}

/// After fork, in the parent.
pub(super) fn release() {
    done(|_| ());
}

/// After fork, in the child.
pub(super) fn release_in_child() {
    done(Keep::forget_waiters);
}

fn done(then: impl Fn(&dyn Keep)) {
    // SAFETY: locked in `hold`, which has forgotten the guard.
    let mut list = unsafe { LIST.resume() };
    let held = std::mem::take(&mut list.held);
    for kept in &held {
        // SAFETY: held since `hold`.
        unsafe { kept.get().release() };
        then(kept.get());
    }
    drop(list);
    // Of one that was given up meanwhile, this is the last reference.
    drop(held);
}

impl<T: Send + 'static, K: Kind<T> + 'static> Keep for QueueOf<T, K> {
    fn hold(&self) {
        self.hold_for_fork();
    }

    unsafe fn release(&self) {
        // SAFETY: as the caller promises.
        unsafe { self.release_after_fork() };
    }

    fn forget_waiters(&self) {
        self.forget_waiters_after_fork();
    }
}

/// For what has one wait queue, which `$queue` finds.
macro_rules! keep_queue {
    ($([$($generic:tt)*] $Type:ty, $queue:expr;)*) => {$(
        impl $($generic)* Keep for $Type {
            fn hold(&self) {
                let queue: fn(&Self) -> &crate::wait::WaitQueue = $queue;
                queue(self).hold();
            }

            unsafe fn release(&self) {
                let queue: fn(&Self) -> &crate::wait::WaitQueue = $queue;
                queue(self).release();
            }

            fn forget_waiters(&self) {
                self.forget_waiters_after_fork();
            }
        }
    )*};
}

keep_queue! {
    [] RawLock, |lock| lock.queue();
    [] RawRLock, |lock| lock.raw().queue();
    [<T: Send + 'static>] Lock<T>, |lock| lock.raw().queue();
    [<T: Send + Sync + 'static>] RLock<T>, |lock| lock.raw().raw().queue();
    [] Condition, |condition| condition.queue();
    [] Event, |event| event.queue();
    [] Semaphore, |semaphore| semaphore.queue();
    [] BoundedSemaphore, |semaphore| semaphore.queue();
    [<A: Fn() + Send + Sync + 'static>] Barrier<A>, |barrier| barrier.queue();
}
