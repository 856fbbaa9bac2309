//! One function of the standard library, and another implementation in its place.
//!
//! CPython's own functions and methods are objects that point to a *definition*: a C structure in the module's data with the
//! name, the calling convention and the implementation. What is replaced is the implementation, in that structure. So
//! the objects stay the same, and everybody is reached who has one already: `from time import sleep` of long ago, bound methods,
//! subclasses, and the interpreter's own short cuts, which read the definition at each call.
//!
//! The definition says which of seven conventions its implementation has, and ours is entered by the same. Under the GIL it is
//! one store of a pointer; a thread that is inside the old implementation at that moment goes on in it.

use std::ffi::{CStr, c_int};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::call::{Call, Given};
use super::held;
use crate::delivery;
use crate::primitives::call::Obj;

/// What runs instead of the standard library's implementation. It may be null with an error set, as C functions answer.
pub(super) type Body = fn(Python<'_>, &Call) -> PyResult<Obj>;

/// The ways in, one for each form of arguments.
pub(super) struct Entries {
    pub(super) two: unsafe extern "C" fn(Obj, Obj) -> Obj,
    pub(super) three: unsafe extern "C" fn(Obj, Obj, Obj) -> Obj,
    pub(super) fast: unsafe extern "C" fn(Obj, *const Obj, isize) -> Obj,
    pub(super) fast_named: unsafe extern "C" fn(Obj, *const Obj, isize, Obj) -> Obj,
    pub(super) method: unsafe extern "C" fn(Obj, Obj, *const Obj, isize, Obj) -> Obj,
}

/// In which threads the body runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// In all but the main one, whose blocking calls end when a signal comes: there everything is as ever.
    Others,
    /// The same, and in the main thread while deadlocks are looked for: what it waits for and holds is of interest then.
    Watched,
    /// In all: it tells those who wait of something.
    All,
}

/// See the module.
pub(super) struct Site {
    /// What users call it: `module.function`, `module.Type.method`.
    pub(super) name: &'static str,
    /// The parts that can be chosen together.
    pub(super) group: &'static str,
    /// The module that has it, and how it is found there: names between dots; with `()`, the type of what this returns.
    module: &'static CStr,
    path: &'static str,
    threads: Threads,
    body: Body,
    entries: Entries,
    // The rest is written with the GIL held. Relaxed is enough for it: threads of other interpreters read `original`, which is
    // written before the implementation is replaced and never changes after.
    flags: AtomicI32,
    original: AtomicPtr<()>,
    definition: AtomicPtr<ffi::PyMethodDef>,
    users: AtomicU32,
    /// How many want it replaced when its module is loaded.
    wanted: AtomicU32,
}

const GIL: Ordering = Ordering::Relaxed;

/// The interpreter whose threads are served.
static INTERPRETER: AtomicUsize = AtomicUsize::new(0);

const NAMED: c_int = ffi::METH_VARARGS | ffi::METH_KEYWORDS;
const FAST_NAMED: c_int = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
const METHOD: c_int = ffi::METH_METHOD | ffi::METH_FASTCALL | ffi::METH_KEYWORDS;

/// What became of a request to replace.
pub(super) enum Outcome {
    /// It is replaced.
    Done,
    /// Its module is not loaded.
    NotLoaded,
    /// This interpreter has no such function.
    Missing,
    /// It cannot be replaced, for this reason.
    Refused(&'static str),
}

impl Site {
    pub(super) const fn new(
        group: &'static str,
        names: (&'static str, &'static CStr, &'static str),
        threads: Threads,
        body: Body,
        entries: Entries,
    ) -> Site {
        let (name, module, path) = names;
        Site {
            name,
            group,
            module,
            path,
            threads,
            body,
            entries,
            flags: AtomicI32::new(0),
            original: AtomicPtr::new(null_mut()),
            definition: AtomicPtr::new(null_mut()),
            users: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
        }
    }

    /// Whether it is replaced now.
    pub(super) fn is_replaced(&self) -> bool {
        self.users.load(GIL) > 0
    }

    /// Whether users mean it by this: its name, or its group.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.group == name
    }

    /// In which threads its body runs.
    pub(super) fn threads(&self) -> Threads {
        self.threads
    }

    /// Whether it is there for the others of its group, to tell them of something.
    pub(super) fn tells(&self) -> bool {
        self.threads == Threads::All
    }

