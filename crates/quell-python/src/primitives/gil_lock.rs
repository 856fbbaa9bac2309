//! The lock inside a Python object, whose outer lock is the GIL: taken and freed without an atomic operation while nobody waits
//! for it. See [`InnerLock`].

use std::time::Instant;

use pyo3::prelude::*;
use quell::sync::InnerLock;

use super::wait::{Waitable, block, insist};

/// An [`InnerLock`] under the GIL.
#[derive(Default)]
pub(super) struct GilLock(InnerLock);

impl GilLock {
    /// Takes it if it is free.
    #[inline(always)]
    pub(super) fn try_lock(&self, _py: Python<'_>) -> bool {
        // SAFETY: attached: the GIL is this thread's, as in every method with a `Python`.
        unsafe { self.0.try_lock() }
    }

    /// Takes it if it is free and nobody waits for it. False also where it would take a look at more than that.
    #[inline(always)]
    pub(super) fn try_lock_at_once(&self, _py: Python<'_>) -> bool {
        // SAFETY: as above.
        unsafe { self.0.try_lock_at_once() }
    }

    /// Frees it, which somebody has taken.
    #[inline(always)]
    pub(super) fn unlock(&self, _py: Python<'_>) {
        // SAFETY: as above.
        unsafe { self.0.unlock() };
    }

    /// Waits for it, with the GIL released. Object: whose it is. None: the deadline passed.
    pub(super) fn wait(
        &self,
        py: Python<'_>,
        object: &dyn Waitable,
        deadline: Option<Instant>,
    ) -> PyResult<Option<()>> {
        // SAFETY: as above.
        let outside = unsafe { self.0.go_outside() };
        let ended = block(py, object, deadline, |wait| outside.lock_with(wait));
        // SAFETY: attached again.
        unsafe { outside.come_back() };
        ended
    }

    /// Takes it, however long that takes, and whatever is pending.
    pub(super) fn insist(&self, py: Python<'_>, object: &dyn Waitable) {
        if self.try_lock(py) {
            return;
        }
        // SAFETY: as above.
        let outside = unsafe { self.0.go_outside() };
        insist(py, object, |wait| outside.lock_with(wait));
        // SAFETY: attached again.
        unsafe { outside.come_back() };
    }

    /// Takes it as a task: awaited in an [`Operation`](super::awaiting::Operation), which is polled and dropped as any Python object
    /// is used, attached.
    pub(super) async fn lock_as_task(&self) {
        // SAFETY: as the caller awaits it.
        unsafe { self.0.lock_async() }.await;
    }

    #[inline(always)]
    pub(super) fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// In the child of a fork: free.
    pub(super) fn reset_after_fork(&self) {
        self.0.reset_after_fork();
    }

    /// In the child of a fork: nobody waits.
    pub(super) fn forget_waiters_after_fork(&self) {
        self.0.forget_waiters_after_fork();
    }
}
