//! What a Python thread waits for: its *want*, as it says itself before it sleeps in an operation of quell's.
//!
//! A want is entered and ended with the GIL, by the thread itself, right around the sleep; so whoever has the GIL and sees one knows that
//! its thread is inside that operation, has not looked at anything since, and keeps what it waits for alive. With the holds, which
//! change with the GIL too, that is all there is to know of who waits for whom; [`look`](crate::look) shows it, and
//! [`deadlock`](crate::deadlock) follows it.

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::{PyClass, ffi};
use quell::wait::Wait;

use super::record::{self, Record};
use crate::patch::held;
use crate::primitives::call::object_of;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Lock,
    RLock,
    Condition,
    Semaphore,
    Event,
    Barrier,
    Queue,
    /// The end of a thread.
    Thread,
    /// A `threading.Lock`, where these are patched.
    StandardLock,
    /// A `threading.RLock`, where these are patched.
    StandardRLock,
    /// What becomes of an interrupt.
    Delivery,
    /// Something that quell has inside.
    Other,
}

impl Kind {
    /// In a word: the class's name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Lock => "Lock",
            Kind::RLock => "RLock",
            Kind::Condition => "Condition",
            Kind::Semaphore => "Semaphore",
            Kind::Event => "Event",
            Kind::Barrier => "Barrier",
            Kind::Queue => "Queue",
            Kind::Thread => "Thread",
            Kind::StandardLock => "threading.Lock",
            Kind::StandardRLock => "threading.RLock",
            Kind::Delivery => "Delivery",
            Kind::Other => "quell",
        }
    }
}

/// One thing to wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct What {
    pub(crate) kind: Kind,
    /// What the holds of a lock are known by.
    pub(crate) key: *const (),
    /// The Python object, borrowed from the operation; null if it has none.
    pub(crate) object: *mut ffi::PyObject,
    /// Where the number of the thread is, or will be, that holds it, if no hold tells; kept by the operation.
    holder: *const AtomicU64,
}

// SAFETY: the pointers are compared; followed only while the want stands, with the GIL.
unsafe impl Send for What {}

impl What {
    /// Something without an object.
    pub(crate) const OTHER: What =
        What { kind: Kind::Other, key: null(), object: null_mut(), holder: null() };

    /// One of the package's own objects, by its value.
    pub(crate) fn value<T: PyClass<BaseType = PyAny>>(kind: Kind, value: &T) -> What {
        let key = (&raw const *value).cast();
        What { kind, key, object: object_of(value), holder: null() }
    }

    /// A Python object.
    pub(crate) fn object(kind: Kind, object: *mut ffi::PyObject) -> What {
        What { kind, key: object.cast_const().cast(), object, holder: null() }
    }

    /// The end of a thread, whose number is there.
    pub(crate) fn end(end: &AtomicU64) -> What {
        What { kind: Kind::Thread, ..What::OTHER }.or_held_by(end)
    }

    /// The same; if it is nobody's hold, the number of who has it, or 0, is there.
    pub(crate) fn or_held_by(self, holder: &AtomicU64) -> What {
        What { holder, ..self }
    }

    /// Who holds it, by the number of its thread state, if such a thing has a holder and that is known. The want stands.
    pub(crate) fn holder(&self, py: Python<'_>) -> Option<u64> {
        let hold = match self.kind {
            Kind::Lock | Kind::RLock => record::holder(py, self.key).map(|r| r.tstate_id()),
            Kind::StandardLock => held::holder_of_lock(py, self.object).map(|held| held.number),
            Kind::StandardRLock => held::holder_of_rlock(py, self.object),
            _ => None,
        };
        // SAFETY: kept by the operation.
        hold.or_else(|| unsafe { self.holder.as_ref() }.and_then(End::number))
    }