    /// Whether its module is loaded.
    pub(super) fn is_loaded(&self, py: Python<'_>) -> bool {
        self.module(py).is_some()
    }

    pub(super) fn want(&self) {
        self.wanted.fetch_add(1, GIL);
    }

    /// One less; false if there was none.
    pub(super) fn unwant(&self) -> bool {
        self.wanted.fetch_update(GIL, GIL, |wanted| wanted.checked_sub(1)).is_ok()
    }

    pub(super) fn wanted(&self) -> u32 {
        self.wanted.load(GIL)
    }

    pub(super) fn take_wanted(&self) -> u32 {
        self.wanted.swap(0, GIL)
    }

    fn module<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        loaded(py, self.module)
    }

    /// Replaces it, or counts one more who wants it so.
    pub(super) fn replace(&self, py: Python<'_>) -> PyResult<Outcome> {
        if self.users.load(GIL) == 0 {
            let definition = match self.find(py)? {
                Ok(definition) => definition,
                Err(outcome) => return Ok(outcome),
            };
            // SAFETY: a definition that an object of the interpreter points to lives as long as that, and its module keeps both;
            // the fields are those of the public structure, and its data can be written: the interpreter takes it as such.
            let (flags, present) = unsafe { ((*definition).ml_flags, implementation(definition)) };
            let flags = flags & !(ffi::METH_STATIC | ffi::METH_CLASS | ffi::METH_COEXIST);
            let Some(ours) = self.entry(flags) else {
                return Ok(Outcome::Refused("its calling convention is not known"));
            };
            if present.is_null() || self.definition.load(GIL) == definition && present == ours {
                return Ok(Outcome::Refused("its implementation is not CPython's"));
            }
            // SAFETY: any thread may ask for its interpreter while it is attached.
            INTERPRETER.store(unsafe { ffi::PyInterpreterState_Get() } as usize, GIL);
            self.flags.store(flags, GIL);
            self.original.store(present, Ordering::SeqCst);
            self.definition.store(definition, GIL);
            // SAFETY: as above. Ours has the convention that the flags name.
            unsafe { set_implementation(definition, ours) };
        }
        self.users.fetch_add(1, GIL);
        Ok(Outcome::Done)
    }

    /// One who wanted it replaced does not any more; the last brings back what was there. False: it was not replaced, or somebody else
    /// has replaced it since, and stays.
    pub(super) fn restore(&self, _py: Python<'_>) -> bool {
        let users = self.users.load(GIL);
        if users == 0 {
            return false;
        }
        self.users.store(users - 1, GIL);
        if users > 1 {
            return true;
        }
        let definition = self.definition.load(GIL);
        // SAFETY: as in `replace`: modules written in C are never unloaded.
        unsafe {
            if Some(implementation(definition)) != self.entry(self.flags.load(GIL)) {
                return false;
            }
            set_implementation(definition, self.original.load(GIL));
        }
        true
    }

    fn entry(&self, flags: c_int) -> Option<*mut ()> {
        Some(match flags {
            ffi::METH_NOARGS | ffi::METH_O | ffi::METH_VARARGS => self.entries.two as *mut (),
            NAMED => self.entries.three as *mut (),
            ffi::METH_FASTCALL => self.entries.fast as *mut (),
            FAST_NAMED => self.entries.fast_named as *mut (),
            METHOD => self.entries.method as *mut (),
            _ => return None,
        })
    }

    /// The definition of the function, in a module that is loaded.
    fn find(&self, py: Python<'_>) -> PyResult<Result<*mut ffi::PyMethodDef, Outcome>> {
        let Some(mut object) = self.module(py) else { return Ok(Err(Outcome::NotLoaded)) };
        for part in self.path.split('.') {
            let (name, call) = part.strip_suffix("()").map_or((part, false), |name| (name, true));
            let Ok(next) = object.getattr(name) else { return Ok(Err(Outcome::Missing)) };
            object = if call { next.call0()?.get_type().into_any() } else { next };
        }
        let object = object.as_ptr();
        // SAFETY: the type says what the object is.
        let definition = unsafe {
            if ffi::PyCFunction_Check(object) != 0 {
                (*object.cast::<ffi::PyCFunctionObject>()).m_ml
            } else if ffi::Py_TYPE(object) == &raw mut ffi::PyMethodDescr_Type {
                (*object.cast::<ffi::PyMethodDescrObject>()).d_method
            } else {
                return Ok(Err(Outcome::Refused("it is not CPython's own function any more")));
            }
        };
        Ok(Ok(definition))
    }

