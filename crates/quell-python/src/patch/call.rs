//! One call of a replaced function: its arguments in whatever form they came, and the way to what was there before.
//!
//! A body looks at the arguments only as far as it must know them. Whatever it does not understand it leaves to the original, which
//! then says what is wrong, in its own words.

use std::ffi::{CStr, c_int, c_long};
use std::mem::transmute;
use std::ptr::null_mut;

use pyo3::prelude::*;
use pyo3::{Borrowed, ffi};

use super::site::Site;
use crate::native::hanging_at_the_end;
use crate::primitives::call::Obj;

/// The arguments as they came.
#[derive(Clone, Copy)]
pub(super) enum Given {
    /// Nothing, one object or a tuple, as the flags say.
    Two(Obj),
    /// A tuple, and a dict or null.
    Three(Obj, Obj),
    /// An array and its length.
    Fast(*const Obj, isize),
    /// The same, with names for what follows in the array.
    FastNamed(*const Obj, isize, Obj),
    /// The same, with the class that defines the method.
    Method(Obj, *const Obj, isize, Obj),
}

/// See the module. All objects are borrowed from the caller, who keeps them until the call is over.
pub(super) struct Call {
    site: &'static Site,
    pub(super) slf: Obj,
    given: Given,
    /// The implementation that was there before.
    function: *mut (),
}

impl Call {
    #[inline]
    pub(super) fn new(site: &'static Site, slf: Obj, given: Given) -> Call {
        Call { site, slf, given, function: site.original() }
    }

    /// The arguments that were given by position.
    pub(super) fn positional(&self) -> &[Obj] {
        match &self.given {
            Given::Two(_) if self.site.flags() == ffi::METH_NOARGS => &[],
            Given::Two(tuple) if self.site.flags() == ffi::METH_VARARGS => items(*tuple),
            Given::Two(argument) => std::slice::from_ref(argument),
            Given::Three(tuple, _) => items(*tuple),
            Given::Fast(at, count)
            | Given::FastNamed(at, count, _)
            | Given::Method(_, at, count, _) => match count {
                0 => &[],
                // SAFETY: the caller's array of so many objects, kept until the call is over.
                count => unsafe { std::slice::from_raw_parts(*at, *count as usize) },
            },
        }
    }

    /// Those that were given by name.
    pub(super) fn named(&self) -> Vec<(Obj, Obj)> {
        match self.given {
            // SAFETY: a live dict.
            Given::Three(_, dict) if !dict.is_null() => unsafe {
                let (mut all, mut at) = (Vec::new(), 0);
                let (mut name, mut value) = (null_mut(), null_mut());
                while ffi::PyDict_Next(dict, &raw mut at, &raw mut name, &raw mut value) != 0 {
                    all.push((name, value));
                }
                all
            },
            Given::FastNamed(at, count, names) | Given::Method(_, at, count, names)
                if !names.is_null() =>
            {
                // SAFETY: a live tuple; the values of its names follow those without.
                unsafe {
                    let name = |i| ffi::PyTuple_GET_ITEM(names, i);
                    let all = 0..ffi::PyTuple_GET_SIZE(names);
                    all.map(|i| (name(i), *at.offset(count + i))).collect()
                }
            }
            _ => Vec::new(),
        }
    }

    /// The arguments by the names of the parameters, null where not given. None if they do not fit.
    pub(super) fn bind<const N: usize>(&self, parameters: [&CStr; N]) -> Option<[Obj; N]> {
        let (mut bound, positional) = ([null_mut(); N], self.positional());
        bound.get_mut(..positional.len())?.copy_from_slice(positional);
        for (name, value) in self.named() {
            // SAFETY: a live str, compared without running Python code.
            let at = parameters.iter().position(|parameter| unsafe {
                ffi::PyUnicode_CompareWithASCIIString(name, parameter.as_ptr()) == 0
            })?;
            if !bound[at].is_null() {
                return None;
            }
            bound[at] = value;
        }
        Some(bound)
    }

    /// Calls what was there before, with the very arguments.
    #[inline]
    pub(super) fn original(&self) -> Obj {
        // SAFETY: the implementation that the definition had, with arguments in its own form.
        unsafe {
            match self.given {
                Given::Two(a) => self.two(a),
                Given::Three(a, b) => self.three(a, b),
                Given::Fast(at, count) => self.fast(at, count),
                Given::FastNamed(at, count, names) => self.fast_named(at, count, names),
                Given::Method(class, at, count, names) => self.method(class, at, count, names),
            }
        }
    }

    /// Takes the replacement back, of a site with one user. False if somebody else has replaced it again since.
    pub(super) fn retire(&self, py: Python<'_>) -> bool {
        self.site.restore(py)
    }

    /// The same call of what the definition has now, which is not this replacement.
    pub(super) fn now(&self) -> Call {
        Call { function: self.site.present(), ..*self }
    }

