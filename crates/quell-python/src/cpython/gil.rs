//! The GIL in the interpreter's own words: whether somebody has it, who has it, and how often it has changed hands.
//!
//! # The holder
//!
//! Whoever takes it leaves its thread state there, so that the holder finds its own state by two loads, where `PyThreadState_Get`
//! asks for a variable of the thread in another library. From CPython 3.12 on; 3.11 keeps the holder's state in its runtime record.
//!
//! It is true whenever quell runs. `take_gil` writes the field, and everything that makes a thread state the current one takes the
//! GIL with it: `PyEval_RestoreThread`, `PyGILState_Ensure`, the child of a fork, and `PyThreadState_Swap`, which from 3.12 on gives the
//! GIL up and takes it again for the other state. Subinterpreters that share the GIL share the field. One that has a GIL of its own
//! runs none of quell: the module refuses to be loaded there, and a patched function looks at the interpreter first.

use std::ffi::{c_int, c_ulong};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering::Relaxed};

use pyo3::ffi;
use pyo3::prelude::*;

use super::layout;
use super::thread::ThreadState;

/// How `_gil_runtime_state` begins, on each version and in debug builds. The interpreter changes it by atomic operations.
#[repr(C)]
struct Gil {
    _switch_interval: c_ulong,
    last_holder: AtomicPtr<ffi::PyThreadState>,
    locked: AtomicI32,
    /// Counts who takes it and did not have it last.
    switches: AtomicUsize,
    _condition: [usize; size_of::<libc::pthread_cond_t>() / size_of::<usize>()],
    /// Of the mutex that guards all this, the first word: in glibc zero while it is free, in musl always.
    mutex: AtomicI32,
}

/// The value of `locked` while somebody has it.
const HELD: c_int = 1;

/// The main interpreter's. [`NONE`]: [`find`] was not called yet, or it is not where the known releases have it.
static GIL: AtomicPtr<Gil> = AtomicPtr::new((&raw const NONE).cast_mut());

/// One that nobody has ever had, so that who asks for the holder need not ask first whether there is a GIL.
static NONE: Gil = Gil {
    _switch_interval: 0,
    last_holder: AtomicPtr::new((&raw const NOBODY).cast_mut().cast()),
    locked: AtomicI32::new(0),
    switches: AtomicUsize::new(0),
    _condition: [0; size_of::<libc::pthread_cond_t>() / size_of::<usize>()],
    mutex: AtomicI32::new(0),
};

/// The thread state of nobody, with a number that no thread has.
#[repr(align(16))]
struct Nobody(#[expect(dead_code, reason = "read by its address")] [u8; Nobody::SIZE]);

impl Nobody {
    const SIZE: usize = 512;
    const NUMBER: u8 = u8::MAX;
}

static NOBODY: Nobody = Nobody([Nobody::NUMBER; Nobody::SIZE]);
const _: () = assert!(layout::TS_ID + size_of::<u64>() <= Nobody::SIZE);

/// Looks for it. Called once, attached to the main interpreter, before anything of quell's runs often.
pub(crate) fn find(_py: Python<'_>) {
    if !layout::verify() {
        return;
    }
    let Some(place) = place() else { return };
    // SAFETY: inside the runtime record, of which the main interpreter's state is a part, aligned, and all of its fields may have any
    // value.
    let found = unsafe { &*(place as *const Gil) };
    // The calling thread has it, so these are its fields if they say so.
    let mine = found.last_holder.load(Relaxed) == ThreadState::current().as_ptr();
    if mine && found.locked.load(Relaxed) == HELD {
        GIL.store(place as *mut Gil, Relaxed);
    }
}

/// Where it should be. Attached; the layout was verified.
#[cfg(not(Py_3_12))]
fn place() -> Option<usize> {
    Some(layout::runtime() + layout::RT_GIL)
}

/// Where it should be. Attached; the layout was verified.
#[cfg(Py_3_12)]
fn place() -> Option<usize> {
    /// The GIL that an interpreter made is a part of its state, near the beginning.
    const STATE: usize = 1 << 14;
    // SAFETY: attached.
    let state = unsafe { ffi::PyInterpreterState_Main() } as usize;
    // SAFETY: among the first fields of a live interpreter's state, whose layout was verified.
    let place: usize = unsafe { layout::read(state as *const u8, layout::IS_GIL) };
    let inside = (state..state + STATE).contains(&place);
    (inside && place.is_multiple_of(align_of::<Gil>())).then_some(place)
}

#[inline(always)]
fn any() -> &'static Gil {
    // Relaxed: written once, with the GIL, before the calling thread took that.
    // SAFETY: `NONE`, or inside the runtime record, which stays.
    unsafe { &*GIL.load(Relaxed) }
}

fn gil() -> Option<&'static Gil> {
    let any = any();
    (!std::ptr::eq(any, &raw const NONE)).then_some(any)
}

/// The thread state of the calling thread, which has the GIL. If that cannot be known, it [is nobody](is_nobody).
#[cfg(Py_3_12)]
#[inline(always)]
pub(super) fn holder() -> *mut ffi::PyThreadState {
    // Relaxed: the calling thread has written it itself, when it took the GIL.
    any().last_holder.load(Relaxed)
}

/// Whether it is no thread's state, but one of which only the number may be read, which is no thread's.
#[cfg(Py_3_12)]
#[inline(always)]
pub(super) fn is_nobody(state: *mut ffi::PyThreadState) -> bool {
    std::ptr::eq(state.cast(), &raw const NOBODY)
}

/// How often it has changed hands so far. None, if that cannot be known.
pub(crate) fn switches(_py: Python<'_>) -> Option<usize> {
    // Relaxed: changed by who has it only.
    gil().map(|gil| gil.switches.load(Relaxed))
}

/// Whether nobody has it, as it looks to a thread without it; so too if that cannot be known. Who gives it up says so first, and
/// lets go of the mutex some instructions later: who asked for that in between would have to be woken.
pub(crate) fn is_free() -> bool {
    // Relaxed, both: hints. Who takes it asks under the mutex.
    gil().is_none_or(|gil| gil.locked.load(Relaxed) != HELD && gil.mutex.load(Relaxed) == 0)
}

#[cfg(test)]
mod tests {
    use pyo3::prelude::*;

    /// On every interpreter that this is tested on.
    #[test]
    fn it_is_found_and_says_who_has_it() {
        Python::initialize();
        Python::attach(|py| {
            super::find(py);
            assert!(!super::is_free());
            let before = super::switches(py).expect("it was found");
            py.detach(|| std::thread::spawn(|| Python::attach(|_| ())).join().unwrap());
            let since = super::switches(py).unwrap().wrapping_sub(before);
            assert!(since >= 2, "there and back again, not {since}");
        });
    }
}
