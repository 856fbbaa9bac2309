//! `python -m quell …` and the console script: the command inside the user's own interpreter.
//!
//! The script is run by the interpreter's own main program, `Py_RunMain`, a second time: its configuration is
//! changed to what it would have been for `python SCRIPT ARGS`, and `__main__` is made anew. So the script
//! meets what it would meet there, and what is printed about it is printed by the same code. No frame of quell's is
//! in a traceback, because tracebacks reach down to where `Py_RunMain` started the script; and none is on the
//! stack that the script sees, because the interpreter is made to forget the callers.
//!
//! CPython ends the process the same way from deep inside calls when it prints an unhandled SystemExit (`Py_Exit`): the
//! frames that are still on the stack are simply left.

use std::ffi::{OsString, c_int};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Instant;

use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyModule};

use super::FAILURE_STATUS;
use super::args::{self, Command, Plan, Target};
use super::watchdog;
use crate::cpython::thread::ThreadState;

/// Exports what `quell.__main__` calls.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.dict().set_item("_command", pyo3::wrap_pyfunction!(command, module.py())?)
}

/// The command `quell`, with `sys.argv`. Returns only by raising SystemExit.
#[pyfunction]
#[pyo3(name = "_command")]
fn command(py: Python<'_>) -> PyResult<()> {
    let started = Instant::now();
    let sys = py.import("sys")?;
    let fsencode = |text: Bound<'_, PyAny>| -> PyResult<OsString> {
        let encoding = sys.call_method0("getfilesystemencoding")?;
        let bytes = text.call_method1("encode", (encoding, "surrogateescape"))?;
        Ok(OsString::from_vec(bytes.cast::<PyBytes>()?.as_bytes().to_vec()))
    };
    let mut argv = Vec::new();
    for word in sys.getattr("argv")?.try_iter()?.skip(1) {
        argv.push(fsencode(word?)?);
    }
    let plan = match args::parse(argv) {
        Ok(Command::Run(plan)) => *plan,
        Ok(Command::Watch(orders)) => watchdog::watch(&orders),
        Ok(Command::Help(text)) => return leave(&sys, "stdout", text, 0),
        Ok(Command::Version) => return leave(&sys, "stdout", &super::version(), 0),
        Err(error) => return leave(&sys, "stderr", &format!("quell: {error}\n"), FAILURE_STATUS),
    };
    watchdog::set_relaunch(watchdog::Relaunch::module(
        fsencode(sys.getattr("executable")?).unwrap_or_default(),
        own_file(),
    ));
    if let Err(error) = super::begin(plan.clone(), started) {
        return leave(&sys, "stderr", &format!("quell: {error}\n"), FAILURE_STATUS);
    }
    if let Err(error) = super::ready(py) {
        return leave(&sys, "stderr", &format!("quell: {}\n", error.value(py)), FAILURE_STATUS);
    }
    let dropped_entry = !sys.getattr("flags")?.getattr("safe_path")?.is_truthy()?;
    if dropped_entry {
        // What `-m`, or the console script's own place, had put there.
        let path = sys.getattr("path")?;
        if path.len()? > 0 {
            path.del_item(0)?;
        }
    }
    fresh_main(py)?;
    configure(py, &plan, &sys)?;
    // What was needed to come here shall not bring the script's next collection nearer. That one can be seen: 3.12 collects in
    // `PyErr_CheckSignals`, also with an exception set, and then prints "Exception ignored in tp_clear".
    py.import("gc")?.call_method1("collect", (0,))?;
    if crate::cpython::layout::verify() {
        ThreadState::current().forget_callers();
    }
    // SAFETY: the interpreter runs, GIL held by this thread, which is the main one; the configuration is complete.
    let status = unsafe {
        #[cfg(Py_3_12)]
        _PyInterpreterState_SetNotRunningMain(ffi::PyInterpreterState_Get());
        ffi::Py_RunMain()
    };
    super::finished();
    // SAFETY: the interpreter is finalized; nothing of it is touched any more.
    unsafe { libc::exit(status) }
}

#[cfg(Py_3_12)]
unsafe extern "C" {
    /// Lets `Py_RunMain` run a main program again.
    fn _PyInterpreterState_SetNotRunningMain(interpreter: *mut ffi::PyInterpreterState);
}

unsafe extern "C" {
    /// The configuration of the current interpreter, which it owns.
    fn _Py_GetConfig() -> *mut ffi::PyConfig;
}

