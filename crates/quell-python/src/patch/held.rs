//! Who holds the standard library's locks, and where it has acquired them: for [`deadlock`](crate::deadlock) and
//! [`look`](crate::look).
//!
//! An `RLock` says itself which thread has it. A `Lock` does not. So while deadlocks are looked for, an acquire through the
//! replaced methods leaves a *note* here; and the methods that release are replaced as well, for that time, to take it away. With
//! detection off there are no notes, releases are CPython's own (up to 3.13), and an acquire looks at one word more.
//!
//! All of it changes with the GIL held:
//!
//! | step | by |
//! | --- | --- |
//! | a note is made | who has acquired, before it gives the GIL up |
//! | it is taken away | who releases, in whatever thread, in one hold of the GIL with the release; also if somebody else has the lock by that |
//! | it is lifted, and brought back | a condition that waits, and has its lock again |
//! | it is taken away unread | the next acquire of the same lock; when detection or the patch ends |
//!
//! A lock that was acquired before, or by code written in C, has no note. A note counts as long as the lock is locked, and keeps it
//! alive; so it never speaks of another lock in the same place.
//!
//! **Sure.** Any thread may release a `Lock`, and some programs use one as a signal: acquired here, acquired again to wait, released
//! there. So an acquire makes its thread the one that all others depend on only if a `with` statement has made it, or a method that
//! a `with` or the `try` after it guards. A circle through any other is no deadlock for certain, and is not reported. Of an
//! `RLock` it is always certain.

use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::ffi;
use pyo3::prelude::*;

use super::call::{Call, Given};
use super::lock;
use super::mutex;
use super::site::{Entries, Site, Threads, site};
use super::table::SITES;
use crate::cpython::frame::Frame;
use crate::cpython::thread::ThreadState;
use crate::delivery::gil_cell::GilCell;
use crate::delivery::record::Record;
use crate::delivery::want::{self, Kind};
use crate::delivery::{self, Hold};
use crate::primitives::call::Obj;

/// A lock that a thread has acquired. Copies are good as long as the GIL is not given up.
#[derive(Clone, Copy)]
pub(crate) struct Note {
    /// Kept by the note in the table.
    lock: Obj,
    kind: Kind,
    /// `PyThreadState.id`.
    pub(crate) number: u64,
    pub(crate) hold: Hold,
    /// See the module.
    pub(crate) sure: bool,
}

impl Note {
    /// The lock.
    pub(crate) fn object(&self) -> Obj {
        self.lock
    }

    fn counts(&self) -> bool {
        lock::is_held(self.lock, self.kind)
    }
}

// SAFETY: the lock is used with the GIL held.
unsafe impl Send for Note {}

/// Gives up locks of notes that are in no table any more. May run Python code, as the end of any object.
fn discard(_py: Python<'_>, notes: impl IntoIterator<Item = Note>) {
    for note in notes {
        // SAFETY: attached; the reference that the table had. (At once: a `Py` would leave it for later.)
        unsafe { ffi::Py_DECREF(note.lock) };
    }
}

/// The notes, by the address of the lock, and those that are lifted, by the thread as well.
#[derive(Default)]
struct Notes {
    made: HashMap<usize, Note>,
    lifted: HashMap<(usize, u64), Note>,
}

static NOTES: GilCell<Option<Notes>> = GilCell::new(None);

/// Written and read with the GIL.
static WATCHING: AtomicBool = AtomicBool::new(false);

/// Whether deadlocks are looked for, and every acquire and release is seen.
#[inline]
pub(super) fn is_watching() -> bool {
    WATCHING.load(Relaxed)
}

/// The calling thread has acquired a lock: by an enter, or by a method that was called as a function.
#[inline]
pub(super) fn acquired(py: Python<'_>, lock: Obj, kind: Kind, entered: bool) {
    if is_watching() {
        note(py, lock, kind, entered);
    }
}

#[cold]
fn note(py: Python<'_>, lock: Obj, kind: Kind, entered: bool) {
    let me = Record::current(py).tstate_id();
    let key = (lock as usize, me);
    let top = ThreadState::current().top();
    let is_at = |name| top.and_then(Frame::code).is_some_and(|code| code.is_qualified(name));
    if kind == Kind::StandardLock && is_at(c"Condition._acquire_restore") && bring_back(py, key) {
        return;
    }
    let gone = if SIGNALS.iter().any(|name| is_at(name)) {
        NOTES.with(py, |notes| notes.as_mut()?.made.remove(&key.0))
    } else {
        let (frame, guarded) = acquirer(py, top);
        // SAFETY: attached; the lock of the running call.
        unsafe { ffi::Py_INCREF(lock) };
        let hold = Hold::by(lock.cast_const().cast(), frame);
        let sure = guarded || entered || kind == Kind::StandardRLock;
        let note = Note { lock, kind, number: me, hold, sure };
        NOTES.with(py, |notes| notes.get_or_insert_default().made.insert(key.0, note))
    };
    discard(py, gone);
    sweep(py);
}