    /// The same, if it is that thread's to give it back: of the standard library's locks not all are.
    pub(crate) fn holder_for_sure(&self, py: Python<'_>) -> Option<u64> {
        match self.kind {
            Kind::StandardLock => {
                held::holder_of_lock(py, self.object).filter(|h| h.sure).map(|h| h.number)
            }
            _ => self.holder(py),
        }
    }
}

/// Whose end an event stands for, if it does.
#[derive(Default)]
pub(crate) struct End(AtomicU64);

impl End {
    /// Stands for the end of a thread that has not begun. No thread state has this number.
    const NOT_BEGUN: u64 = u64::MAX;

    /// It stands for the end of a thread: from now on, of the calling one, or of one that will say so.
    pub(crate) fn stand_for(&self, calling: bool) {
        let number = if calling { super::my_number() } else { Self::NOT_BEGUN };
        // Relaxed: written and read with the GIL.
        self.0.store(number, Relaxed);
    }

    /// What a wait for it is.
    pub(crate) fn what(&self) -> Option<What> {
        (self.0.load(Relaxed) != 0).then(|| What::end(&self.0))
    }

    fn number(end: &AtomicU64) -> Option<u64> {
        Some(end.load(Relaxed)).filter(|number| !matches!(*number, 0 | Self::NOT_BEGUN))
    }
}

/// Whether the wait may be ended because of a deadlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MayFail {
    /// It cannot: it must have what it waits for, or the thread is in a shield.
    No,
    /// It can, but an exception there would leave a lock held, or be swallowed.
    Badly,
    Yes,
}

/// One want.
pub(crate) struct Want {
    pub(crate) what: What,
    pub(crate) since: Instant,
    /// Whether it has a deadline.
    pub(crate) limited: bool,
    /// Whether an interrupt ends it.
    pub(crate) interruptible: bool,
    pub(crate) may_fail: MayFail,
    /// No other want has it.
    pub(crate) number: u64,
    /// The exception by which it is to end. See [`deadlock`](crate::deadlock).
    pub(crate) verdict: Option<Py<PyAny>>,
}

/// Whether deadlocks are looked for. Relaxed: written and read with the GIL.
static DETECTING: AtomicBool = AtomicBool::new(false);

/// See [`deadlock`](crate::deadlock).
#[inline]
pub(crate) fn is_detecting() -> bool {
    DETECTING.load(Relaxed)
}

/// Switches it, with the GIL held.
pub(crate) fn set_detecting(_py: Python<'_>, on: bool) {
    DETECTING.store(on, Relaxed);
}

/// A number for a want.
pub(crate) fn next_number() -> u64 {
    // Relaxed: taken with the GIL.
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Relaxed) + 1
}

/// What the options of a wait mean for a want of the calling thread.
fn interruptible(wait: &Wait) -> bool {
    wait.interruptible && quell::shield_depth() == 0
}

/// Whether the calling thread's wait with these options may fail.
pub(crate) fn may_fail(wait: &Wait) -> MayFail {
    // What is told to end is nudged, which ends waits with `signals`. `insist` has neither.
    match (wait.signals && quell::shield_depth() == 0, wait.interruptible) {
        (false, _) => MayFail::No,
        (true, false) => MayFail::Badly,
        (true, true) => MayFail::Yes,
    }
}

/// The calling thread is about to sleep. Ended by [`end`], with nothing of Python in between.
pub(crate) fn begin(py: Python<'_>, what: What, wait: &Wait, may_fail: MayFail, number: u64) {
    let want = Want {
        what,
        since: Instant::now(),
        limited: wait.deadline.is_some(),
        interruptible: interruptible(wait),
        may_fail,
        number,
        verdict: None,
    };
    Record::current(py).state(py, |s| s.want = Some(want));
}

/// The calling thread has slept. The exception by which the want was to end, if somebody decided so meanwhile.
pub(crate) fn end(py: Python<'_>) -> Option<Py<PyAny>> {
    Record::current(py).state(py, |s| s.want.take()).and_then(|want| want.verdict)
}
