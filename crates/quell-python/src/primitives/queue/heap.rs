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

/// How items are compared.
trait Order {
    /// Why they were not.
    type Error;

    /// Whether `a` comes before `b`.
    fn less(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> Result<bool, Self::Error>;

    /// The list is not what it was before a comparison.
    fn changed() -> Self::Error;
}

/// As their classes say, which may run Python code.
struct ByClass;

impl Order for ByClass {
    type Error = PyErr;

    #[inline(always)]
    fn less(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> PyResult<bool> {
        // SAFETY: attached, and two live objects. For two of one class the interpreter asks that class alone, and then what the
        // answer is worth; these classes answer True or False, or, a tuple, what its items answer.
        unsafe {
            let (a, b) = (a.as_ptr(), b.as_ptr());
            let class = ffi::Py_TYPE(a);
            if class == ffi::Py_TYPE(b)
                && (is_plain(class) || class == &raw mut ffi::PyTuple_Type)
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

    fn changed() -> PyErr {
        changed()
    }
}

/// Where that runs no Python code, and nobody else comes between: two of one [plain](is_plain) class, or two tuples that
/// differ in their first items, of which the same is true.
struct Plainly;

/// It is not so.
struct NotPlain;

impl Order for Plainly {
    type Error = NotPlain;

    #[inline(always)]
    fn less(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> Result<bool, NotPlain> {
        // SAFETY: attached, and live objects; a tuple keeps its items.
        unsafe {
            let (a, b) = (a.as_ptr(), b.as_ptr());
            if ffi::PyTuple_CheckExact(a) == 0 || ffi::PyTuple_CheckExact(b) == 0 {
                return plainly_less(a, b).ok_or(NotPlain);
            }
            if ffi::PyTuple_GET_SIZE(a) == 0 || ffi::PyTuple_GET_SIZE(b) == 0 {
                return Err(NotPlain);
            }
            let (a, b) = (ffi::PyTuple_GET_ITEM(a, 0), ffi::PyTuple_GET_ITEM(b, 0));
            match (plainly_less(a, b), plainly_less(b, a)) {
                (Some(less), Some(greater)) if less != greater => Ok(less),
                _ => Err(NotPlain),
            }
        }
    }

    fn changed() -> NotPlain {
        NotPlain
    }
}

/// Whether `a` is less than `b`, if both are of one plain class.
///
/// # Safety
/// Attached, and two live objects.
#[inline(always)]
unsafe fn plainly_less(a: *mut ffi::PyObject, b: *mut ffi::PyObject) -> Option<bool> {
    // SAFETY: the caller's promise; the answer is True or False.
    unsafe {
        let class = ffi::Py_TYPE(a);
        if class != ffi::Py_TYPE(b) || !is_plain(class) {
            return None;
        }
        let answer = (*class).tp_richcompare?(a, b, ffi::Py_LT);
        let less = answer == ffi::Py_True();
        ffi::Py_XDECREF(answer);
        Some(less)
    }
}

/// Whether the class compares its own without running Python code, and answers True or False.
#[inline(always)]
fn is_plain(class: *mut ffi::PyTypeObject) -> bool {
    [&raw mut ffi::PyLong_Type, &raw mut ffi::PyFloat_Type, &raw mut ffi::PyUnicode_Type]
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
#[inline(always)]
fn at<'py, O: Order>(list: &Bound<'py, PyList>, i: usize) -> Result<Bound<'py, PyAny>, O::Error> {
    list.get_item(i).map_err(|_| O::changed())
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
    let to = place_for::<ByClass>(list, item)?;
    insert(list, item, to)
}

/// Adds an item in one step, in which no other thread has its turn. None: that cannot be, and nothing was done.
#[inline(always)]
pub(super) fn push_plainly(
    list: &Bound<'_, PyList>,
    item: &Bound<'_, PyAny>,
) -> Option<PyResult<()>> {
    let to = place_for::<Plainly>(list, item).ok()?;
    Some(insert(list, item, to))
}

/// Where a new item belongs.
#[inline(always)]
fn place_for<O: Order>(
    list: &Bound<'_, PyList>,
    item: &Bound<'_, PyAny>,
) -> Result<usize, O::Error> {
    let len = list.len();
    let mut to = len;
    while to > 0 {
        let parent = (to - 1) / 2;
        if !O::less(item, &at::<O>(list, parent)?)? {
            break;
        }
        to = parent;
    }
    if list.len() == len { Ok(to) } else { Err(O::changed()) }
}

/// Adds an item, which belongs at `to`.
#[inline(always)]
fn insert(list: &Bound<'_, PyList>, item: &Bound<'_, PyAny>, to: usize) -> PyResult<()> {
    let len = list.len();
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
    match list.len().checked_sub(1) {
        None => Err(PyIndexError::new_err("index out of range")),
        Some(0) => take_last(list, 0),
        Some(last) => Way::find::<ByClass>(list, last)?.follow(list, last),
    }
}

/// Takes the smallest item in one step, as [`push_plainly`]. None: that cannot be, or there is none.
#[inline(always)]
pub(super) fn pop_plainly<'py>(list: &Bound<'py, PyList>) -> Option<PyResult<Bound<'py, PyAny>>> {
    match list.len().checked_sub(1)? {
        0 => Some(take_last(list, 0)),
        last => Some(Way::find::<Plainly>(list, last).ok()?.follow(list, last)),
    }
}

/// The way of the gap that the first item leaves, to where the last one fills it.
struct Way {
    /// The first place is the root.
    places: [usize; LEVELS],
    deep: usize,
}

impl Way {
    /// In a list of several items, of which `last` is the last.
    fn find<O: Order>(list: &Bound<'_, PyList>, last: usize) -> Result<Self, O::Error> {
        let mut way = Self { places: [0; LEVELS], deep: 0 };
        // Down to a leaf, always to the smaller child.
        loop {
            let place = way.places[way.deep];
            let (left, right) = (2 * place + 1, 2 * place + 2);
            if left >= last {
                break;
            }
            let smaller = right >= last || O::less(&at::<O>(list, left)?, &at::<O>(list, right)?)?;
            way.deep += 1;
            way.places[way.deep] = if smaller { left } else { right };
        }
        // And up again, as far as the last item is smaller.
        if way.deep > 0 {
            let filler = at::<O>(list, last)?;
            while way.deep > 0 && O::less(&filler, &at::<O>(list, way.places[way.deep])?)? {
                way.deep -= 1;
            }
        }
        if list.len() == last + 1 { Ok(way) } else { Err(O::changed()) }
    }

    /// Takes the first item.
    fn follow<'py>(&self, list: &Bound<'py, PyList>, last: usize) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: every place on the way is below `last`, or it is the root, and `last` is the last.
        unsafe {
            let places = places(list);
            let first = *places;
            for step in self.places[..=self.deep].windows(2) {
                *places.add(step[0]) = *places.add(step[1]);
            }
            *places.add(self.places[self.deep]) = *places.add(last);
            *places.add(last) = first;
        }
        take_last(list, last)
    }
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
