//! A heap in a Python list, ordered by Python's `<`; as `heapq`, but all or nothing.
//!
//! A comparison may run Python code: it may raise, be interrupted, let other threads run. So an operation first compares,
//! moving nothing, and remembers the way through the heap; then it moves, comparing nothing. What raises has changed
//! nothing, and no item is ever out of the list while Python code runs. The comparisons are those of `heapq`, in
//! its order, so the items come out as they would there.
//!
//! For the queue that keeps its items here, under its mutex. Who changes the list behind the queue's back during a
//! comparison gets the error that `heapq` gives.

use pyo3::exceptions::{PyIndexError, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// Levels of the largest heap there can be.
const LEVELS: usize = usize::BITS as usize;
/// Places that a list keeps, empty or not.
const FEW: usize = 64;

#[cold]
fn changed() -> PyErr {
    PyRuntimeError::new_err("list changed size during iteration")
}

#[inline(always)]
fn less(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: attached, and two live objects. For two of one class the interpreter asks that class alone, and then what the
    // answer is worth; these classes answer True or False, or, a tuple, what its items answer.
    unsafe {
        let (a, b) = (a.as_ptr(), b.as_ptr());
        let class = ffi::Py_TYPE(a);
        if class == ffi::Py_TYPE(b)
            && is_common(class)
            && let Some(compare) = (*class).tp_richcompare
        {
            let answer = compare(a, b, ffi::Py_LT);
            if answer == ffi::Py_True() || answer == ffi::Py_False() {
                let less = answer == ffi::Py_True();
                ffi::Py_DECREF(answer);
                return Ok(less);
            }
            return less_than(answer);
        }
        match ffi::PyObject_RichCompareBool(a, b, ffi::Py_LT) {
            -1 => Err(PyErr::fetch(Python::assume_attached())),
            answer => Ok(answer != 0),
        }
    }
}

#[inline(always)]
fn is_common(class: *mut ffi::PyTypeObject) -> bool {
    [
        &raw mut ffi::PyLong_Type,
        &raw mut ffi::PyFloat_Type,
        &raw mut ffi::PyUnicode_Type,
        &raw mut ffi::PyTuple_Type,
    ]
    .contains(&class)
}

/// What the answer of a comparison is worth, which is given away; null: it raised.
///
/// # Safety
/// Attached, and a new reference or null.
#[cold]
#[inline(never)]
unsafe fn less_than(answer: *mut ffi::PyObject) -> PyResult<bool> {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        Bound::from_owned_ptr_or_err(py, answer)?.is_truthy()
    }
}

/// The item at `i`, which was there before a comparison.
fn at<'py>(list: &Bound<'py, PyList>, i: usize) -> PyResult<Bound<'py, PyAny>> {
    list.get_item(i).map_err(|_| changed())
}

/// The items' places. Nothing of Python may run as long as they are used.
///
/// # Safety
/// Every index that is used afterwards is below the list's length.
unsafe fn places(list: &Bound<'_, PyList>) -> *mut *mut ffi::PyObject {
    // SAFETY: a live list.
    unsafe { (*list.as_ptr().cast::<ffi::PyListObject>()).ob_item }
}

/// Adds an item.
pub(super) fn push(list: &Bound<'_, PyList>, item: &Bound<'_, PyAny>) -> PyResult<()> {
    let len = list.len();
    let mut to = len;
    while to > 0 {
        let parent = (to - 1) / 2;
        if !less(item, &at(list, parent)?)? {
            break;
        }
        to = parent;
    }
    if list.len() != len {
        return Err(changed());
    }
    list.append(item)?;
    // SAFETY: `len` is the index of the item that was added, and the others are below it.
    unsafe {
        let places = places(list);
        let mut from = len;
        while from != to {
            let parent = (from - 1) / 2;
            places.add(from).swap(places.add(parent));
            from = parent;
        }
    }
    Ok(())
}

/// Takes the smallest item.
pub(super) fn pop<'py>(list: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyAny>> {
    let len = list.len();
    // The last item fills the gap that the first one leaves.
    let Some(last) = len.checked_sub(1) else {
        return Err(PyIndexError::new_err("index out of range"));
    };
    // Where the gap goes: down to a leaf, always to the smaller child. Its first place is the root.
    let mut way = [0; LEVELS];
    let mut deep = 0;
    loop {
        let (left, right) = (2 * way[deep] + 1, 2 * way[deep] + 2);
        if left >= last {
            break;
        }
        let smaller = right >= last || less(&at(list, left)?, &at(list, right)?)?;
        deep += 1;
        way[deep] = if smaller { left } else { right };
    }
    // And up again, as far as the last item is smaller.
    if deep > 0 {
        let filler = at(list, last)?;
        while deep > 0 && less(&filler, &at(list, way[deep])?)? {
            deep -= 1;
        }
    }
    if list.len() != len {
        return Err(changed());
    }
    // SAFETY: every place on the way is below `last`, or it is the root, and `last` is the last.
    unsafe {
        let places = places(list);
        let first = *places;
        for step in 0..deep {
            *places.add(way[step]) = *places.add(way[step + 1]);
        }
        *places.add(way[deep]) = *places.add(last);
        *places.add(last) = first;
    }
    take_last(list, last)
}

/// Takes the item at `last`, the end of the list.
#[inline(always)]
fn take_last<'py>(list: &Bound<'py, PyList>, last: usize) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live list with an item at `last`, and none behind it. A list may have more room than items: the item, which
    // the list owned, is the caller's, and the place is room. As in the list's own methods, if it is more than half room, some
    // is given back; but for a few places, which a queue will need again.
    unsafe {
        let object = list.as_ptr().cast::<ffi::PyListObject>();
        let room = (*object).allocated.cast_unsigned();
        if last >= room / 2 || room <= FEW {
            let item = *(*object).ob_item.add(last);
            (*object).ob_base.ob_size = last.cast_signed();
            return Ok(Bound::from_owned_ptr(list.py(), item));
        }
    }
    let item = list.get_item(last)?;
    list.del_slice(last, last + 1)?;
    Ok(item)
}
