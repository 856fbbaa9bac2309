//! `os._exit` after a limit.
//!
//! It ends the process where it stands, and nothing of quell's would run any more. So the native function behind it is
//! quell's: in the process that owns the run, after a limit, it ends the children, writes the report and exits with the
//! limit's status. Before a limit, and in the script's forks, it is what it was.

use pyo3::ffi;
use pyo3::prelude::*;

use super::end::LIMIT_STATUS;
use super::finish;
use super::natives::{Native, Object, Ours, integer};
use super::session::Session;

static EXIT: Native = Native::new();

/// Stands in for `os._exit`. GIL held, before the script starts.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    EXIT.replace(&py.import("posix")?, "_exit", Ours::Keywords(exit))
}

unsafe extern "C" fn exit(
    module: Object,
    arguments: *mut Object,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    // SAFETY: called by the interpreter, GIL held.
    unsafe {
        if let Some(status) = status(arguments, count, names) {
            after_a_limit(status);
        }
        EXIT.keywords(module, arguments, count, names)
    }
}

/// The status, if the call is one that would not raise.
///
/// # Safety
/// GIL held, the arguments of a call.
unsafe fn status(arguments: *mut Object, count: ffi::Py_ssize_t, names: Object) -> Option<i32> {
    // SAFETY: the caller's; one argument, by position or under its name.
    unsafe {
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        let wanted = match named {
            0 => count == 1,
            1 => {
                count == 0 && {
                    let name = ffi::PyTuple_GET_ITEM(names, 0);
                    ffi::PyUnicode_CompareWithASCIIString(name, c"status".as_ptr()) == 0
                }
            }
            _ => false,
        };
        let value = if wanted { integer(arguments, 1, 0) } else { None };
        value.and_then(|value| i32::try_from(value).ok())
    }
}

/// Ends the process if it owns the run and a limit was reached; otherwise returns, with nothing of quell's on the terminal.
fn after_a_limit(status: i32) {
    let Some(session) = Session::current() else { return };
    if session.is_fork || session.pid != std::process::id() as i32 {
        return;
    }
    session.progress.hide();
    let Some(fired) = session.fired() else { return };
    session.facts().note(format!("the script left by os._exit({status})"));
    finish::conclude(session, fired);
    // SAFETY: ends the process without running anything of it any more, as the script wanted.
    unsafe { libc::_exit(LIMIT_STATUS) }
}