    /// Whether the body is to run in the calling thread.
    #[inline]
    fn serves(&self) -> bool {
        // SAFETY: attached.
        let here = unsafe { ffi::PyInterpreterState_Get() } as usize;
        here == INTERPRETER.load(GIL)
            && (self.threads == Threads::All
                || !delivery::is_reached_by_signals()
                || self.threads == Threads::Watched && held::is_watching())
    }

    /// The way in, from every entry.
    #[inline]
    pub(super) fn run(&'static self, slf: Obj, given: Given) -> Obj {
        let call = Call::new(self, slf, given);
        if !self.serves() {
            return call.original();
        }
        // SAFETY: an implementation of a Python function is called attached.
        let py = unsafe { Python::assume_attached() };
        match (self.body)(py, &call) {
            Ok(answer) => answer,
            Err(error) => {
                error.restore(py);
                null_mut()
            }
        }
    }

    /// What the definition says of the convention.
    pub(super) fn flags(&self) -> c_int {
        self.flags.load(GIL)
    }

    /// The implementation that was there.
    pub(super) fn original(&self) -> *mut () {
        self.original.load(GIL)
    }

    /// The implementation that is there now, after it was replaced once.
    pub(super) fn present(&self) -> *mut () {
        // SAFETY: as in `restore`.
        unsafe { implementation(self.definition.load(GIL)) }
    }
}

/// A module, if it is loaded. Asks nobody: an import would go through what a script may have put in the place of `__import__`.
pub(super) fn loaded<'py>(py: Python<'py>, name: &CStr) -> Option<Bound<'py, PyAny>> {
    // SAFETY: borrowed references, or null without an error.
    let module = unsafe {
        let modules = ffi::PyImport_GetModuleDict();
        let module = ffi::PyDict_GetItemString(modules, name.as_ptr());
        Bound::from_borrowed_ptr_or_opt(py, module)
    };
    module.filter(|module| !module.is_none())
}

/// # Safety
/// A live definition.
unsafe fn implementation(definition: *mut ffi::PyMethodDef) -> *mut () {
    // SAFETY: the caller's promise. A union of function pointers, seen as one of no type.
    unsafe { (&raw const (*definition).ml_meth).cast::<*mut ()>().read() }
}

/// # Safety
/// A live definition; the function has the convention that its flags name.
unsafe fn set_implementation(definition: *mut ffi::PyMethodDef, function: *mut ()) {
    // SAFETY: the caller's promise. Atomic, for threads of other interpreters, which may have a GIL of their own.
    unsafe {
        AtomicPtr::from_ptr((&raw mut (*definition).ml_meth).cast::<*mut ()>())
            .store(function, Ordering::SeqCst);
    }
}

/// A site: group, what users call it, its module, its path there, in which threads, body.
macro_rules! site {
    ($group:literal, $name:literal, $module:literal, $path:literal, $threads:ident, $body:path) => {{
        unsafe extern "C" fn two(slf: Obj, arguments: Obj) -> Obj {
            SITE.run(slf, Given::Two(arguments))
        }
        unsafe extern "C" fn three(slf: Obj, arguments: Obj, named: Obj) -> Obj {
            SITE.run(slf, Given::Three(arguments, named))
        }
        unsafe extern "C" fn fast(slf: Obj, arguments: *const Obj, count: isize) -> Obj {
            SITE.run(slf, Given::Fast(arguments, count))
        }
        unsafe extern "C" fn fast_named(
            slf: Obj,
            arguments: *const Obj,
            count: isize,
            names: Obj,
        ) -> Obj {
            SITE.run(slf, Given::FastNamed(arguments, count, names))
        }
        unsafe extern "C" fn method(
            slf: Obj,
            class: Obj,
            arguments: *const Obj,
            count: isize,
            names: Obj,
        ) -> Obj {
            SITE.run(slf, Given::Method(class, arguments, count, names))
        }
        static SITE: Site = Site::new(
            $group,
            ($name, $module, $path),
            Threads::$threads,
            $body,
            Entries { two, three, fast, fast_named, method },
        );
        &SITE
    }};
}
pub(super) use site;