/// The extension's file.
fn own_file() -> OsString {
    // SAFETY: fills a structure on this stack; the name is a string of the loader's, and this library stays.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(own_file as *const libc::c_void, &raw mut found) == 0 {
            return OsString::new();
        }
        OsString::from_vec(std::ffi::CStr::from_ptr(found.dli_fname).to_bytes().to_vec())
    }
}

fn leave(sys: &Bound<'_, PyModule>, stream: &str, text: &str, status: c_int) -> PyResult<()> {
    sys.getattr(stream)?.call_method1("write", (text,))?;
    Err(PySystemExit::new_err(status))
}

/// A new `__main__`, as the interpreter makes it at its start.
fn fresh_main(py: Python<'_>) -> PyResult<()> {
    let main = PyModule::new(py, "__main__")?;
    let dict = main.dict();
    if cfg!(not(Py_3_14)) {
        dict.set_item("__annotations__", PyDict::new(py))?;
    }
    dict.set_item("__builtins__", py.import("builtins")?)?;
    let importer = py.import("_frozen_importlib")?.getattr("BuiltinImporter")?;
    dict.set_item("__loader__", importer)?;
    py.import("sys")?.getattr("modules")?.set_item("__main__", main)
}

/// Changes the interpreter's configuration, and `sys.argv`, to those of `python SCRIPT ARGS`.
fn configure(py: Python<'_>, plan: &Plan, sys: &Bound<'_, PyModule>) -> PyResult<()> {
    let (first, text) = match &plan.target {
        Target::Script(path) => (path.clone(), absolute(path)),
        Target::Module(name) => ("-m".into(), name.clone()),
        Target::Code(code) => {
            let mut code = code.clone();
            // As the interpreter's own option does.
            code.push("\n");
            ("-c".into(), code)
        }
        Target::Stdin => ("-".into(), OsString::new()),
    };
    let mut argv = vec![wide(py, &first)?];
    for word in &plan.args {
        argv.push(wide(py, word)?);
    }
    let mut items: Vec<*mut libc::wchar_t> = argv.iter_mut().map(|w| w.as_mut_ptr()).collect();
    let text = wide(py, &text)?;
    // SAFETY: GIL held. The configuration is the interpreter's and lives as long as it; the strings are copied.
    unsafe {
        let config = _Py_GetConfig();
        for (field, wanted) in [
            (&raw mut (*config).run_filename, matches!(plan.target, Target::Script(_))),
            (&raw mut (*config).run_module, matches!(plan.target, Target::Module(_))),
            (&raw mut (*config).run_command, matches!(plan.target, Target::Code(_))),
        ] {
            let value = if wanted { text.as_ptr() } else { std::ptr::null() };
            check(ffi::PyConfig_SetString(config, field, value))?;
        }
        check(ffi::PyConfig_SetWideStringList(
            config,
            &raw mut (*config).argv,
            items.len() as ffi::Py_ssize_t,
            items.as_mut_ptr(),
        ))?;
    }
    let words = PyList::empty(py);
    for word in std::iter::once(&first).chain(&plan.args) {
        words.append(word)?;
    }
    sys.setattr("argv", words)
}

/// A script's path as the interpreter keeps it: absolute, otherwise as written (`_Py_abspath`).
fn absolute(path: &OsString) -> OsString {
    let bytes = path.as_bytes();
    if bytes.first() == Some(&b'/') {
        return path.clone();
    }
    let Ok(here) = std::env::current_dir() else { return path.clone() };
    let mut whole = here.into_os_string();
    if bytes.is_empty() || bytes == b"." {
        return whole;
    }
    whole.push("/");
    whole.push(path);
    whole
}

/// A wide string as the interpreter decodes its command line, with the final zero.
fn wide(py: Python<'_>, text: &OsString) -> PyResult<Vec<libc::wchar_t>> {
    use pyo3::types::PyString;
    let text = text.as_os_str().into_pyobject(py)?;
    let text: &Bound<'_, PyString> = &text;
    let mut size = 0;
    // SAFETY: GIL held, a live str; the copy is freed below.
    unsafe {
        let copy = ffi::PyUnicode_AsWideCharString(text.as_ptr(), &raw mut size);
        if copy.is_null() {
            return Err(PyErr::fetch(py));
        }
        let wide = std::slice::from_raw_parts(copy, size as usize + 1).to_vec();
        ffi::PyMem_Free(copy.cast());
        Ok(wide)
    }
}

fn check(status: ffi::PyStatus) -> PyResult<()> {
    // SAFETY: only looks at the value.
    if unsafe { ffi::PyStatus_Exception(status) } != 0 {
        return Err(pyo3::exceptions::PyRuntimeError::new_err(
            "quell: the interpreter refused its new configuration",
        ));
    }
    Ok(())
}
