//! What is known of each Python thread: its thread in the core, its holds, what was raised in it last.
//!
//! Records are keyed by `PyThreadState.id`, which is never reused, and found by their own thread through a
//! thread-local pointer. A record is made by its own thread on first use, or by whoever interrupts the thread first;
//! then the thread adopts it when it first runs quell code.
//!
//! *Lifetime.* The table owns the records. One is dropped from it only when its thread has ended for the core as
//! well, that is, when the operating system's thread has run its destructors ([`sweep`]): until then the thread-local
//! pointer may be followed. Whoever keeps a record beyond one look (a target, the driver) owns a share of it.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ffi::c_int;
use std::ptr;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use quell::Interrupt;
use quell::thread::Thread;

use super::Options;
use super::gate::{self, Arming};
use super::gil_cell::GilCell;
use super::holds::{Hold, Holds};
use super::impersonate;
use super::reason::Reason;
use super::want::Want;
use crate::cpython::thread::ThreadState;

/// One Python thread.
pub(crate) struct Record {
    thread: Thread,
    tstate_id: u64,
    ident: u64,
    holds: Holds,
    state: GilCell<State>,
}

/// What the GIL guards of a record.
#[derive(Default)]
pub(super) struct State {
    /// What it waits for, while it sleeps.
    pub(super) want: Option<Want>,
    /// It is asking somebody what to do about a deadlock.
    judging: bool,
    pub(super) arming: Arming,
    pub(super) options: Options,
    /// The interrupt that was raised last, without its exception, and the number its exception carries.
    last: Option<(Interrupt, i64)>,
    /// Where that exception stands, or stood: not followed.
    raised: usize,
    /// Nothing is raised in frames above this one: one of them swallowed the last raise.
    pub(super) ceiling: Option<usize>,
    /// Instructions of this thread that the gate has seen since it was armed.
    pub(super) events: u64,
    /// Signals that found the thread outside any call, in a row.
    pub(super) declined: u32,
    /// A signal found the thread in a shield. No more of them are sent: leaving the shield looks at what is pending.
    pub(super) shielded: bool,
    /// The thread is in calls of quell's own that an interrupt ends, or that it must not end: so many, one in the other.
    pub(super) own_calls: u32,
    pub(super) adopted: bool,
}

static RECORDS: GilCell<Option<HashMap<u64, Arc<Record>>>> = GilCell::new(None);

/// Whose record was asked for last, by the id of its thread state, and the record. Mostly the same thread asks again, and
/// this is reached sooner than a thread's own variable.
struct Latest(Cell<(u64, *const Record)>);
// SAFETY: used through a `Python` token only, so with the GIL held.
unsafe impl Sync for Latest {}
/// No thread state has the number 0.
static LATEST: Latest = Latest(Cell::new((0, ptr::null())));

thread_local! {
    /// The record of this thread's newest thread state. Not owned: records outlive their threads.
    static MINE: Cell<*const Record> = const { Cell::new(ptr::null()) };
}

/// The attribute that marks an exception as raised by quell, while it may still be swallowed.
const MARK: &str = "__quell_serial__";

impl Record {
    /// The calling thread's record.
    #[inline]
    pub(crate) fn current(py: Python<'_>) -> &Record {
        Self::of_current(py, ThreadState::current())
    }

    /// The calling thread's record, with its state at hand.
    #[inline]
    pub(super) fn of_current(py: Python<'_>, thread: ThreadState) -> &Record {
        match Self::of_latest(py, thread) {
            Some(record) => record,
            None => Self::find_mine(py, thread),
        }
    }

    /// The calling thread's record, if it was asked for last.
    #[inline(always)]
    pub(super) fn of_latest(_py: Python<'_>, thread: ThreadState) -> Option<&Record> {
        let (id, record) = LATEST.0.get();
        // SAFETY: ids are never reused, so it is the calling thread's own record, which is kept while the thread runs.
        (id == thread.id()).then(|| unsafe { &*record })
    }

    #[cold]
    #[inline(never)]
    fn find_mine(py: Python<'_>, thread: ThreadState) -> &Record {
        // SAFETY: a non-null pointer is that of this thread's record, which is kept while the thread runs.
        let record = match unsafe { MINE.get().as_ref() } {
            Some(record) if record.tstate_id == thread.id() => record,
            _ => Self::find_or_make_mine(py),
        };
        LATEST.0.set((record.tstate_id, record));
        record
    }

    #[cold]
    fn find_or_make_mine(py: Python<'_>) -> &Record {
        let record = Arc::as_ptr(&Self::of(py, ThreadState::current()));
        MINE.set(record);
        // SAFETY: the table owns it as long as this thread runs.
        let record = unsafe { &*record };
        if !record.state(py, |s| std::mem::replace(&mut s.adopted, true)) {
            // Fails only where the thread has a core record already, which `of` then used.
            let _ = quell::thread::adopt(&record.thread);
        }
        record
    }

