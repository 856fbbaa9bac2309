//! `Thread.join` from 3.13 on, where it does not wait for a lock any more.
//!
//! A thread's handle waits in the interpreter's own way, which nothing ends. So a thread that is started tells when it is about to end:
//! what it is to run is wrapped, and the wrapper sets an event as its last act. A join waits for that, and then the original
//! for what little is left. A thread that was started before is looked at now and then.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use quell::Event;
use quell::wait::WaitError;

use super::call::Call;
use super::wait::method;
use super::watched::Watched;
use crate::cpython::thread::ThreadState;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::want::What;
use crate::native::hanging_at_the_end;
use crate::primitives::call::Obj;
use crate::primitives::wait::after;

/// The threads that will tell, by `threading.get_ident()`.
static RUNNING: GilCell<Option<HashMap<u64, Arc<Event>>>> = GilCell::new(None);

/// What a thread is to run, and a word at its end.
#[pyclass(frozen, module = "quell._quell")]
struct Told(Py<PyAny>);

#[pymethods]
impl Told {
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        struct Last<'py>(Python<'py>, u64, Arc<Event>);
        impl Drop for Last<'_> {
            fn drop(&mut self) {
                RUNNING.with(self.0, |all| all.as_mut().and_then(|all| all.remove(&self.1)));
                self.2.set();
            }
        }
        let (ident, over) = (ThreadState::current().ident(), Arc::new(Event::new()));
        RUNNING.with(py, |all| all.get_or_insert_default().insert(ident, over.clone()));
        let _last = Last(py, ident, over);
        let (function, args) = (self.0.as_ptr(), args.as_ptr());
        let kwargs = kwargs.map_or(std::ptr::null_mut(), |kwargs| kwargs.as_ptr());
        type Calls = unsafe extern "C-unwind" fn(Obj, Obj, Obj) -> Obj;
        // Looked at twice, or the compiler knows it for the function that PyO3 declares as one that does not unwind.
        let calls = std::hint::black_box(ffi::PyObject_Call as *mut ());
        // SAFETY: as its declaration but for the unwinding, live objects, and the answer is a new reference. All that the thread
        // ever does is done in here.
        unsafe {
            let calls = std::mem::transmute::<*mut (), Calls>(calls);
            let answer = hanging_at_the_end(|| calls(function, args, kwargs));
            Bound::from_owned_ptr_or_err(py, answer).map(Bound::unbind)
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.0.bind(py).repr()?.to_string())
    }
}

/// `_thread.start_joinable_thread(function, handle=None, daemon=True)`, in every thread.
pub(super) fn start(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([function, handle, daemon]) = call.bind([c"function", c"handle", c"daemon"]) else {
        return Ok(call.original());
    };
    // SAFETY: a live object or null.
    let callable = unsafe { Bound::<PyAny>::from_borrowed_ptr_or_opt(py, function) };
    let Some(callable) = callable.filter(Bound::<PyAny>::is_callable) else {
        return Ok(call.original());
    };
    let told = Bound::new(py, Told(callable.unbind()))?;
    let (none, yes) = (py.None(), pyo3::types::PyBool::new(py, true));
    let handle = if handle.is_null() { none.as_ptr() } else { handle };
    let daemon = if daemon.is_null() { yes.as_ptr() } else { daemon };
    call.original_with(py, &[told.as_ptr(), handle, daemon])
}

/// `_ThreadHandle.join(timeout=None)`.
pub(super) fn join(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([timeout]) = call.bind([c"timeout"]) else { return Ok(call.original()) };
    // SAFETY: a live object or null.
    let timeout = unsafe { Bound::<PyAny>::from_borrowed_ptr_or_opt(py, timeout) };
    let deadline = match timeout.filter(|t| !t.is_none()).map(|t| t.extract::<f64>()) {
        None => None,
        // A negative time is for ever, and so is what the clock does not reach.
        Some(Ok(seconds)) if seconds < 0.0 => None,
        Some(Ok(seconds)) if seconds > 0.0 && seconds < 1e9 => after(seconds),
        Some(_) => return Ok(call.original()),
    };
    let ident: u64 = method_ident(py, call.slf)?;
    if ident == ThreadState::current().ident() || ident == 0 {
        return Ok(call.original());
    }
    let end = AtomicU64::new(ThreadState::with_ident(ident).map_or(0, ThreadState::id));
    let mut watched = Watched::begin(py, What::end(&end), deadline);
    let mut pause = Duration::from_millis(1);
    loop {
        if method(py, call.slf, "is_done")?.is_truthy()? {
            return Ok(call.original());
        }
        let over = RUNNING.with(py, |all| all.as_ref()?.get(&ident).cloned());
        let told = over.is_some();
        let over = over.unwrap_or_default();
        let until = if told {
            deadline
        } else {
            let next = Instant::now() + pause;
            pause = (pause * 2).min(Duration::from_millis(20));
            Some(deadline.map_or(next, |deadline| deadline.min(next)))
        };
        match watched.sleep(until, |wait| over.wait_with(wait))? {
            // Its last instructions.
            Ok(()) => return Ok(call.original()),
            Err(WaitError::TimedOut) if told || deadline.is_some_and(|d| d <= Instant::now()) => {
                let now = pyo3::types::PyInt::new(py, 0);
                return call.original_with(py, &[now.as_ptr()]);
            }
            Err(WaitError::TimedOut | WaitError::Deadlock(_)) => {}
            Err(WaitError::Signalled | WaitError::Interrupted(_)) => watched.stopped()?,
        }
    }
}

fn method_ident(py: Python<'_>, handle: Obj) -> PyResult<u64> {
    // SAFETY: a live object.
    unsafe { Bound::<PyAny>::from_borrowed_ptr(py, handle) }.getattr("ident")?.extract()
}

/// In the child of a fork only the calling thread runs.
pub(super) fn after_fork(py: Python<'_>) {
    let me = ThreadState::current().ident();
    let gone = RUNNING.with(py, |all| {
        let all = all.as_mut()?;
        let mine = all.remove(&me);
        let gone = std::mem::take(all);
        if let Some(mine) = mine {
            all.insert(me, mine);
        }
        Some(gone)
    });
    std::mem::forget(gone);
}
