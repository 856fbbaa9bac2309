//! `input` at a terminal.
//!
//! Elsewhere it reads `sys.stdin`, which is reached as any file is. At a terminal the C library reads the line, and nothing ends
//! that: so here the prompt is written as it would be, and the original is called when there is a line to read. With the module
//! `readline` loaded the line is edited as it is typed, which cannot be waited for beforehand: then the original is all there is.

use std::ffi::c_int;

use pyo3::prelude::*;

use super::call::Call;
use super::wait::ready;
use crate::primitives::call::Obj;

/// `input(prompt='')`.
pub(super) fn input(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let sys = py.import("sys")?;
    let edited = sys.getattr("modules")?.contains("readline")?;
    if edited || !terminal(&sys, "stdin", 0) || !terminal(&sys, "stdout", 1) {
        return Ok(call.original());
    }
    let prompt = match call.positional() {
        [] => String::new(),
        // SAFETY: a live argument.
        [prompt] => unsafe { Bound::<PyAny>::from_borrowed_ptr(py, *prompt) }.str()?.to_string(),
        _ => return Ok(call.original()),
    };
    for stream in ["stderr", "stdout"] {
        sys.getattr(stream)?.call_method0("flush")?;
    }
    let bytes = prompt.as_bytes();
    // SAFETY: bytes and their length. To standard error, as there.
    let _ = unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
    ready(py, 0, libc::POLLIN, None)?;
    call.original_with(py, &[])
}

/// Whether a standard stream is the terminal that it was at the start.
fn terminal(sys: &Bound<'_, PyModule>, name: &str, number: c_int) -> bool {
    let fd = sys
        .getattr(name)
        .and_then(|stream| stream.call_method0("fileno"))
        .and_then(|fd| fd.extract::<c_int>());
    // SAFETY: asks about a descriptor.
    fd.is_ok_and(|fd| fd == number) && unsafe { libc::isatty(number) } == 1
}
