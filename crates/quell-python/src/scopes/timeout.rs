//! `quell.timeout`, the class: what people write, around a [`Scope`].

use std::ffi::CStr;
use std::mem::offset_of;
use std::sync::Arc;
use std::time::Instant;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::scope::{Limit, Phase, Scope, monotonic};
use crate::primitives::bound::{self, Bindings, Entry};
use crate::primitives::call::{self, Obj, Parameters, none, this, throw};

/// How many partials and methods around a function are looked through.
const DEEPEST: usize = 64;

/// A block of code, or a function, that is interrupted when its time is up.
///
///     with quell.timeout(5):
///         answer = compute()
///
///     @quell.timeout(5)
///     def compute(): ...
///
/// If the block has not ended after so many seconds it is interrupted wherever it is: in a loop, in a wait of quell, and in a
/// blocking call of the standard library, which in a thread other than the main one takes quell.patch(). Its handlers and finally
/// clauses run, and at its end quell.Timeout (a TimeoutError) is raised. Inside the block the exception is a BaseException that belongs to this timeout: except Exception lets it pass,
/// and an enclosing timeout's passes through an inner one.
///
/// Nothing is raised after the block has been left. If the block swallows the exception and goes on, it gets another one. timeout(None) never ends; timeout(0) ends at the first place inside
/// where an interrupt can be raised. Every block needs a timeout of its own; a decorated function gets a new one for each
/// call. Only functions can be decorated, not generator functions and coroutine functions, whose calls return at once.
///
/// While the thread holds a quell lock that it acquired outside of a try or with statement, or is in a shield, the timeout
/// waits for the end of that.
#[pyclass(frozen, weakref, module = "quell", name = "timeout")]
pub struct Timeout {
    scope: Arc<Scope>,
    bindings: Bindings,
}

impl Timeout {
    fn of(scope: Arc<Scope>) -> Self {
        Self { scope, bindings: Bindings::new() }
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        // Entered by hand and forgotten: nobody can leave it any more, so it must not go off.
        // SAFETY: the value of a Python object is dropped by its deallocator, attached.
        let py = unsafe { Python::assume_attached() };
        self.scope.abandon(py);
    }
}

/// The argument `seconds`.
pub(crate) fn limit(seconds: Option<&Bound<'_, PyAny>>) -> PyResult<Limit> {
    let Some(given) = seconds else { return Ok(Limit::Never) };
    match number(given, "seconds")? {
        s if s < 0.0 => Err(PyValueError::new_err(format!(
            "the seconds of a timeout must not be negative: {}; use 0 for a timeout that is over at once",
            given.repr()?
        ))),
        s => Ok(Limit::After(s)),
    }
}

fn number(given: &Bound<'_, PyAny>, what: &str) -> PyResult<f64> {
    let value: f64 = given.extract().map_err(|_| {
        PyTypeError::new_err(format!(
            "the {what} of a timeout must be a number or None, not {}",
            given.get_type().name().map_or_else(|_| "this".into(), |n| n.to_string())
        ))
    })?;
    if value.is_nan() {
        return Err(PyValueError::new_err(format!("the {what} of a timeout must not be NaN")));
    }
    Ok(value)
}

#[pymethods]
impl Timeout {
    #[new]
    #[pyo3(signature = (seconds))]
    fn new(seconds: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self::of(Scope::new(limit(seconds)?)))
    }

    /// Whether the time was up and the block was interrupted.
    #[getter]
    fn expired(&self, py: Python<'_>) -> bool {
        self.scope.expired(py)
    }

    /// When the block is to end, as a reading of time.monotonic(); None if never, or not entered yet.
    fn when(&self, py: Python<'_>) -> Option<f64> {
        match self.scope.limit(py) {
            Limit::At(when) => Some(when),
            _ => self.scope.deadline(py).map(|d| {
                let now = Instant::now();
                let left = d.saturating_duration_since(now).as_secs_f64();
                monotonic() + left - now.saturating_duration_since(d).as_secs_f64()
            }),
        }
    }

    /// End the block so many seconds from now instead; None means never.
    ///
    /// RuntimeError if the block has been left, or has already been interrupted.
    #[pyo3(signature = (seconds))]
    fn reschedule(&self, py: Python<'_>, seconds: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let limit = limit(seconds)?;
        self.scope.reschedule(py, limit)
    }

    /// A new timeout with the same limit.
    fn _copy(&self, py: Python<'_>) -> Self {
        Self::of(Scope::new(self.scope.limit(py)))
    }

    fn __call__(slf: &Bound<'_, Self>, function: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        refuse_suspendable(function)?;
        static DECORATE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let decorate = DECORATE.get_or_try_init(py, || {
            let code = pyo3::ffi::c_str!(include_str!("decorate.py"));
            let module = PyModule::from_code(py, code, c"quell/timeout.py", c"quell._decorate")?;
            Ok::<_, PyErr>(module.getattr("decorate")?.unbind())
        })?;
        decorate.call1(py, (function, slf))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let limit = match self.scope.limit(py) {
            Limit::Never => "None".into(),
            Limit::After(seconds) => format!("{seconds}"),
            Limit::At(when) => format!("at {when}"),
        };
        let phase = match self.scope.phase(py) {
            Phase::New => "not entered",
            Phase::Entered if self.scope.expired(py) => "expired",
            Phase::Entered => "entered",
            Phase::Left if self.scope.expired(py) => "expired, left",
            Phase::Left => "left",
        };
        format!("<quell.timeout({limit}): {phase}>")
    }
}

