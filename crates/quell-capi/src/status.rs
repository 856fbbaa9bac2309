//! How a call ended: the status, the words for it, and the boundary that no panic crosses.
//!
//! Every exported function that can fail runs its body in [`call`] or [`call_for`]. A [`Failure`] becomes the status that
//! is returned and the thread's last error, which is put into words only if somebody asks.

use crate::deadlock::failed;
use crate::reason::delivered;
use quell_core::{Interrupted, WaitError};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a call ended. QUELL_OK is 0, everything else is not. The numbers are part of the ABI.
///
/// A call that ends with anything else than QUELL_OK had no effect, unless its description says so.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum quell_status {
    /// It did what it says.
    QUELL_OK = 0,
    /// The calling thread was interrupted; quell_take_reason() has the reason.
    QUELL_INTERRUPTED = 1,
    /// The deadline has passed.
    QUELL_TIMED_OUT = 2,
    /// The call would have to wait, and was told not to; or the object is in use and cannot be freed.
    QUELL_BUSY = 3,
    /// The queue has no room, and the call does not wait.
    QUELL_FULL = 4,
    /// The queue has no item, and the call does not wait.
    QUELL_EMPTY = 5,
    /// The queue is shut down; to get from it, also empty.
    QUELL_SHUT_DOWN = 6,
    /// The barrier is broken: a party gave up, or it was aborted or reset.
    QUELL_BROKEN = 7,
    /// The calling thread does not hold the lock.
    QUELL_NOT_OWNER = 8,
    /// The calling thread would wait for itself, for ever; directly, or through others that wait for it.
    QUELL_DEADLOCK = 9,
    /// More was given back than was taken.
    QUELL_OVERFLOW = 10,
    /// The scope is not the innermost one of the calling thread.
    QUELL_MISNESTED = 11,
    /// The interrupt cannot be taken back: it was delivered or withdrawn, or its target has ended.
    QUELL_TOO_LATE = 12,
    /// No living thread has this id.
    QUELL_EXITED = 13,
    /// An argument is null or out of range.
    QUELL_INVALID = 14,
    /// The system refused; errno says why.
    QUELL_SYSTEM = 15,
    /// A bug in quell. The message says where.
    QUELL_INTERNAL = 16,
}

use quell_status::*;

impl quell_status {
    /// The status with this number, if there is one.
    pub(crate) fn from_number(number: i32) -> Option<quell_status> {
        const LAST: i32 = QUELL_INTERNAL as i32;
        // SAFETY: the enum has every number from 0 to its last.
        (0..=LAST).contains(&number).then(|| unsafe { std::mem::transmute(number) })
    }

    /// In words, and what to do; both with a NUL at the end.
    fn words(self) -> &'static CStr {
        match self {
            QUELL_OK => c"success",
            QUELL_INTERRUPTED => c"interrupted",
            QUELL_TIMED_OUT => c"the deadline has passed",
            QUELL_BUSY => c"busy: in use, or the call would have to wait",
            QUELL_FULL => c"the queue is full",
            QUELL_EMPTY => c"the queue is empty",
            QUELL_SHUT_DOWN => c"the queue is shut down",
            QUELL_BROKEN => c"the barrier is broken",
            QUELL_NOT_OWNER => c"the calling thread does not hold the lock",
            QUELL_DEADLOCK => c"threads would wait for each other, for ever",
            QUELL_OVERFLOW => c"more was given back than was taken",
            QUELL_MISNESTED => c"the scope is not the innermost one",
            QUELL_TOO_LATE => c"too late: the interrupt has come to its end",
            QUELL_EXITED => c"no living thread has this id",
            QUELL_INVALID => c"invalid argument",
            QUELL_SYSTEM => c"the system refused",
            QUELL_INTERNAL => c"a bug in quell",
        }
    }

    /// What the caller may do about it.
    fn advice(self) -> &'static str {
        match self {
            QUELL_OK | QUELL_OVERFLOW | QUELL_INVALID | QUELL_SYSTEM | QUELL_DEADLOCK => "",
            QUELL_INTERRUPTED => "clean up and return; quell_take_reason() has the reason",
            QUELL_TIMED_OUT => "nothing was done; call again to go on waiting",
            QUELL_BUSY => "nothing was done; wait for those who use it, or call again later",
            QUELL_FULL => "the item is still the caller's; quell_queue_put() waits for room",
            QUELL_EMPTY => "quell_queue_get() waits for an item",
            QUELL_SHUT_DOWN => "an item that was not put is still the caller's",
            QUELL_BROKEN => "quell_barrier_reset() makes it usable again",
            QUELL_NOT_OWNER => "release in the thread that acquired",
            QUELL_MISNESTED => "nothing was ended; end the inner scopes first",
            QUELL_TOO_LATE => "quell_receipt_state() tells which",
            QUELL_EXITED => "ids are never reused: nobody was interrupted in its place",
            QUELL_INTERNAL => "please report it",
        }
    }
}

