//! What travels as the reason of the core's interrupt: the exception instance and when it may be raised.

use std::sync::Arc;

use pyo3::prelude::*;

use super::gil_cell::GilCell;

/// A last look by the target itself, right before it raises.
///
/// A timeout that was entered in a generator uses this: its exception must not be raised in the code that the
/// generator is suspended for (PEP 789 describes the trap).
pub trait Admit: Send + Sync {
    /// Whether the calling thread may raise the exception where it is. On false the interrupt is dropped; whoever sent
    /// it sends it again. Must neither run Python code nor release the GIL.
    fn admit(&self, py: Python<'_>) -> bool;
}

/// The reason of an interrupt sent from Python.
pub(crate) struct Reason {
    /// Given away at delivery, so that nothing here keeps the exception and its frames alive.
    exception: GilCell<Option<Py<PyAny>>>,
    admit: Option<Arc<dyn Admit>>,
}

impl Drop for Reason {
    fn drop(&mut self) {
        // A thread's pending interrupts are dropped when the thread ends, the main thread's by `exit`, when there is no
        // interpreter left to give anything back to.
        // SAFETY: may be called at any time, from any thread.
        if unsafe { pyo3::ffi::Py_IsInitialized() } == 0 {
            std::mem::forget(self.exception.get_mut().take());
            std::mem::forget(self.admit.take());
        }
    }
}

impl Reason {
    pub(super) fn new(exception: Bound<'_, PyAny>, admit: Option<Arc<dyn Admit>>) -> Self {
        Self { exception: GilCell::new(Some(exception.unbind())), admit }
    }

    pub(super) fn take(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.exception.with(py, Option::take)
    }

    pub(super) fn put_back(&self, py: Python<'_>, exception: Py<PyAny>) {
        self.exception.with(py, |slot| *slot = Some(exception));
    }

    /// The name of the exception's class.
    pub(crate) fn name(&self, py: Python<'_>) -> Option<String> {
        self.exception.with(py, |slot| {
            let class = slot.as_ref()?.bind(py).get_type();
            // SAFETY: a live type, whose name lives as long; of one that was made in Python, without its module.
            let name = unsafe { std::ffi::CStr::from_ptr((*class.as_type_ptr()).tp_name) };
            let name = name.to_string_lossy();
            Some(name.rsplit('.').next().unwrap_or_default().to_owned())
        })
    }

    pub(super) fn is_admitted(&self, py: Python<'_>) -> bool {
        self.admit.as_ref().is_none_or(|a| a.admit(py))
    }
}
