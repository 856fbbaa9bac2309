//! Putting and getting where it is not done at once; and how a queue is opened.

use pyo3::intern;
use pyo3::prelude::*;

use super::Queue;
use super::open::{Open, Overrides};
use super::refusal::Refusal;
use crate::primitives::items::{get_slow, put_slow};
use crate::primitives::wait::Patience;

/// The operations of any queue, with the queue as an object: its class may have methods of its own.
pub(super) trait Operations {
    fn put_object(&self, item: Py<PyAny>, patience: Patience) -> PyResult<()>;
    fn get_object(&self, patience: Patience) -> PyResult<Py<PyAny>>;

    /// Goes on after a put that did not succeed at once.
    fn put_refused(&self, item: Py<PyAny>, refusal: Refusal, patience: Patience) -> PyResult<()>;
    /// Goes on after a get that did not succeed at once.
    fn get_refused(&self, refusal: Refusal, patience: Patience) -> PyResult<Py<PyAny>>;

    /// The open queue; if it was not one, it becomes one.
    fn opened(&self) -> PyResult<&Open>;
}

impl Operations for Bound<'_, Queue> {
    fn put_object(&self, item: Py<PyAny>, patience: Patience) -> PyResult<()> {
        let tried = match self.get().lean.items() {
            Some(items) => items.try_put(item),
            None => Err((item, Refusal::ShutDown)),
        };
        match tried {
            Ok(()) => Ok(()),
            Err((item, refusal)) => self.put_refused(item, refusal, patience),
        }
    }

    fn get_object(&self, patience: Patience) -> PyResult<Py<PyAny>> {
        match self.get().lean.items().map_or(Err(Refusal::ShutDown), |items| items.try_get()) {
            Ok(item) => Ok(item),
            Err(refusal) => self.get_refused(refusal, patience),
        }
    }

    #[cold]
    #[inline(never)]
    fn put_refused(
        &self,
        mut item: Py<PyAny>,
        mut refusal: Refusal,
        patience: Patience,
    ) -> PyResult<()> {
        let (py, this) = (self.py(), self.get());
        let patience = patience.started();
        if let (Refusal::Full, Some(items)) = (refusal, this.lean.items()) {
            match put_slow(py, items, self.as_ptr(), item, patience)? {
                Ok(()) => return Ok(()),
                Err((back, why)) => (item, refusal) = (back, why),
            }
        }
        match this.open.get() {
            // A retired queue is shut down for everybody.
            Some(open) if refusal == Refusal::ShutDown => open.put(self, item.bind(py), patience),
            _ => Err(refusal.error(py)),
        }
    }

    #[cold]
    #[inline(never)]
    fn get_refused(&self, mut refusal: Refusal, patience: Patience) -> PyResult<Py<PyAny>> {
        let (py, this) = (self.py(), self.get());
        let patience = patience.started();
        if let (Refusal::Empty, Some(items)) = (refusal, this.lean.items()) {
            match get_slow(py, items, self.as_ptr(), patience)? {
                Ok(item) => return Ok(item),
                Err(why) => refusal = why,
            }
        }
        match this.open.get() {
            Some(open) if refusal == Refusal::ShutDown => {
                open.get(self, patience).map(Bound::unbind)
            }
            _ => Err(refusal.error(py)),
        }
    }

    fn opened(&self) -> PyResult<&Open> {
        let (py, this) = (self.py(), self.get());
        if let Some(open) = this.open.get() {
            return Ok(open);
        }
        // What may fail, or run code that looks in here as well, comes first.
        let new = Open::new(py, this.order, Overrides::default())?;
        let container = new.empty_container(py)?;
        let append = container.bind(py).getattr(intern!(py, "append"))?;
        new.set_container(py, container);
        let raw = &new.mutex.clone_ref(py);
        raw.get().raw.try_lock(py);
        let ours = this.open.set(Box::new(new)).is_ok();
        let open = this.open.get().expect("it is set, by whomever");
        let inherited = if ours { open.inherit(&append, this.lean.retire()) } else { Ok(()) };
        raw.get().raw.unlock(py);
        inherited.map(|()| &**open)
    }
}