/// Where the standard library acquires a lock for somebody else to release.
const SIGNALS: [&CStr; 4] = [
    c"Condition.wait",
    c"Thread._set_tstate_lock",
    c"Thread._reset_internal_locks",
    c"_ModuleLock.acquire",
];

/// The frame that has acquired, and whether its code gives back by itself what it has. Methods that acquire for their callers
/// are passed over.
fn acquirer(py: Python<'_>, top: Option<Frame>) -> (Option<Frame>, bool) {
    const NEAR: usize = 4;
    for frame in top.into_iter().flat_map(Frame::stack).take(NEAR) {
        if delivery::is_guarded(py, frame) {
            return (Some(frame), true);
        }
        let passes_on = frame.code().is_some_and(|code| {
            code.is_named(c"__enter__") || code.is_qualified(c"_RLock.acquire")
        });
        if !passes_on {
            return (Some(frame), false);
        }
    }
    (top, false)
}

/// Forgets locks that nobody else has any more, each time there are twice as many.
fn sweep(py: Python<'_>) {
    const FEW: usize = 64;
    let gone: Vec<_> = NOTES.with(py, |notes| {
        let Some(notes) = notes.as_mut() else { return Vec::new() };
        if notes.made.len() < FEW || !notes.made.len().is_power_of_two() {
            return Vec::new();
        }
        let gone = |_: &usize, note: &mut Note| {
            // SAFETY: a live object.
            unsafe { ffi::Py_REFCNT(note.object()) == 1 || !note.counts() }
        };
        notes.made.extract_if(gone).map(|(_, note)| note).collect()
    });
    discard(py, gone);
}

/// After a release of a Lock, which has answered so. Whoever has it now, its note is gone.
#[inline]
pub(super) fn lock_released(py: Python<'_>, lock: Obj, answer: Obj) {
    if is_watching() && !answer.is_null() {
        let top = ThreadState::current().top().and_then(Frame::code);
        let lift = top.is_some_and(|code| code.is_qualified(c"Condition._release_save"));
        released(py, lock, lift);
    }
}

/// The same of an RLock, unless the thread has more of it to release. Lifted, the note is brought back when the thread has it again.
#[inline]
pub(super) fn rlock_released(py: Python<'_>, lock: Obj, answer: Obj, lift: bool) {
    let again = || lock::owner(lock) == ThreadState::current().ident();
    if is_watching() && !answer.is_null() && !again() {
        released(py, lock, lift);
    }
}

#[cold]
fn released(py: Python<'_>, lock: Obj, lift: bool) {
    let gone = NOTES.with(py, |notes| {
        let notes = notes.as_mut()?;
        let note = notes.made.remove(&(lock as usize))?;
        if lift { notes.lifted.insert((lock as usize, note.number), note) } else { Some(note) }
    });
    discard(py, gone);
}

/// Brings back what the calling thread had lifted. False: nothing.
fn bring_back(py: Python<'_>, key: (usize, u64)) -> bool {
    let (found, gone) = NOTES.with(py, |notes| {
        let Some(notes) = notes.as_mut() else { return (false, None) };
        match notes.lifted.remove(&key) {
            Some(note) => (true, notes.made.insert(key.0, note)),
            None => (false, None),
        }
    });
    discard(py, gone);
    found
}

/// The note of a Lock that is locked. The lock lives.
pub(crate) fn holder_of_lock(py: Python<'_>, lock: Obj) -> Option<Note> {
    note_of(py, lock).filter(Note::counts)
}

/// The number of the thread that has an RLock, if it has not ended. The lock lives.
pub(crate) fn holder_of_rlock(_py: Python<'_>, lock: Obj) -> Option<u64> {
    let owner = Some(lock::owner(lock)).filter(|owner| *owner != 0);
    owner.and_then(ThreadState::with_ident).map(ThreadState::id)
}