/// A decorated generator or coroutine function would leave its scope before its body has begun.
fn refuse_suspendable(function: &Bound<'_, PyAny>) -> PyResult<()> {
    if !function.is_callable() {
        return Err(PyTypeError::new_err(format!(
            "a timeout decorates a function, not {}; to limit a block, use it in a with statement",
            function.repr()?
        )));
    }
    let mut inner = function.clone();
    for _ in 0..DEEPEST {
        let Some(next) = ["__func__", "func"].iter().find_map(|name| inner.getattr(*name).ok())
        else {
            break;
        };
        inner = next;
    }
    let flags = inner.getattr("__code__").and_then(|code| code.getattr("co_flags"));
    let Ok(flags) = flags.and_then(|flags| flags.extract::<i32>()) else { return Ok(()) };
    let what = if flags & (ffi::CO_COROUTINE | ffi::CO_ITERABLE_COROUTINE) != 0 {
        "a coroutine function: use asyncio.timeout, or a"
    } else if flags & (ffi::CO_GENERATOR | ffi::CO_ASYNC_GENERATOR) != 0 {
        "a generator function: use a"
    } else {
        return Ok(());
    };
    Err(PyTypeError::new_err(format!(
        "quell.timeout cannot decorate {}: calling it only makes an object whose body runs later. It is {what} with \
         statement inside it",
        function.repr()?
    )))
}

impl Entry for Timeout {
    const BINDINGS: usize = offset_of!(Self, bindings);
    const ENTER: &CStr = c"__enter__($self, /)\n--\n\nStart the clock.";
    const EXIT: &CStr = c"__exit__($self, /, *exc_info)\n--\n\n\
        Stop the clock; raise quell.Timeout if the block was ended by it.";

    #[inline(always)]
    unsafe fn enter(slf: Obj) -> Obj {
        // SAFETY: the caller's promise.
        unsafe {
            match this::<Timeout>(slf).scope.enter(Python::assume_attached()) {
                Ok(()) => {
                    ffi::Py_INCREF(slf);
                    slf
                }
                Err(error) => throw(error),
            }
        }
    }

    #[inline(always)]
    unsafe fn exit(slf: Obj, args: *mut Obj, count: isize) -> Obj {
        // SAFETY: the caller's promise.
        unsafe {
            let py = Python::assume_attached();
            let scope = &this::<Timeout>(slf).scope;
            match scope.leave(py) {
                Ok(false) => none(),
                Ok(true) => {
                    let value = if count > 1 { *args.add(1) } else { ffi::Py_None() };
                    leave_fired(py, scope, &Bound::from_borrowed_ptr(py, value))
                }
                Err(error) => throw(error),
            }
        }
    }
}

#[cold]
fn leave_fired(py: Python<'_>, scope: &Scope, value: &Bound<'_, PyAny>) -> Obj {
    scope.take_back(py);
    // SAFETY: attached.
    unsafe {
        if value.is_none() {
            return none();
        }
        match scope.exit(py).translate(value) {
            Ok(None) => none(),
            Ok(Some(timeout)) => {
                // Restored as it is: raising it anew would make the private exception its context.
                PyErr::from_value(timeout).restore(py);
                std::ptr::null_mut()
            }
            Err(error) => throw(error),
        }
    }
}

/// `timeout(seconds)`, called with one positional number: what is written most.
unsafe extern "C" fn make(_class: Obj, args: *const Obj, count: usize, names: Obj) -> Obj {
    // SAFETY: called by the interpreter, attached, as a class is called.
    unsafe {
        let py = Python::assume_attached();
        let positional = count & !ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let result = parameters(py).bind(args, positional as isize, names).and_then(|[seconds]| {
            if seconds.is_null() {
                return Err(parameters(py).missing(0));
            }
            let seconds = Bound::from_borrowed_ptr(py, seconds);
            let scope = Scope::new(limit((!seconds.is_none()).then_some(&seconds))?);
            Bound::new(py, Timeout::of(scope))
        });
        match result {
            Ok(timeout) => timeout.into_ptr(),
            Err(error) => throw(error),
        }
    }
}

fn parameters(py: Python<'_>) -> &'static Parameters<1> {
    static PARAMETERS: std::sync::OnceLock<Parameters<1>> = std::sync::OnceLock::new();
    PARAMETERS.get_or_init(|| Parameters::new(py, "timeout", ["seconds"]))
}

/// As timeout(), with the moment at which it ends, a reading of time.monotonic(); None means never.
#[pyfunction]
#[pyo3(signature = (when))]
fn timeout_at(when: Option<&Bound<'_, PyAny>>) -> PyResult<Timeout> {
    let limit = match when {
        None => Limit::Never,
        Some(given) => Limit::At(number(given, "moment")?),
    };
    Ok(Timeout::of(Scope::new(limit)))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    crate::lazy::add_class::<Timeout>(module)?;
    call::install_constructor::<Timeout>(py, make);
    bound::install::<Timeout, Timeout>(py)?;
    module.add_function(wrap_pyfunction!(timeout_at, module)?)
}