    unsafe fn two(&self, argument: Obj) -> Obj {
        type Two = unsafe extern "C-unwind" fn(Obj, Obj) -> Obj;
        // SAFETY: as in `original`.
        hanging_at_the_end(|| unsafe {
            transmute::<*mut (), Two>(self.function)(self.slf, argument)
        })
    }

    unsafe fn three(&self, arguments: Obj, named: Obj) -> Obj {
        type Three = unsafe extern "C-unwind" fn(Obj, Obj, Obj) -> Obj;
        // SAFETY: as in `original`.
        hanging_at_the_end(|| unsafe {
            transmute::<*mut (), Three>(self.function)(self.slf, arguments, named)
        })
    }

    unsafe fn fast(&self, at: *const Obj, count: isize) -> Obj {
        type Fast = unsafe extern "C-unwind" fn(Obj, *const Obj, isize) -> Obj;
        // SAFETY: as in `original`; the caller's promise for the array.
        hanging_at_the_end(|| unsafe {
            transmute::<*mut (), Fast>(self.function)(self.slf, at, count)
        })
    }

    unsafe fn fast_named(&self, at: *const Obj, count: isize, names: Obj) -> Obj {
        type Named = unsafe extern "C-unwind" fn(Obj, *const Obj, isize, Obj) -> Obj;
        // SAFETY: as for `fast`.
        hanging_at_the_end(|| unsafe {
            transmute::<*mut (), Named>(self.function)(self.slf, at, count, names)
        })
    }

    unsafe fn method(&self, class: Obj, at: *const Obj, count: isize, names: Obj) -> Obj {
        type Method = unsafe extern "C-unwind" fn(Obj, Obj, *const Obj, isize, Obj) -> Obj;
        let function = self.function;
        // SAFETY: as for `fast`.
        hanging_at_the_end(|| unsafe {
            transmute::<*mut (), Method>(function)(self.slf, class, at, count, names)
        })
    }

    /// Calls what was there before with other arguments, by position only. They live until it returns.
    pub(super) fn original_with(&self, py: Python<'_>, arguments: &[Obj]) -> PyResult<Obj> {
        let (at, count) = (arguments.as_ptr(), arguments.len() as isize);
        let tuple = || {
            // SAFETY: live objects, as in all of this.
            let all = arguments.iter().map(|a| unsafe { Borrowed::from_ptr(py, *a) });
            pyo3::types::PyTuple::new(py, all.collect::<Vec<_>>())
        };
        // SAFETY: the implementation that was there, in its convention, with objects that live until it returns.
        let answer = unsafe {
            match self.given {
                Given::Two(_) if self.site.flags() == ffi::METH_VARARGS => {
                    let tuple = tuple()?;
                    self.two(tuple.as_ptr())
                }
                Given::Two(_) => self.two(arguments.first().copied().unwrap_or(null_mut())),
                Given::Three(..) => {
                    let tuple = tuple()?;
                    self.three(tuple.as_ptr(), null_mut())
                }
                Given::Fast(..) => self.fast(at, count),
                Given::FastNamed(..) => self.fast_named(at, count, null_mut()),
                Given::Method(class, ..) => self.method(class, at, count, null_mut()),
            }
        };
        Ok(answer)
    }

    /// Calls what was there before with the same arguments and one more, by name. For functions that are called by
    /// array and names.
    pub(super) fn original_and_named(
        &self,
        py: Python<'_>,
        name: &CStr,
        value: Obj,
    ) -> PyResult<Obj> {
        let Given::FastNamed(..) = self.given else { return Ok(self.original()) };
        let mut named = self.named();
        let name = pyo3::types::PyString::new(py, &name.to_string_lossy());
        named.push((name.as_ptr(), value));
        // SAFETY: live objects.
        let names = named.iter().map(|(name, _)| unsafe { Borrowed::from_ptr(py, *name) });
        let names = pyo3::types::PyTuple::new(py, names.collect::<Vec<_>>())?;
        let mut all = self.positional().to_vec();
        let count = all.len() as isize;
        all.extend(named.iter().map(|(_, value)| value));
        // SAFETY: as in `original`; the values follow what has no name.
        Ok(unsafe { self.fast_named(all.as_ptr(), count, names.as_ptr()) })
    }
}

/// What is in a tuple.
fn items<'a>(tuple: Obj) -> &'a [Obj] {
    // SAFETY: a live tuple of the running call, whose items follow each other.
    unsafe {
        let first = (&raw const (*tuple.cast::<ffi::PyTupleObject>()).ob_item).cast();
        std::slice::from_raw_parts(first, ffi::PyTuple_GET_SIZE(tuple) as usize)
    }
}

/// An integer argument that fits; what is no int is asked for its index.
pub(super) fn int(object: Obj) -> Option<c_long> {
    if object.is_null() {
        return None;
    }
    // SAFETY: a live object; errors are taken back.
    unsafe {
        let mut overflow: c_int = 0;
        let value = ffi::PyLong_AsLongAndOverflow(object, &raw mut overflow);
        if value == -1 && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        (overflow == 0).then_some(value)
    }
}
