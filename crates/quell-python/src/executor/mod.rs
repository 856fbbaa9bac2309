//! `quell.ThreadPoolExecutor` and its `quell.Future`: what of them is native. Their Python half is `quell/_executor.py`.
//!
//! Both are subclasses of the standard library's classes and of the native ones here, which come first. What a task takes is
//! native from end to end: [`pool`] makes its future and puts that into the executor's queue, [`worker`] takes it out, [`run`]
//! makes the call and brings the future to its end. So none of it can be interrupted in its middle, and nothing is made that
//! nobody has asked for: the future is the work item, and has a condition or a list only when somebody wants one.
//!
//! [`future`] is the class, [`state`] what a future is at and who may change that, [`call`] what is to be called.

mod call;
mod future;
mod pool;
mod run;
mod state;
mod worker;

use pyo3::prelude::*;

use crate::lazy::Part;

/// Exports of this folder.
pub(crate) static PARTS: [Part; 2] = [
    Part::private(&["_Future", "_Pool", "_Crew", "_Worker"], register),
    Part::imported(&["Future", "ThreadPoolExecutor"], register_executor),
];

fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    future::register(module)?;
    pool::register(module)?;
    worker::register(module)
}

/// What is made of it, in Python.
fn register_executor(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let executor = module.py().import("quell._executor")?;
    for name in ["Future", "ThreadPoolExecutor"] {
        module.add(name, executor.getattr(name)?)?;
    }
    Ok(())
}
