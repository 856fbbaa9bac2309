//! Starts the interpreter as `python` starts it, and lets it run its main program.

use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::{HostError, package};

/// Runs `python words[1..]` in this process; returns its exit status.
pub(crate) fn run(python: &Path, words: &[OsString]) -> Result<i32, HostError> {
    restore_signals();
    package::install();
    initialize(python, words)?;
    Python::attach(_quell::run::ready)
        .map_err(|error| HostError(Python::attach(|py| error.value(py).to_string())))?;
    // SAFETY: the interpreter is initialized, and this is the thread that did it.
    let status = unsafe { ffi::Py_RunMain() };
    _quell::run::finished();
    Ok(status)
}

/// Rust's runtime has handlers for a stack overflow; a script must find the signals as they were.
fn restore_signals() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: replaces a handler by the default action; no other thread depends on it.
        unsafe {
            let mut now: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut now);
            if now.sa_sigaction != libc::SIG_IGN {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}

fn c_string(text: &std::ffi::OsStr) -> Result<CString, HostError> {
    CString::new(text.as_bytes()).map_err(|_| HostError(format!("{text:?} contains a zero byte")))
}

/// The steps of CPython's own `main`: configuration from the environment and the command line.
fn initialize(python: &Path, words: &[OsString]) -> Result<(), HostError> {
    let executable = c_string(python.as_os_str())?;
    let words: Vec<CString> = words.iter().map(|w| c_string(w)).collect::<Result<_, _>>()?;
    let mut pointers: Vec<_> = words.iter().map(|w| w.as_ptr()).collect();
    // SAFETY: the interpreter does not run yet and no other thread uses it; the structures are initialized by the
    // calls made for that; all strings are copied before they end.
    unsafe {
        let mut before: ffi::PyPreConfig = std::mem::zeroed();
        ffi::PyPreConfig_InitPythonConfig(&raw mut before);
        check(ffi::Py_PreInitialize(&raw const before))?;

        let mut config: ffi::PyConfig = std::mem::zeroed();
        ffi::PyConfig_InitPythonConfig(&raw mut config);
        let done = (|| {
            for field in [&raw mut config.program_name, &raw mut config.executable] {
                check(ffi::PyConfig_SetBytesString(&raw mut config, field, executable.as_ptr()))?;
            }
            config.parse_argv = 1;
            check(ffi::PyConfig_SetBytesArgv(
                &raw mut config,
                pointers.len() as ffi::Py_ssize_t,
                pointers.as_mut_ptr(),
            ))?;
            check(ffi::Py_InitializeFromConfig(&raw const config))
        })();
        ffi::PyConfig_Clear(&raw mut config);
        done
    }
}

fn check(status: ffi::PyStatus) -> Result<(), HostError> {
    // SAFETY: looks at the value; its message is a static string.
    unsafe {
        if ffi::PyStatus_Exception(status) == 0 {
            return Ok(());
        }
        if ffi::PyStatus_IsExit(status) != 0 {
            // What python would print has been printed.
            libc::exit(status.exitcode);
        }
        let message = if status.err_msg.is_null() {
            "unknown error".into()
        } else {
            CStr::from_ptr(status.err_msg).to_string_lossy()
        };
        Err(HostError(format!("the interpreter did not start: {message}")))
    }
}
