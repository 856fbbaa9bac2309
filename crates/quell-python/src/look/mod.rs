//! A look inside: what every thread does, waits for and holds, for programs ([`threads`]) and for people ([`dump`]).
//!
//! [`facts`] gathers it: consistently, waiting for nobody. [`names`] is what `threading` knows, [`kernel`] what the system tells;
//! [`text`] writes it down, [`objects`] are the records that Python gets. What `quell run` reports is seen without the
//! GIL, from the process's memory, and written by the same [`text`].

pub(crate) mod dump;
pub(crate) mod facts;
pub(crate) mod kernel;
pub(crate) mod names;
pub(crate) mod objects;
pub(crate) mod text;

use pyo3::prelude::*;

use crate::lazy::Part;
use facts::Look;
use objects::{Holding, Place, ThreadInfo, Waiting};

/// What is known of each Python thread at this moment: a list of ThreadInfo, the main thread first, then as they were started. Threads
/// that threading does not know are among them, and threads that have ended with a lock in hand.
///
/// All of it belongs together: no thread runs Python code while this looks. It takes no lock that another thread could hold, asks
/// nothing of any thread, and does not block. What it returns keeps no frame and no object alive.
///
///     for thread in quell.threads():
///         print(thread.name, thread.state, thread.place)
///         if thread.waits:
///             print("  waits for", thread.waits.kind, "since", thread.waits.seconds, "seconds")
#[pyfunction]
fn threads(py: Python<'_>) -> PyResult<Vec<Py<ThreadInfo>>> {
    let all = Look::begin(py).all();
    all.into_iter().map(|facts| ThreadInfo::new(py, facts)).collect()
}

/// Exports of this folder.
pub(crate) static PARTS: [Part; 1] =
    [Part::new(&["threads", "dump", "ThreadInfo", "Waiting", "Holding", "Place"], register)];

fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::lazy::add_class::<Place>(module)?;
    crate::lazy::add_class::<ThreadInfo>(module)?;
    crate::lazy::add_class::<Waiting>(module)?;
    crate::lazy::add_class::<Holding>(module)?;
    module.add_function(wrap_pyfunction!(threads, module)?)?;
    module.add_function(wrap_pyfunction!(dump::dump, module)?)
}
