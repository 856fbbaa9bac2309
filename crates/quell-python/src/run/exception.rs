//! The exceptions that a run raises.

use std::time::Duration;

use pyo3::exceptions::{PyBaseException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use super::args::ExceptionName;
use super::limits::{Kind, Reached};
use crate::exceptions;

/// The exception to raise, and what went wrong if it is not the one asked for.
///
/// # Errors
/// Only without memory.
pub(super) fn make<'py>(
    py: Python<'py>,
    asked: Option<&ExceptionName>,
    reached: &Reached,
) -> PyResult<(Bound<'py, PyAny>, Option<String>)> {
    let kind = reached.kind();
    let own = match kind {
        Kind::Time => exceptions::time_limit_type(py),
        Kind::Cpu => exceptions::cpu_limit_type(py),
        Kind::Memory => exceptions::memory_limit_type(py),
    };
    let Some(name) = asked else { return Ok((instance(own, reached)?, None)) };
    match find(py, name).and_then(|class| instance(&class, reached)) {
        Ok(made) => Ok((made, None)),
        Err(error) => {
            let error = error.value(py);
            let note =
                format!("{name} could not be raised ({error}): quell.{} instead", kind.exception());
            Ok((instance(own, reached)?, Some(note)))
        }
    }
}

/// Looks for a built-in exception that the user named, before the script starts. Others may be the script's own: they are
/// looked for when they are wanted, and not imported for it a moment too early.
///
/// # Errors
/// When there is no such exception.
pub(super) fn check(py: Python<'_>, asked: Option<&ExceptionName>) -> PyResult<()> {
    match asked.filter(|name| name.module == "builtins") {
        None => Ok(()),
        Some(name) => find(py, name).map(drop).map_err(|error| {
            PyValueError::new_err(format!(
                "--exception {name}: {}; wanted is a built-in exception such as KeyboardInterrupt, or \
                 package.module:Class",
                error.value(py)
            ))
        }),
    }
}

/// Finds a class by name. Modules that the program has imported are not imported again.
///
/// # Errors
/// What the import raised, or that it is no exception.
fn find<'py>(py: Python<'py>, name: &ExceptionName) -> PyResult<Bound<'py, PyType>> {
    let modules = py.import("sys")?.getattr("modules")?;
    let mut found = match modules.cast::<PyDict>()?.get_item(&name.module)? {
        Some(module) => module,
        None => py.import(name.module.as_str())?.into_any(),
    };
    for part in name.class.split('.') {
        found = found.getattr(part)?;
    }
    match found.cast_into::<PyType>() {
        Ok(class) if class.is_subclass_of::<PyBaseException>()? => Ok(class),
        _ => Err(PyTypeError::new_err(format!("{name} is not an exception class"))),
    }
}

/// The name of a class as tracebacks show it.
pub(super) fn name(class: &Bound<'_, PyType>) -> String {
    let text = |name: &str| class.getattr(name).and_then(|n| n.extract::<String>());
    let qualified = text("__qualname__").unwrap_or_else(|_| "?".to_owned());
    match text("__module__") {
        Ok(module) if module != "builtins" && module != "__main__" => {
            format!("{module}.{qualified}")
        }
        _ => qualified,
    }
}

/// A new exception that says what was reached. One that takes no message is made without.
///
/// # Errors
/// When the class cannot be called either way.
fn instance<'py>(class: &Bound<'py, PyType>, reached: &Reached) -> PyResult<Bound<'py, PyAny>> {
    let made = class.call1((reached.to_string(),)).or_else(|_| class.call0())?;
    let seconds = |d: Duration| d.as_secs_f64();
    // A class without room for attributes is raised without them.
    let _ = match *reached {
        Reached::Time { limit, used } | Reached::Cpu { limit, used } => {
            made.setattr("limit", seconds(limit)).and_then(|()| made.setattr("used", seconds(used)))
        }
        Reached::Memory { limit, used } => {
            made.setattr("limit", limit).and_then(|()| made.setattr("used", used))
        }
    };
    Ok(made)
}
