//! Waiting in [line](super::line) as a patched call: with the GIL released, until told, until the deadline, or until an interrupt is
//! raised.

use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyBool;
use quell::Event;
use quell::wait::WaitError;

use super::call::Call;
use super::line::{self, Ended, Line, Waits};
use super::table::SITES;
use super::wait::Listens;
use crate::cpython::thread::ThreadState;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::want::{self, MayFail, What};
use crate::primitives::call::Obj;

static LINE: GilCell<Line> = GilCell::new(Line::new());

/// See [`Line::is_empty`].
#[inline]
pub(super) fn nobody_waits(py: Python<'_>) -> bool {
    LINE.with(py, |line| line.is_empty())
}

pub(super) fn with<R>(py: Python<'_>, f: impl FnOnce(&mut Line) -> R) -> R {
    LINE.with(py, f)
}

/// What is waited for, by whom, and who tells.
pub(super) struct Wanted {
    /// A live object, which the caller keeps.
    pub(super) object: Obj,
    /// As what it is shown to who looks, if it is.
    pub(super) what: Option<What>,
    pub(super) deadline: Option<Instant>,
    /// The calls that tell, by what users call them.
    pub(super) tellers: &'static [&'static str],
}

impl Wanted {
    /// Leaves the rest of the wait to the original, whose first arguments are whether to wait, and for how long.
    pub(super) fn wait_in_original(&self, py: Python<'_>, call: &Call) -> PyResult<Obj> {
        let Some(deadline) = self.deadline else { return Ok(call.original()) };
        let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
        let (yes, left) = (PyBool::new(py, true), left.into_pyobject(py)?);
        call.original_with(py, &[yes.as_ptr(), left.as_ptr()])
    }
}

/// Waits until `look` finds something, or until it is given: then the answer of `given`.
pub(super) fn wait<T>(
    py: Python<'_>,
    wanted: &Wanted,
    look: impl FnMut() -> PyResult<Option<T>>,
    given: impl FnMut() -> T,
) -> PyResult<Ended<T>> {
    let listens = Listens::begin(py);
    let thread = ThreadState::current().ident();
    line::wait(&mut Waiter { py, wanted, listens, look, given }, wanted.object as usize, thread)
}

struct Waiter<'a, 'py, L, G> {
    py: Python<'py>,
    wanted: &'a Wanted,
    listens: Listens<'py>,
    look: L,
    given: G,
}

impl<T, L: FnMut() -> PyResult<Option<T>>, G: FnMut() -> T> Waits for Waiter<'_, '_, L, G> {
    type Item = T;
    type Error = PyErr;

    fn with<R>(&self, f: impl FnOnce(&mut Line) -> R) -> R {
        LINE.with(self.py, f)
    }

    fn is_told(&self) -> bool {
        let tells = |name| SITES.iter().any(|site| site.name == name && site.is_replaced());
        self.wanted.tellers.iter().all(|name| tells(*name))
    }

    fn look(&mut self) -> PyResult<Option<T>> {
        (self.look)()
    }

    fn given(&mut self) -> T {
        (self.given)()
    }

    fn sleep(&mut self, told: &Event) -> Result<(), WaitError> {
        let wait = self.listens.wait(self.wanted.deadline);
        let sleep = || told.wait_with(&wait);
        match self.wanted.what {
            Some(what) => {
                want::begin(self.py, what, &wait, MayFail::No, want::next_number());
                let slept = self.py.detach(sleep);
                drop(want::end(self.py));
                slept
            }
            None => self.py.detach(sleep),
        }
    }

    fn stopped(&mut self) -> PyResult<()> {
        self.listens.look(self.py)
    }
}
