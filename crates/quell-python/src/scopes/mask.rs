//! `quell.mask()` and `quell.shield()`: regions of code that interrupts do not enter.
//!
//! The depth that counts is the core's, one per thread and kind. An object of these classes only pairs an enter with its
//! exit: it remembers in which thread it was entered and how often, so that an exit elsewhere is an error instead
//! of a mask that is never lifted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::cpython::thread::ThreadState;
use crate::delivery;
use crate::primitives::call::{self, Method, Obj, none, this, throw};

/// Which thread is inside, as `PyThreadState.id` plus one, and how often. All accesses are made with the GIL.
struct Inside {
    thread: AtomicU64,
    depth: AtomicU64,
}

impl Inside {
    const fn new() -> Self {
        Self { thread: AtomicU64::new(0), depth: AtomicU64::new(0) }
    }

    #[inline(always)]
    fn enter(&self, what: &'static str) -> PyResult<()> {
        let me = ThreadState::current().id() + 1;
        // Relaxed throughout: the GIL orders the accesses.
        let thread = self.thread.load(Relaxed);
        if thread != me {
            if thread != 0 {
                return Err(elsewhere(what, "entered"));
            }
            self.thread.store(me, Relaxed);
        }
        self.depth.store(self.depth.load(Relaxed) + 1, Relaxed);
        Ok(())
    }

    #[inline(always)]
    fn exit(&self, what: &'static str) -> PyResult<()> {
        if self.thread.load(Relaxed) != ThreadState::current().id() + 1 {
            return Err(elsewhere(what, "left"));
        }
        let depth = self.depth.load(Relaxed) - 1;
        self.depth.store(depth, Relaxed);
        if depth == 0 {
            self.thread.store(0, Relaxed);
        }
        Ok(())
    }
}

#[cold]
fn elsewhere(what: &str, done: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "this {what} cannot be {done} here: it was not entered in this thread, or another thread is inside"
    ))
}

/// mask()
/// --
///
/// A region in which interrupts are raised only where the thread blocks.
///
/// Use it in a with statement, around code that must not be cut between two steps. What arrives inside and does not
/// find the thread waiting is raised when the outermost mask is left. Masks nest, and are per thread.
///
///     with quell.mask():
///         item = queue.get()      # may be interrupted while it waits
///         table[item.key] = item  # not between the two
#[pyclass(frozen, module = "quell", name = "mask")]
pub struct Mask(Inside);

/// shield()
/// --
///
/// A region in which no interrupt is raised, not even where the thread blocks.
///
/// Use it in a with statement, for cleanup that waits for something and must not be given up. What arrives inside is raised
/// when the outermost shield is left. Shields nest, and are per thread.
#[pyclass(frozen, module = "quell", name = "shield")]
pub struct Shield(Inside);

macro_rules! region {
    ($Class:ident, $module:ident, $name:literal, $enter:path, $leave:path) => {
        #[pymethods]
        impl $Class {
            #[new]
            fn new() -> Self {
                Self(Inside::new())
            }
        }

        mod $module {
            use super::*;

            pub(super) unsafe extern "C" fn enter(slf: Obj, _: Obj) -> Obj {
                // SAFETY: called by the method descriptor, attached, with an instance of the class.
                unsafe {
                    if let Err(error) = this::<$Class>(slf).0.enter($name) {
                        return throw(error);
                    }
                    $enter();
                    none()
                }
            }

            pub(super) unsafe extern "C" fn exit(slf: Obj, _: *mut Obj, _: isize) -> Obj {
                // SAFETY: as for `enter`.
                unsafe {
                    if let Err(error) = this::<$Class>(slf).0.exit($name) {
                        return throw(error);
                    }
                    $leave();
                    match delivery::checkpoint(Python::assume_attached()) {
                        Ok(()) => none(),
                        Err(error) => throw(error),
                    }
                }
            }
        }
    };
}

region!(Mask, masked, "mask", quell::enter_mask, quell::leave_mask);
region!(Shield, shielded, "shield", quell::enter_shield, quell::leave_shield);

const ENTER: &std::ffi::CStr = c"__enter__($self, /)\n--\n\nEnter the region.";
const EXIT: &std::ffi::CStr = c"__exit__($self, /, *exc_info)\n--\n\n\
    Leave the region. Leaving the outermost one is an interruption point: what arrived inside is raised.";

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    const MASK: &[Method] = &[
        call::plain(c"__enter__", masked::enter, ENTER),
        call::positional(c"__exit__", masked::exit, EXIT),
    ];
    const SHIELD: &[Method] = &[
        call::plain(c"__enter__", shielded::enter, ENTER),
        call::positional(c"__exit__", shielded::exit, EXIT),
    ];
    module.add_class::<Mask>()?;
    module.add_class::<Shield>()?;
    call::install::<Mask>(module.py(), MASK)?;
    call::install::<Shield>(module.py(), SHIELD)
}
