//! The functions of the package that send interrupts, and the receipt they return.

use pyo3::exceptions::{PyKeyboardInterrupt, PyLookupError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt};
use quell::{Outcome, Receipt};

use crate::delivery::want::{Kind, What};
use crate::delivery::{self, Options, Target};
use crate::lazy::Part;
use crate::primitives::wait::{Patience, block_for};

/// What became of an interrupt: returned by interrupt() and interrupt_main().
///
/// Every interrupt ends in exactly one way, and its state then never changes again.
///
///     delivery = quell.interrupt(thread)
///     if not delivery.wait(1) and delivery.withdraw():
///         print("it was not to be reached within a second, and will not be interrupted any more")
#[pyclass(frozen, weakref, module = "quell", name = "Delivery")]
pub struct Delivery(Receipt);

#[pymethods]
impl Delivery {
    /// 'pending': not delivered yet.
    /// 'delivered': it was raised in the target.
    /// 'withdrawn': it was taken back, and will never be raised.
    /// 'target exited': the thread ended first.
    #[getter]
    fn state(&self) -> &'static str {
        match self.0.state() {
            Outcome::Delivered => "delivered",
            Outcome::Withdrawn => "withdrawn",
            Outcome::TargetExited => "target exited",
            _ => "pending",
        }
    }

    /// Block until the interrupt has ended one way or another, and return True; False if it has not within `timeout` seconds.
    ///
    /// An interruption point of the thread that waits.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        if self.0.state() != Outcome::Pending {
            return Ok(true);
        }
        let timeout = timeout.map_or(std::ptr::null_mut(), |given| given.as_ptr());
        // SAFETY: attached; an argument of the running call, or null.
        let patience = unsafe { Patience::of_wait(timeout) }?;
        let what = What::value(Kind::Delivery, self);
        let waited =
            block_for(py, &self.0, what, patience.deadline(), |wait| self.0.wait_with(wait));
        Ok(waited?.is_some())
    }

    /// Take the interrupt back. True: it was still pending, and will never be raised. False: it has already ended, as `state`
    /// says.
    fn withdraw(&self) -> bool {
        self.0.withdraw()
    }

    fn __repr__(&self) -> String {
        format!("<quell.Delivery: {}>", self.state())
    }
}

/// Raise an exception in another thread.
///
///     delivery = quell.interrupt(thread)            # quell.Interrupt
///     quell.interrupt(thread, ValueError("enough"))
///
/// `thread` is a threading.Thread or an ident as threading.get_ident() returns it; `exc` is an exception class or instance,
/// quell.Interrupt unless given. Does not wait for the delivery: the returned Delivery tells.
///
/// The interrupt is raised where the target can handle it: in a wait of quell, or between two instructions of its Python
/// code, but not in a finally clause, not in a context manager's enter or exit, not before a try or with that comes next, and not
/// where a lock of quell would be left held; then after that. Several interrupts of one thread are raised in the order they were sent.
///
/// force=True does without the politeness: it may cut finally clauses, too. impersonate=True also reaches a thread other than the
/// main one in a blocking call of the standard library, by lending it the main thread's identity for a moment; for programs that
/// own their process, as signal handlers of Python may then run in that thread.
///
/// A thread that waits in a blocking call of the standard library is reached if it is the main one, or after quell.patch(); otherwise
/// the interrupt is raised when the call returns. Not an interruption point, unless the thread interrupts itself.
///
/// Raises LookupError if there is no such running thread, RuntimeError if the Thread was never started, TypeError if
/// `exc` is no exception.
#[pyfunction]
#[pyo3(signature = (thread, exc=None, *, force=false, impersonate=false))]
fn interrupt(
    py: Python<'_>,
    thread: &Bound<'_, PyAny>,
    exc: Option<&Bound<'_, PyAny>>,
    force: bool,
    impersonate: bool,
) -> PyResult<Delivery> {
    let default = crate::exceptions::interrupt_type(py).as_any();
    let exc = exc.unwrap_or(default);
    let target = target(thread)?;
    delivery::interrupt(py, &target, exc, Options { force, impersonate, ..Options::default() })
        .map(Delivery)
}

/// Raise an exception in the main thread: KeyboardInterrupt unless given. As interrupt() otherwise.
///
/// Unlike _thread.interrupt_main() it does not pretend a signal, takes any exception, and returns a Delivery.
#[pyfunction]
#[pyo3(signature = (exc=None, *, force=false))]
fn interrupt_main(
    py: Python<'_>,
    exc: Option<&Bound<'_, PyAny>>,
    force: bool,
) -> PyResult<Delivery> {
    let default = py.get_type::<PyKeyboardInterrupt>();
    let exc = exc.unwrap_or(default.as_any());
    let target = delivery::main_target(py)?;
    delivery::interrupt(py, &target, exc, Options { force, ..Options::default() }).map(Delivery)
}

