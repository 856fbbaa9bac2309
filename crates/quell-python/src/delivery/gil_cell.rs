//! State that the GIL guards.

use std::cell::RefCell;

use pyo3::Python;

/// A cell that may be used by whoever holds the GIL.
///
/// Not for builds without the GIL: the module declares that it needs it.
pub(crate) struct GilCell<T>(RefCell<T>);

// SAFETY: every access goes through a `Python` token, so it happens with the GIL held and accesses of different
// threads are ordered by it. The `RefCell` catches a second access from inside the first one.
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// The value of a cell that nobody else can see.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// Runs `f` on the value. `f` must not release the GIL: nothing in it may run Python code.
    #[inline]
    pub(crate) fn with<R>(&self, _py: Python<'_>, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.borrow_mut())
    }
}