    /// The calling thread's record if it has one; makes nothing.
    #[inline]
    pub(super) fn existing(py: Python<'_>) -> Option<&Record> {
        let id = ThreadState::current().id();
        // SAFETY: as in `current`.
        match unsafe { MINE.get().as_ref() } {
            Some(record) if record.tstate_id == id => Some(record),
            _ => RECORDS
                .with(py, |records| records.as_ref().is_some_and(|r| r.contains_key(&id)))
                .then(|| Self::current(py)),
        }
    }

    /// The record of a thread state, made if need be.
    pub(super) fn of(py: Python<'_>, ts: ThreadState) -> Arc<Record> {
        let id = ts.id();
        let known = RECORDS.with(py, |records| records.as_ref().and_then(|r| r.get(&id)).cloned());
        if let Some(record) = known {
            return record;
        }
        let own = ts == ThreadState::current() && quell::thread::is_registered();
        let thread = if own { quell::thread::current() } else { Thread::unattached(None) };
        let record = Arc::new(Record {
            thread,
            tstate_id: id,
            ident: ts.ident(),
            holds: Holds::default(),
            state: GilCell::new(State { adopted: own, ..State::default() }),
        });
        sweep(py);
        RECORDS.with(py, |records| records.get_or_insert_default().insert(id, record.clone()));
        record
    }

    pub(crate) fn thread(&self) -> &Thread {
        &self.thread
    }

    #[inline]
    pub(crate) fn tstate_id(&self) -> u64 {
        self.tstate_id
    }

    #[inline]
    pub(crate) fn ident(&self) -> u64 {
        self.ident
    }

    /// The thread's state in the interpreter, if the thread has not ended.
    pub(crate) fn thread_state(&self) -> Option<ThreadState> {
        ThreadState::find(self.tstate_id)
    }

    #[inline]
    pub(super) fn state<R>(&self, py: Python<'_>, f: impl FnOnce(&mut State) -> R) -> R {
        self.state.with(py, f)
    }

    pub(super) fn allow(&self, py: Python<'_>, options: Options) {
        self.state(py, |s| {
            s.options.insist |= options.insist;
            s.options.force |= options.force;
            s.options.impersonate |= options.impersonate;
        });
    }

    // ---- holds

    #[inline(always)]
    pub(super) fn held(&self) -> &Holds {
        &self.holds
    }

    /// The holds, the oldest first.
    pub(crate) fn holds(&self, py: Python<'_>) -> Vec<Hold> {
        self.holds.all(py)
    }

    /// What the thread waits for, if it does. `f` runs no Python code, and drops no object.
    pub(crate) fn want<R>(&self, py: Python<'_>, f: impl FnOnce(&mut Want) -> R) -> Option<R> {
        self.state(py, |s| s.want.as_mut().map(f))
    }

    /// Whether the thread is asking what to do about a deadlock.
    pub(crate) fn is_judging(&self, py: Python<'_>) -> bool {
        self.state(py, |s| s.judging)
    }

    pub(crate) fn set_judging(&self, py: Python<'_>, judging: bool) {
        self.state(py, |s| s.judging = judging);
    }

    // ---- delivery, by the thread itself

    /// Takes the next interrupt that may be raised in the calling thread, whose record this is.
    pub(super) fn take(&self, py: Python<'_>, where_blocked: bool) -> Option<Interrupt> {
        loop {
            let interrupt = quell::interrupt::take_pending(where_blocked)?;
            if is_admitted(py, &interrupt) {
                return Some(interrupt);
            }
        }
    }

    /// The exception of an interrupt that was taken, ready to be raised.
    pub(super) fn delivered(&self, py: Python<'_>, interrupt: Interrupt) -> PyErr {
        impersonate::give_back(py);
        let Some(exception) = interrupt.downcast_ref::<Reason>().and_then(|r| r.take(py)) else {
            // Sent through the core by other code of the process.
            let text = format!("interrupted: {interrupt:?}");
            return PyErr::from_type(crate::exceptions::interrupt_type(py).clone(), text);
        };
        let exception = exception.into_bound(py);
        let serial = self.state(py, |s| s.last.as_ref().map_or(1, |(_, n)| n + 1));
        // An exception that takes no attributes is not recognised where it is swallowed.
        let _ = exception.setattr(MARK, serial);
        let previous = self.state(py, |s| {
            s.raised = exception.as_ptr() as usize;
            s.ceiling = None;
            s.shielded = false;
            if !self.thread.has_pending() {
                s.options = Options::default();
            }
            s.last.replace((interrupt, serial))
        });
        drop(previous);
        // Raised and fetched, rather than made: this is what gives it the exception that is being handled as context.
        // SAFETY: an exception instance and its type.
        unsafe { ffi::PyErr_SetObject(exception.get_type().as_ptr(), exception.as_ptr()) };
        PyErr::fetch(py)
    }