/// Raise an exception in the thread with this ident, as PyThreadState_SetAsyncExc() does; None takes back everything that is
/// pending there. Returns how many threads were modified: 1, or 0 if no running thread has the ident.
#[pyfunction]
#[pyo3(signature = (ident, exc, /))]
fn set_async_exc(
    py: Python<'_>,
    ident: &Bound<'_, PyAny>,
    exc: Option<&Bound<'_, PyAny>>,
) -> PyResult<usize> {
    let target = match target(ident) {
        Ok(target) => target,
        Err(error) if error.is_instance_of::<PyLookupError>(py) => {
            // A mistake in the exception is reported all the same.
            return exc.map_or(Ok(0), |exc| check_exception(exc).map(|()| 0));
        }
        Err(error) => return Err(error),
    };
    match exc {
        Some(exc) => {
            delivery::interrupt(py, &target, exc, Options::default())?;
        }
        None => {
            delivery::withdraw_all(py, &target);
        }
    }
    Ok(1)
}

/// An interruption point: raise an interrupt that is pending for the calling thread, unless a mask or shield holds, or
/// locks are held whose release would be skipped.
///
/// For long computations in code that otherwise does not let interrupts in. Does not block.
///
///     finally:
///         for piece in pieces:
///             quell.checkpoint()  # this cleanup may be cut short, between two pieces
///             put_back(piece)
#[pyfunction]
fn checkpoint(py: Python<'_>) -> PyResult<()> {
    delivery::checkpoint(py)
}

fn check_exception(exc: &Bound<'_, PyAny>) -> PyResult<()> {
    let base = exc.py().get_type::<pyo3::exceptions::PyBaseException>();
    let is_class =
        exc.cast::<pyo3::types::PyType>().is_ok_and(|c| c.is_subclass(&base).unwrap_or(false));
    if is_class || exc.is_instance(&base)? {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!(
        "an interrupt must be an exception class or instance, not {}",
        exc.repr()?
    )))
}

/// The running thread that a threading.Thread or an ident names.
fn target(thread: &Bound<'_, PyAny>) -> PyResult<Target> {
    let py = thread.py();
    if let Ok(ident) = thread.cast::<PyInt>() {
        let ident = ident.extract::<u64>().map_err(|_| no_thread(ident.as_any()))?;
        return delivery::target_by_ident(py, ident);
    }
    let wrong = || {
        PyTypeError::new_err(format!(
            "a thread to interrupt is a threading.Thread or its ident, not {}",
            thread.repr().map_or_else(|_| thread.get_type().to_string(), |r| r.to_string())
        ))
    };
    let threading = py.import("threading")?;
    if !thread.is_instance(&threading.getattr("Thread")?)? {
        return Err(wrong());
    }
    let ident = thread.getattr("ident")?;
    if ident.is_none() {
        return Err(PyRuntimeError::new_err(format!(
            "{} has not been started: there is nothing to interrupt",
            thread.repr()?
        )));
    }
    let target = delivery::target_by_ident(py, ident.extract()?).map_err(|_| ended(thread))?;
    // The ident may already be another thread's. The module's tables say whose it is: a thread leaves them before it
    // leaves the interpreter, and nothing runs between this look and the one above. Until a moment after `start()` has
    // returned, a thread is in the table of those that are being started.
    let table = |name| Ok::<_, PyErr>(threading.getattr(name)?.cast_into::<PyDict>()?);
    match table("_active")?.get_item(&ident)? {
        Some(holder) if holder.is(thread) => Ok(target),
        _ if table("_limbo")?.contains(thread)? => Ok(target),
        _ => Err(ended(thread)),
    }
}

fn no_thread(ident: &Bound<'_, PyAny>) -> PyErr {
    PyLookupError::new_err(format!("no running Python thread has the ident {ident}"))
}

fn ended(thread: &Bound<'_, PyAny>) -> PyErr {
    let name = thread.repr().map_or_else(|_| "the thread".into(), |r| r.to_string());
    PyLookupError::new_err(format!("{name} has ended: there is nothing to interrupt"))
}

/// Exports of this file.
pub(crate) static PARTS: [Part; 1] = [Part::new(
    &["Delivery", "interrupt", "interrupt_main", "set_async_exc", "checkpoint"],
    register,
)];

fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<Delivery>(module)?;
    module.add_function(wrap_pyfunction!(interrupt, module)?)?;
    module.add_function(wrap_pyfunction!(interrupt_main, module)?)?;
    module.add_function(wrap_pyfunction!(set_async_exc, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint, module)?)
}
