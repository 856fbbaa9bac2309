//! `quell.patch()`: the blocking calls of the standard library, made so that an interrupt ends them in any thread.
//!
//! CPython's blocking functions give up the GIL and call the system; when a signal ends that, they run the signal handlers, which
//! CPython does in the main thread only, and call again. So nothing reaches another thread there. What is done here: the
//! implementation of such a function is replaced in place ([`mod@site`]) by one that makes the same call through quell's
//! own [system calls](quell::syscall), which are registered, race-free and end when the thread is interrupted. In the main thread the
//! original runs as ever: signals reach it.
//!
//! A body ([`table`] has them all) keeps to these rules:
//!
//! - what it does not understand (arguments, states, other kinds of object) it leaves to the original;
//! - it waits where the original waits, for the same time, and raises the same errors, told to the same audit hooks;
//! - an interrupted call has done nothing: no byte was taken, no lock, no child; what has been done in part is returned,
//!   and the interrupt stays pending;
//! - whether the interrupt may be raised where the thread is, is asked when it has come, with the GIL held
//!   ([`wait::Listens`]): code that would swallow it, or be left half done, is left alone until it has returned.
//!
//! Modules that are not loaded yet are waited for: the interpreter's function that runs the start of a C module is replaced by the
//! same means, and looks afterwards what can be done. So patching loads nothing.
//!
//! Layouts that a body relies on (locks, sockets, poll objects) are verified on objects made for it before anything of the group is
//! replaced. On a version of CPython that this was not written for nothing is.

mod attempt;
mod call;
mod clock;
mod descriptors;
mod file_locks;
pub(crate) mod held;
mod input;
mod line;
mod lock;
#[cfg_attr(not(Py_3_14), allow(dead_code, reason = "locks are semaphores there"))]
mod mutex;
mod onset;
mod processes;
mod select;
mod sem_lock;
mod signals;
mod simple_queue;
mod site;
mod sockets;
mod table;
mod threads;
mod tls;
mod told;
mod transfers;
mod wait;
mod watched;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::wrap_pyfunction;

use crate::delivery::gil_cell::GilCell;
use crate::lazy::Part;
use crate::primitives::call::Obj;
use call::{Call, Given};
use site::{Entries, Outcome, Site, Threads, site};
use table::SITES;

/// What became of the functions that were asked for, by name.
#[derive(Default)]
struct Report {
    replaced: Vec<&'static str>,
    waiting: Vec<&'static str>,
    refused: Vec<(&'static str, &'static str)>,
}

/// Whether anything can be replaced here.
fn is_known() -> bool {
    cfg!(all(Py_3_11, not(Py_3_15), target_os = "linux")) && crate::cpython::layout::verify()
}

/// Replaces these, or notes that they are to be replaced when their module is loaded.
fn replace(py: Python<'_>, sites: &[&'static Site]) -> PyResult<Report> {
    let mut report = Report::default();
    for site in sites {
        match put(py, site)? {
            Outcome::Done => report.replaced.push(site.name),
            Outcome::NotLoaded => {
                site.want();
                report.waiting.push(site.name);
            }
            // Another version has it.
            Outcome::Missing => {}
            Outcome::Refused(why) => report.refused.push((site.name, why)),
        }
    }
    watch_imports(py)?;
    held::update(py)?;
    Ok(report)
}

fn put(py: Python<'_>, site: &'static Site) -> PyResult<Outcome> {
    if !site.is_replaced() && site.is_loaded(py) && !verified(py, site.group)? {
        return Ok(Outcome::Refused(
            "the objects are not laid out as CPython of this version lays them out",
        ));
    }
    site.replace(py)
}

/// Whether what the bodies of a group rely on is so. Its modules are loaded.
fn verified(py: Python<'_>, group: &'static str) -> PyResult<bool> {
    static KNOWN: GilCell<Vec<(&str, bool)>> = GilCell::new(Vec::new());
    if let Some(known) = KNOWN.with(py, |k| k.iter().find(|(g, _)| *g == group).map(|(_, v)| *v)) {
        return Ok(known);
    }
    let right = match group {
        "threading" => lock::verify(py)?,
        "select" => select::verify(py)?,
        "socket" | "ssl" => attempt::verify(py)?,
        "multiprocessing" => quell::syscall::CSemaphore::is_known() && sem_lock::verify(py)?,
        _ => true,
    };
    KNOWN.with(py, |known| known.push((group, right)));
    Ok(right)
}

/// What the interpreter calls to run the start of a module written in C.
static IMPORTS: [&Site; 2] = [
    site!("imports", "exec_dynamic", c"_imp", "exec_dynamic", All, loaded),
    site!("imports", "exec_builtin", c"_imp", "exec_builtin", All, loaded),
];

