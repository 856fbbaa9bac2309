//! Names of locks, for who reads reports. A lock is sixteen bytes and has no room for one; so they stand beside, by
//! address.

use super::graph::GRAPH;
use crate::sync::{Lock, RLock, RawLock, RawRLock};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// The names.
pub(super) struct Names(BTreeMap<usize, Arc<str>>);

impl Names {
    pub(super) const fn new() -> Names {
        Names(BTreeMap::new())
    }

    pub(super) fn get(&self, address: usize) -> Option<Arc<str>> {
        self.0.get(&address).cloned()
    }
}

/// What can have a name in reports of deadlocks: [`Lock`], [`RLock`], [`RawLock`], [`RawRLock`].
pub trait Named: Sealed {}

impl<N: Sealed + ?Sized> Named for N {}

/// Implemented here only.
pub trait Sealed {
    #[doc(hidden)]
    fn lock(&self) -> &RawLock;
}

impl Sealed for RawLock {
    fn lock(&self) -> &RawLock {
        self
    }
}

impl Sealed for RawRLock {
    fn lock(&self) -> &RawLock {
        self.raw()
    }
}

impl<T: ?Sized> Sealed for Lock<T> {
    fn lock(&self) -> &RawLock {
        self.raw()
    }
}

impl<T: ?Sized> Sealed for RLock<T> {
    fn lock(&self) -> &RawLock {
        self.raw().raw()
    }
}

/// Gives a lock a name, by which [`waits`](super::waits) and a [`Deadlock`](super::Deadlock) call it, as long as the answer
/// lives; [`keep`](Name::keep) is for locks that stay where they are. A second name replaces the first.
///
/// ```
/// use quell::Lock;
/// use quell::deadlock::{Detection, name, set_detection};
///
/// static ACCOUNTS: Lock<Vec<u32>> = Lock::new(Vec::new());
///
/// name(&ACCOUNTS, "accounts").keep();
/// set_detection(Detection::Fail);
/// let _held = ACCOUNTS.lock().unwrap();
/// let deadlock = ACCOUNTS.lock().unwrap_err().to_string();
/// assert!(deadlock.contains("lock \"accounts\""), "{deadlock}");
/// # set_detection(Detection::Off);
/// ```
pub fn name<'a>(lock: &'a (impl Named + ?Sized), name: &str) -> Name<'a> {
    let address = std::ptr::from_ref(lock.lock()).addr();
    let replaced = GRAPH.lock().names.0.insert(address, Arc::from(name));
    drop(replaced);
    Name { address, lock: PhantomData }
}

/// The name of a lock; see [`name`]. It ends with this.
#[must_use = "the name ends when this is dropped"]
#[derive(Debug)]
pub struct Name<'a> {
    address: usize,
    lock: PhantomData<&'a RawLock>,
}

impl Name<'_> {
    /// Keeps the name, which stays with the lock's place in memory: for locks in a `static`. Of another, it is taken
    /// away by the next [`name`] for the same place that is dropped.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Name<'_> {
    fn drop(&mut self) {
        let name = GRAPH.lock().names.0.remove(&self.address);
        drop(name);
    }
}
