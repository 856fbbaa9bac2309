//! `_multiprocessing.SemLock`, under the locks, queues and events of `multiprocessing`.
//!
//! The original keeps count of who has it. So the waiting ends with the permit in hand, which is put back, and the original takes it,
//! with the GIL held; should another process be faster, it begins again.

use pyo3::prelude::*;
use pyo3::types::PyBool;
use quell::CallError;
use quell::syscall::CSemaphore;

use super::call::Call;
use super::site::loaded;
use super::wait::Listens;
use crate::primitives::call::Obj;
use crate::primitives::wait::Patience;

/// `SemLock.acquire(block=True, timeout=None)`.
pub(super) fn acquire(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let Some([block, timeout]) = call.bind([c"block", c"timeout"]) else {
        return Ok(call.original());
    };
    // SAFETY: attached, and arguments of the running call, or null.
    let patience = match unsafe { Patience::of_queue(block, timeout) } {
        Ok(Patience::Try) | Err(_) => return Ok(call.original()),
        Ok(patience) => patience,
    };
    let no = PyBool::new(py, false);
    wait(py, call, patience, || call.original_with(py, &[no.as_ptr()]))
}

/// `SemLock.__enter__()`.
pub(super) fn enter(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    // SAFETY: a live object.
    let object = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, call.slf) };
    let acquire = object.getattr("acquire")?;
    wait(py, call, Patience::Forever, || Ok(acquire.call1((false,))?.into_ptr()))
}

fn wait(
    py: Python<'_>,
    call: &Call,
    patience: Patience,
    attempt: impl Fn() -> PyResult<Obj>,
) -> PyResult<Obj> {
    let deadline = patience.deadline();
    let handle: usize = {
        // SAFETY: a live object.
        let object = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, call.slf) };
        object.getattr("handle")?.extract()?
    };
    // SAFETY: the semaphore of a live object, which the caller keeps.
    let semaphore = unsafe { CSemaphore::at(handle as *const libc::sem_t) };
    let mut listens = Listens::begin(py);
    loop {
        let answer = attempt()?;
        if is_final(py, answer)? {
            return Ok(answer);
        }
        let wait = listens.wait(deadline);
        match py.detach(|| semaphore.wait(&wait)) {
            Ok(()) => {
                // SAFETY: as above.
                unsafe { libc::sem_post(handle as *mut libc::sem_t) };
            }
            // False, as it was.
            Err(CallError::TimedOut) => return attempt(),
            Err(CallError::Os(error)) => return Err(error.into()),
            Err(CallError::Signalled | CallError::Interrupted(_)) => {
                let answer = attempt()?;
                if is_final(py, answer)? {
                    return Ok(answer);
                }
                listens.look(py)?;
            }
        }
    }
}

/// Whether an attempt has taken it, or failed for good. If not, the answer is gone.
fn is_final(py: Python<'_>, answer: Obj) -> PyResult<bool> {
    // SAFETY: a new reference, or null with an error set.
    let answer = unsafe { Bound::<PyAny>::from_owned_ptr_or_opt(py, answer) };
    let Some(answer) = answer else { return Ok(true) };
    let is_final = answer.is_truthy()?;
    if is_final {
        // The caller's again.
        let _ = answer.into_ptr();
    }
    Ok(is_final)
}

/// Whether its attributes are there. (What a semaphore is, is known from elsewhere.)
pub(super) fn verify(py: Python<'_>) -> PyResult<bool> {
    let Some(module) = loaded(py, c"_multiprocessing") else { return Ok(true) };
    module.getattr("SemLock")?.hasattr("handle")
}