    /// Whether the calling thread, whose record this is, handles the exception that was raised in it last.
    pub(super) fn is_handling_last(&self, py: Python<'_>) -> bool {
        // SAFETY: attached; a new reference or null. It is compared only: should another exception stand in the place of one
        // that is gone, the interrupt that is pending is raised a little later.
        unsafe {
            let handled = ffi::PyErr_GetHandledException();
            ffi::Py_XDECREF(handled);
            !handled.is_null() && handled as usize == self.state(py, |s| s.raised)
        }
    }

    /// The interpreter has swallowed `exception` in the calling thread: if it is the one raised last, it is pending
    /// again, not to be raised above the frame that runs now. If none runs, the exception has ended all that the thread had to
    /// run, as it was meant to.
    pub(super) fn swallowed(&self, py: Python<'_>, exception: &Bound<'_, PyAny>) -> bool {
        let Some(frame) = ThreadState::current().top() else { return false };
        let Ok(serial) = exception.getattr(MARK).and_then(|n| n.extract::<i64>()) else {
            return false;
        };
        let Some((interrupt, _)) =
            self.state(py, |s| s.last.take_if(|(_, number)| *number == serial))
        else {
            return false;
        };
        // SAFETY: an exception instance; None drops the traceback of the raise that did not count.
        let _: c_int = unsafe {
            pyo3::ffi::PyException_SetTraceback(exception.as_ptr(), pyo3::ffi::Py_None())
        };
        if let Some(reason) = interrupt.downcast_ref::<Reason>() {
            reason.put_back(py, exception.clone().unbind());
        }
        self.state(py, |s| s.ceiling = Some(frame.address()));
        quell::interrupt::requeue_front(interrupt);
        true
    }
}

/// Whether the sender of `interrupt` wants it raised where the calling thread is.
pub(super) fn is_admitted(py: Python<'_>, interrupt: &Interrupt) -> bool {
    interrupt.downcast_ref::<Reason>().is_none_or(|reason| reason.is_admitted(py))
}

/// The core's handle of the calling Python thread.
pub fn current_thread(py: Python<'_>) -> Thread {
    Record::current(py).thread.clone()
}

/// The record of the thread with this state, if there is one.
pub(crate) fn find(py: Python<'_>, tstate_id: u64) -> Option<Arc<Record>> {
    RECORDS.with(py, |records| records.as_ref()?.get(&tstate_id).cloned())
}

/// All records, those of threads that have ended among them.
pub(crate) fn all(py: Python<'_>) -> Vec<Arc<Record>> {
    RECORDS.with(py, |records| records.iter().flat_map(HashMap::values).cloned().collect())
}

/// The record of the thread that holds the lock `key`.
pub(super) fn holder(py: Python<'_>, key: *const ()) -> Option<Arc<Record>> {
    RECORDS.with(py, |records| {
        let mut all = records.as_ref()?.values();
        all.find(|r| r.holds.has(py, key)).cloned()
    })
}

/// Drops the records of threads that have ended, each time the table has doubled. One that has left a lock held says who did, as
/// long as the lock is there and held.
fn sweep(py: Python<'_>) {
    const FEW: usize = 64;
    let gone: Vec<_> = RECORDS.with(py, |records| {
        let records = records.get_or_insert_default();
        if records.len() < FEW || !records.len().is_power_of_two() {
            return Vec::new();
        }
        let living: HashSet<u64> = ThreadState::all().map(ThreadState::id).collect();
        let ended = |id: &u64, record: &mut Arc<Record>| {
            let (adopted, holds) = (record.state(py, |s| s.adopted), !record.holds.is_empty(py));
            let running = adopted && record.thread.is_alive();
            !running && !holds && !living.contains(id)
        };
        records.extract_if(ended).collect()
    });
    for (_, record) in &gone {
        record.thread.mark_exited();
    }
}

/// In the child of a fork: forgets every thread but the calling one, and what was pending in that one. The interrupts
/// are the parent's: each of them ends there, once.
pub(super) fn after_fork(py: Python<'_>) {
    let me = ThreadState::current().id();
    let (mine, others): (Vec<_>, Vec<_>) = RECORDS.with(py, |records| {
        records.take().unwrap_or_default().into_iter().partition(|(id, _)| *id == me)
    });
    for (_, record) in others.iter().chain(&mine) {
        gate::disarm(py, record);
    }
    for (_, record) in &mine {
        record.thread.withdraw_all();
    }
    RECORDS.with(py, |records| *records = Some(mine.into_iter().collect()));
    // Leaked on purpose: the gone threads' interrupts hold exceptions whose frames nobody will unwind.
    std::mem::forget(others);
}