/// Where a lock was acquired that is held.
pub(crate) fn note_of(py: Python<'_>, lock: Obj) -> Option<Note> {
    NOTES.with(py, |notes| notes.as_ref()?.made.get(&(lock as usize)).copied())
}

/// What a thread holds, as far as it was noted.
pub(crate) fn held_by(py: Python<'_>, number: u64) -> Vec<Note> {
    NOTES.with(py, |notes| {
        let all = notes.iter().flat_map(|notes| notes.made.values());
        all.filter(|note| note.number == number && note.counts()).copied().collect()
    })
}

// ---- the methods that release

/// `lock.release()`, its other name, and `lock.__exit__(…)`.
#[cfg(not(Py_3_14))]
fn release(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let answer = call.original();
    lock_released(py, call.slf, answer);
    Ok(answer)
}

/// `RLock.release()` and `RLock.__exit__(…)`.
#[cfg(not(Py_3_14))]
fn release_again(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let answer = call.original();
    rlock_released(py, call.slf, answer, false);
    Ok(answer)
}

/// `RLock._release_save()`.
#[cfg(not(Py_3_14))]
fn release_save(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let answer = call.original();
    rlock_released(py, call.slf, answer, true);
    Ok(answer)
}

/// `RLock._acquire_restore(state)`: it waits here, to be seen, and has the lock before it ends.
fn acquire_restore(py: Python<'_>, call: &Call) -> PyResult<Obj> {
    let [state] = call.positional() else { return Ok(call.original()) };
    // SAFETY: a live argument of the running call.
    let state = unsafe { Bound::from_borrowed_ptr(py, *state) };
    let Ok((times, owner)) = state.extract::<(u64, u64)>() else { return Ok(call.original()) };
    let answer = lock::take_back(py, call, owner, times)?;
    if !answer.is_null() {
        bring_back(py, (call.slf as usize, Record::current(py).tstate_id()));
    }
    Ok(answer)
}

/// From 3.14 on the others are replaced in any case, and tell of it as well: see [`mutex`].
static REPLACED: &[&Site] = &[
    #[cfg(not(Py_3_14))]
    site!("held", "Lock.release", c"_thread", "LockType.release", All, release),
    #[cfg(not(Py_3_14))]
    site!("held", "Lock.release_lock", c"_thread", "LockType.release_lock", All, release),
    #[cfg(not(Py_3_14))]
    site!("held", "Lock.__exit__", c"_thread", "LockType.__exit__", All, release),
    #[cfg(not(Py_3_14))]
    site!("held", "RLock.release", c"_thread", "RLock.release", All, release_again),
    #[cfg(not(Py_3_14))]
    site!("held", "RLock.__exit__", c"_thread", "RLock.__exit__", All, release_again),
    #[cfg(not(Py_3_14))]
    site!("held", "RLock._release_save", c"_thread", "RLock._release_save", All, release_save),
    site!(
        "held",
        "RLock._acquire_restore",
        c"_thread",
        "RLock._acquire_restore",
        All,
        acquire_restore
    ),
];

/// After detection was switched, or something was replaced or restored: sees to it that notes are taken away, or that there
/// are none.
pub(crate) fn update(py: Python<'_>) -> PyResult<()> {
    let acquires = || SITES.iter().any(|s| s.threads() == Threads::Watched && s.is_replaced());
    let wanted = want::is_detecting() && acquires();
    if wanted {
        for site in REPLACED.iter().filter(|site| !site.is_replaced()) {
            site.replace(py)?;
        }
    }
    // Where a release cannot be seen a note would stay.
    let seen = REPLACED.iter().all(|site| site.is_replaced());
    let seen = seen && (cfg!(not(Py_3_14)) || mutex::releases_tell());
    WATCHING.store(wanted && seen, Relaxed);
    if !is_watching() {
        for site in REPLACED.iter().filter(|site| site.is_replaced()) {
            site.restore(py);
        }
        let gone = NOTES.with(py, Option::take).unwrap_or_default();
        discard(py, gone.made.into_values().chain(gone.lifted.into_values()));
    }
    Ok(())
}

/// In the child of a fork the other threads hold nothing that they could give back.
pub(super) fn after_fork(py: Python<'_>) {
    let me = ThreadState::current().id();
    NOTES.with(py, |notes| {
        if let Some(notes) = notes {
            // Their frames are never unwound: the locks stay as they are, for ever.
            notes.made.retain(|_, note| note.number == me);
            notes.lifted.clear();
        }
    });
}