/// Watches imports while something is waited for, and not longer.
fn watch_imports(py: Python<'_>) -> PyResult<()> {
    let waits = SITES.iter().any(|site| site.wanted() > 0);
    for site in IMPORTS {
        match (waits, site.is_replaced()) {
            (true, false) => {
                site.replace(py)?;
            }
            (false, true) => {
                site.restore(py);
            }
            _ => {}
        }
    }
    Ok(())
}

/// `_imp.exec_dynamic(module)` and `_imp.exec_builtin(module)`, in every thread.
fn loaded(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let answer = call.original();
    if answer.is_null() {
        return Ok(answer);
    }
    for site in SITES.iter().filter(|site| site.wanted() > 0 && site.is_loaded(py)) {
        for _ in 0..site.take_wanted() {
            put(py, site)?;
        }
    }
    watch_imports(py)?;
    Ok(answer)
}

/// The functions with these names, or of these groups; without any, all. What others rely on comes with them.
fn choose(names: &[String], exclude: &[String]) -> PyResult<Vec<&'static Site>> {
    for name in names.iter().chain(exclude) {
        if !SITES.iter().any(|site| site.is_called(name)) {
            return Err(PyValueError::new_err(format!(
                "there is nothing called '{name}' to patch: quell.patch takes functions (such as \
                 'time.sleep') and groups (such as 'socket'); quell.patchable() has them all"
            )));
        }
    }
    let named = |site: &&&'static Site| {
        (names.is_empty() || names.iter().any(|name| site.is_called(name)))
            && !exclude.iter().any(|name| site.is_called(name))
    };
    let mut chosen: Vec<&'static Site> = SITES.iter().filter(named).copied().collect();
    for site in SITES.iter().filter(|site| site.tells()) {
        let needed = chosen.iter().any(|other| {
            !other.tells()
                && (other.group == site.group || (other.group, site.group) == ("ssl", "socket"))
        });
        if needed && !chosen.iter().any(|other| std::ptr::eq(*other, *site)) {
            chosen.push(site);
        }
    }
    Ok(chosen)
}

type Answer = (Vec<&'static str>, Vec<&'static str>, Vec<(&'static str, &'static str)>);

/// For `quell.patch`.
#[pyfunction]
fn _patch(py: Python<'_>, names: Vec<String>, exclude: Vec<String>) -> PyResult<Answer> {
    if !is_known() {
        return Err(PyRuntimeError::new_err(
            "quell.patch() does not know this interpreter: it knows CPython 3.11 to 3.14 on Linux",
        ));
    }
    let report = replace(py, &choose(&names, &exclude)?)?;
    Ok((report.replaced, report.waiting, report.refused))
}

/// For `Patch.undo`: takes back one request for each of these. The names of those that somebody else has replaced since.
#[pyfunction]
fn _unpatch(py: Python<'_>, names: Vec<String>) -> PyResult<Vec<&'static str>> {
    let mut left = Vec::new();
    for site in SITES.iter().filter(|site| names.iter().any(|name| name == site.name)) {
        if !site.unwant() && !site.restore(py) {
            left.push(site.name);
        }
    }
    // Who waits for one of these to tell looks whether it still does.
    told::with(py, line::Line::tell_all);
    watch_imports(py)?;
    held::update(py)?;
    Ok(left)
}

/// For `quell.patchable`: name, group, and whether it is replaced.
#[pyfunction]
fn _patchable() -> Vec<(&'static str, &'static str, bool)> {
    SITES.iter().map(|site| (site.name, site.group, site.is_replaced())).collect()
}

/// Replaces all as soon as there is a thread to do it for: for a process that quell runs. Where it cannot, everything is as
/// ever.
///
/// `told` hears of every thread in which an interrupt was raised in a call that it was blocked in: called in that thread, with
/// the GIL held, with its `threading.get_ident()`; it must not wait.
pub fn with_the_first_thread(py: Python<'_>, told: fn(u64)) -> PyResult<()> {
    if is_known() { onset::wait(py, told) } else { Ok(()) }
}

/// In the child of a fork: forgets the threads that are not there.
pub(crate) fn after_fork(py: Python<'_>) {
    held::after_fork(py);
    told::with(py, |line| line.after_fork());
    threads::after_fork(py);
    attempt::after_fork(py);
}

/// The natives under `quell._patch`, and what that has for users.
pub(crate) static PARTS: [Part; 2] = [
    Part::private(&["_patch", "_unpatch", "_patchable"], |module| {
        module.add_function(wrap_pyfunction!(_patch, module)?)?;
        module.add_function(wrap_pyfunction!(_unpatch, module)?)?;
        module.add_function(wrap_pyfunction!(_patchable, module)?)
    }),
    Part::imported(&PUBLIC, |module| {
        let python = module.py().import("quell._patch")?;
        PUBLIC.iter().try_for_each(|name| module.dict().set_item(name, python.getattr(*name)?))
    }),
];

const PUBLIC: [&str; 5] = ["Patch", "Patchable", "patch", "patchable", "unpatch"];
