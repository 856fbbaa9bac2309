//! Waiting in [line](super::line) as a patched call: with the GIL released, until told, until the deadline, or until an interrupt is
//! raised.

use std::sync::OnceLock;
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyBool;
use quell::Event;
use quell::wait::WaitError;

use super::call::Call;
use super::line::{self, Ended, Line, Waits};
use super::site::Site;
use super::table::SITES;
use super::watched::Watched;
use crate::cpython::thread::ThreadState;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::want::{Kind, What};
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

/// The calls that end a wait.
pub(super) struct Tellers {
    /// What users call them.
    names: &'static [&'static str],
    sites: OnceLock<Vec<&'static Site>>,
}

impl Tellers {
    pub(super) const fn new(names: &'static [&'static str]) -> Tellers {
        Tellers { names, sites: OnceLock::new() }
    }

    /// Whether all of them tell. With the GIL.
    pub(super) fn tell(&self) -> bool {
        // Keeps the GIL, so nobody is ever waited for.
        let sites = self.sites.get_or_init(|| {
            let named = |name: &&str| SITES.iter().find(|site| site.name == *name).copied();
            self.names.iter().filter_map(named).collect()
        });
        sites.len() == self.names.len() && sites.iter().all(|site| site.is_replaced())
    }
}

/// What is waited for, by whom, and who tells.
pub(super) struct Wanted {
    pub(super) kind: Kind,
    /// A live object, which the caller keeps.
    pub(super) object: Obj,
    pub(super) deadline: Option<Instant>,
    pub(super) tellers: &'static Tellers,
}

impl Wanted {
    /// Waits until `look` finds something, or until it is given: then the answer of `given`.
    pub(super) fn wait<T>(
        &self,
        py: Python<'_>,
        look: impl FnMut() -> PyResult<Option<T>>,
        given: impl FnMut() -> T,
    ) -> PyResult<Ended<T>> {
        self.wait_as(Watched::begin(py, self.what(), self.deadline), py, look, given)
    }

    /// The same, and ends in no other way, but that nobody would tell.
    pub(super) fn insist<T>(
        &self,
        py: Python<'_>,
        look: impl FnMut() -> PyResult<Option<T>>,
        given: impl FnMut() -> T,
    ) -> PyResult<Ended<T>> {
        self.wait_as(Watched::insist(py, self.what()), py, look, given)
    }

    fn what(&self) -> What {
        What::object(self.kind, self.object)
    }

    fn wait_as<T>(
        &self,
        watched: Watched<'_>,
        py: Python<'_>,
        look: impl FnMut() -> PyResult<Option<T>>,
        given: impl FnMut() -> T,
    ) -> PyResult<Ended<T>> {
        let mut waiter = Waiter { py, tellers: self.tellers, watched, look, given };
        line::wait(&mut waiter, self.object as usize, ThreadState::current().ident())
    }

    /// Leaves the rest of the wait to the original, whose first arguments are whether to wait, and for how long.
    pub(super) fn wait_in_original(&self, py: Python<'_>, call: &Call) -> PyResult<Obj> {
        let Some(deadline) = self.deadline else { return Ok(call.original()) };
        let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
        let (yes, left) = (PyBool::new(py, true), left.into_pyobject(py)?);
        call.original_with(py, &[yes.as_ptr(), left.as_ptr()])
    }
}

struct Waiter<'py, L, G> {
    py: Python<'py>,
    tellers: &'static Tellers,
    watched: Watched<'py>,
    look: L,
    given: G,
}

impl<T, L: FnMut() -> PyResult<Option<T>>, G: FnMut() -> T> Waits for Waiter<'_, L, G> {
    type Item = T;
    type Error = PyErr;

    fn with<R>(&self, f: impl FnOnce(&mut Line) -> R) -> R {
        LINE.with(self.py, f)
    }

    fn prepare(&mut self) -> PyResult<()> {
        self.watched.look()
    }

    fn is_told(&self) -> bool {
        self.tellers.tell()
    }

    fn look(&mut self) -> PyResult<Option<T>> {
        (self.look)()
    }

    fn given(&mut self) -> T {
        (self.given)()
    }

    fn sleep(&mut self, told: &Event) -> Result<(), WaitError> {
        self.watched.sleep_now(None, |wait| told.wait_with(wait))
    }

    fn stopped(&mut self) -> PyResult<()> {
        self.watched.stopped()
    }
}
