//! Why nothing was put or taken, and the exceptions that say so.
//!
//! They are the standard library's own, found when one is raised for the first time: importing its module costs more than
//! importing this package.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// Why nothing was put or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::primitives) enum Refusal {
    Full,
    Empty,
    ShutDown,
}

impl Refusal {
    #[cold]
    pub(in crate::primitives) fn error(self, py: Python<'_>) -> PyErr {
        let name = match self {
            Self::Full => "Full",
            Self::Empty => "Empty",
            Self::ShutDown => "ShutDown",
        };
        match exception(py, name) {
            Ok(class) => match class.cast_into::<PyType>() {
                Ok(class) => PyErr::from_type(class, ()),
                Err(error) => error.into(),
            },
            Err(error) => error,
        }
    }
}

/// The exception of this name from the standard library, or the package's own `ShutDown` where that has none.
pub(super) fn exception<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    static CLASSES: [PyOnceLock<Py<PyAny>>; 3] =
        [PyOnceLock::new(), PyOnceLock::new(), PyOnceLock::new()];
    let slot = match name {
        "Full" => 0,
        "Empty" => 1,
        _ => 2,
    };
    if let Some(class) = CLASSES[slot].get(py) {
        return Ok(class.bind(py).clone());
    }
    // Before the slot is anybody's: an import runs Python code, and a signal handler in its middle may ask for the same.
    let class = if name == "ShutDown" && !cfg!(Py_3_13) {
        let doc = c"Raised by put() and get() of a queue that was shut down.";
        let base = py.get_type::<PyException>();
        PyErr::new_type(py, c"quell.ShutDown", Some(doc), Some(&base), None)?.into_any()
    } else {
        py.import("queue")?.getattr(name)?.unbind()
    };
    Ok(CLASSES[slot].get_or_init(py, || class).bind(py).clone())
}