/// Why a call did not succeed.
pub(crate) struct Failure {
    status: quell_status,
    /// What happened, if there is more to say than the status does.
    what: Option<String>,
    /// For errno.
    code: Option<i32>,
}

impl Failure {
    pub(crate) fn new(status: quell_status, what: impl Into<String>) -> Failure {
        Failure { status, what: Some(what.into()), code: None }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Failure {
        Failure::new(QUELL_INVALID, what)
    }

    /// What the system has just refused, with its reason.
    pub(crate) fn system(error: &std::io::Error) -> Failure {
        Failure { code: error.raw_os_error(), ..Failure::new(QUELL_SYSTEM, error.to_string()) }
    }

    fn panicked(payload: &(dyn Any + Send)) -> Failure {
        let words = payload
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Failure::new(QUELL_INTERNAL, words.unwrap_or("a panic without words"))
    }

    /// Becomes the thread's last error.
    fn record(self, function: &'static str) -> quell_status {
        let status = self.status;
        // A thread whose thread-locals are gone has no last error.
        let _ = LAST.try_with(|last| {
            *last.borrow_mut() = Last { function, status, what: self.what, text: None };
        });
        if let Some(code) = self.code {
            // SAFETY: the thread's own errno, which is always there. The last thing that is done.
            unsafe { *errno() = code };
        }
        status
    }
}

/// Where the calling thread's errno is.
fn errno() -> *mut i32 {
    #[cfg(target_os = "linux")]
    // SAFETY: no obligations.
    return unsafe { libc::__errno_location() };
    #[cfg(not(target_os = "linux"))]
    // SAFETY: no obligations.
    return unsafe { libc::__error() };
}

impl From<quell_status> for Failure {
    fn from(status: quell_status) -> Failure {
        Failure { status, what: None, code: None }
    }
}

impl From<Interrupted> for Failure {
    fn from(interrupted: Interrupted) -> Failure {
        Failure::new(QUELL_INTERRUPTED, delivered(interrupted))
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Failure {
        match error {
            WaitError::TimedOut => QUELL_TIMED_OUT.into(),
            WaitError::Interrupted(interrupted) => interrupted.into(),
            WaitError::Deadlock(deadlock) => Failure::new(QUELL_DEADLOCK, failed(deadlock)),
            WaitError::Signalled => {
                Failure::new(QUELL_INTERNAL, "the wait did not ask for signals")
            }
        }
    }
}

/// The thread's last failed call.
struct Last {
    function: &'static str,
    status: quell_status,
    what: Option<String>,
    /// Made when somebody asks.
    text: Option<CString>,
}

thread_local! {
    static LAST: RefCell<Last> =
        const { RefCell::new(Last { function: "", status: QUELL_OK, what: None, text: None }) };
}

/// Runs the body of an exported function that returns a status.
#[inline]
pub(crate) fn call(
    function: &'static str,
    body: impl FnOnce() -> Result<(), Failure>,
) -> quell_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => QUELL_OK,
        Ok(Err(failure)) => failure.record(function),
        Err(payload) => Failure::panicked(&*payload).record(function),
    }
}

/// The same of a function that returns something else, and `otherwise` if it fails.
pub(crate) fn call_for<T>(
    function: &'static str,
    otherwise: T,
    body: impl FnOnce() -> Result<T, Failure>,
) -> T {
    let mut answer = otherwise;
    let body = || {
        answer = body()?;
        Ok(())
    };
    let _recorded = call(function, body);
    answer
}

/// A status in words, such as "the queue is full". Static; never null. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_strerror(status: i32) -> *const c_char {
    let words = quell_status::from_number(status).map_or(c"not a status of quell", |s| s.words());
    words.as_ptr()
}

/// The calling thread's last call that did not return QUELL_OK, in words: which function, in which thread, what happened,
/// what to do. Empty if there was none.
///
/// The string belongs to quell, and is valid until the next call that fails in this thread. Does not block. A call that
/// succeeds leaves the message alone, as with errno.
#[unsafe(no_mangle)]
pub extern "C" fn quell_last_error() -> *const c_char {
    let pointer = LAST.try_with(|last| {
        let Ok(mut last) = last.try_borrow_mut() else { return c"".as_ptr() };
        if last.status == QUELL_OK {
            return c"".as_ptr();
        }
        if last.text.is_none() {
            let text = last.in_words();
            last.text = Some(text);
        }
        last.text.as_deref().unwrap_or_default().as_ptr()
    });
    pointer.unwrap_or(c"".as_ptr())
}

impl Last {
    fn in_words(&self) -> CString {
        let what = match &self.what {
            Some(what) => what.as_str(),
            None => self.status.words().to_str().unwrap_or_default(),
        };
        let advice = match self.status.advice() {
            "" => String::new(),
            advice => format!("; {advice}"),
        };
        let thread = quell_core::current();
        let text = format!("{}() in {thread}: {what}{advice}", self.function);
        // No NUL can come from C, whose strings end there.
        CString::new(text.replace('\0', " ")).unwrap_or_default()
    }
}
