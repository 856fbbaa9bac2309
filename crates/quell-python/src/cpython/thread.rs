//! Thread states: the interpreter's own record of each thread, walked with the GIL held.

use std::time::Duration;

use pyo3::ffi;
use pyo3::prelude::*;

use super::frame::Frame;
#[cfg(Py_3_12)]
use super::gil;
use super::layout::{self, read};

/// Whether the calling thread runs the process's first interpreter.
pub(crate) fn is_in_main_interpreter(_py: Python<'_>) -> bool {
    // SAFETY: both return what lives as long as the interpreter, which the calling thread is attached to.
    unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() }
}

/// A thread state. Valid only while the GIL is held: whoever stores one must find it again by its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ThreadState(*mut ffi::PyThreadState);

impl ThreadState {
    /// The calling thread's own. The GIL must be held.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        let state = Self::current_or_nobody();
        #[cfg(Py_3_12)]
        if gil::is_nobody(state.0) {
            // SAFETY: every caller in this crate holds the GIL, so there is a current thread state.
            return Self(unsafe { ffi::PyThreadState_Get() });
        }
        state
    }

    /// The same where it is found without a call, which asks for a variable of the thread in another library, and takes three times as
    /// long. Where it is not, a state of which only the number may be read, which is no thread's.
    #[inline(always)]
    pub(crate) fn current_or_nobody() -> Self {
        #[cfg(Py_3_12)]
        let state = gil::holder();
        // CPython 3.11 keeps it in one place for all threads.
        // SAFETY: at the verified offset.
        #[cfg(not(Py_3_12))]
        let state = unsafe { read(layout::runtime() as *const u8, layout::RT_CURRENT) };
        #[cfg(Py_3_12)]
        let known = !gil::is_nobody(state);
        #[cfg(not(Py_3_12))]
        let known = true;
        // SAFETY: every caller in this crate holds the GIL.
        debug_assert!(!known || state == unsafe { ffi::PyThreadState_Get() });
        Self(state)
    }

    /// The pointer itself, for the public API.
    pub(crate) fn as_ptr(self) -> *mut ffi::PyThreadState {
        self.0
    }

    fn field<T: Copy>(self, offset: usize) -> T {
        // SAFETY: a live thread state under the GIL; `offset` is one of the verified ones.
        unsafe { read(self.0.cast(), offset) }
    }

    /// `PyThreadState.id`: never reused within an interpreter.
    #[inline]
    pub(crate) fn id(self) -> u64 {
        self.field(layout::TS_ID)
    }

    /// `threading.get_ident()` of the thread: reused once the thread has ended.
    pub(crate) fn ident(self) -> u64 {
        self.field(layout::TS_THREAD_ID)
    }

    /// The kernel's id of the thread.
    pub(crate) fn native_id(self) -> u64 {
        self.field(layout::TS_NATIVE_ID)
    }

    /// Processor time the thread has used. None if the system does not tell.
    pub(crate) fn processor_time(self) -> Option<Duration> {
        let mut clock = 0;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a thread that has a state has not ended, and its ident is its pthread_t; both places are ours.
        let known = unsafe {
            libc::pthread_getcpuclockid(self.ident() as libc::pthread_t, &raw mut clock) == 0
                && libc::clock_gettime(clock, &raw mut time) == 0
        };
        known.then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    /// Non-zero while a trace or profile function of this thread runs.
    #[cfg(not(Py_3_12))]
    pub(crate) fn tracing(self) -> i32 {
        self.field(layout::TS_TRACING)
    }

    /// The trace function installed for this thread.
    #[cfg(not(Py_3_12))]
    pub(crate) fn trace_function(self) -> Option<ffi::Py_tracefunc> {
        self.field(layout::TS_C_TRACEFUNC)
    }

    /// Has `function` called for this thread's events, with the object that is in place. Runs no Python code and does not
    /// release the GIL, unlike the interpreter's own functions for this, which tell the audit hooks: a state of
    /// another thread could be gone when they return.
    #[cfg(not(Py_3_12))]
    pub(crate) fn set_trace_function(self, function: Option<ffi::Py_tracefunc>) {
        // SAFETY: a live thread state under the GIL, and the offsets of this version's structures. The evaluation loop reads
        // the flag in the C frame record at each instruction: it is set as `sys.settrace` sets it.
        unsafe {
            let place = self.0.cast::<u8>().add(layout::TS_C_TRACEFUNC);
            place.cast::<Option<ffi::Py_tracefunc>>().write(function);
            let profiled = self.field::<usize>(layout::TS_C_PROFILEFUNC) != 0;
            let traced = self.tracing() == 0 && (function.is_some() || profiled);
            let flag = self.field::<*mut u8>(layout::TS_CFRAME).add(layout::CFRAME_USE_TRACING);
            flag.write(if traced { 255 } else { 0 });
        }
    }

    /// The newest frame, entry records of C included.
    fn newest(self) -> Option<Frame> {
        #[cfg(Py_3_13)]
        let frame: *mut u8 = self.field(layout::TS_CURRENT_FRAME);
        #[cfg(not(Py_3_13))]
        let frame: *mut u8 = {
            let cframe: *const u8 = self.field(layout::TS_CFRAME);
            // A thread that attaches for the first time is in the list before its state is filled in.
            if cframe.is_null() {
                return None;
            }
            // SAFETY: the C frame record of a live thread state.
            unsafe { read(cframe, layout::CFRAME_CURRENT) }
        };
        Frame::from_ptr(frame)
    }

    /// The newest frame that runs Python code.
    pub(crate) fn top(self) -> Option<Frame> {
        self.newest().and_then(Frame::skip_entries)
    }

    /// An address on the C stack that belongs to the innermost evaluation loop of this thread.
    pub(crate) fn eval_loop_address(self) -> Option<usize> {
        #[cfg(not(Py_3_13))]
        {
            // A local variable of the evaluation loop on 3.11 and 3.12.
            Some(self.field::<usize>(layout::TS_CFRAME))
        }
        #[cfg(Py_3_13)]
        {
            // The entry record is a local variable of the evaluation loop.
            let mut frame = self.newest();
            while let Some(f) = frame {
                if f.is_entry_record() {
                    return Some(f.address());
                }
                frame = f.previous_raw();
            }
            None
        }
    }

    /// Makes the calling thread's stack look as if no Python code were running, at full recursion depth: what is run from
    /// here on finds no callers. The frames below must never be returned to.
    pub(crate) fn forget_callers(self) {
        // SAFETY: the calling thread's own live state, GIL held, and the offsets of this version's structures. An evaluation
        // loop that starts with no current frame is what every thread's first one does.
        unsafe {
            let base = self.0.cast::<u8>();
            #[cfg(Py_3_13)]
            let current = base.add(layout::TS_CURRENT_FRAME);
            #[cfg(not(Py_3_13))]
            let current = self.field::<*mut u8>(layout::TS_CFRAME).add(layout::CFRAME_CURRENT);
            current.cast::<*mut u8>().write(std::ptr::null_mut());
            let limit = self.field::<i32>(layout::TS_RECURSION_REMAINING + size_of::<i32>());
            base.add(layout::TS_RECURSION_REMAINING).cast::<i32>().write(limit);
        }
    }

    /// All thread states of the calling thread's interpreter.
    ///
    /// The list changes with the GIL held, with one exception: a thread that attaches for the first time puts itself at the
    /// head, and CPython 3.11 does that in two steps, between which nothing follows the new head. The calling thread is always in
    /// the list, so where it is not found the list was seen between the two.
    ///
    /// Without those that have not begun on CPython 3.11, which bear another thread's ident: see [`is_borrowed`](Self::is_borrowed).
    pub(crate) fn all() -> impl Iterator<Item = ThreadState> {
        /// Far more looks than the two steps take, should a thread ever not be in its list.
        const LOOKS: u32 = 10_000;
        let own = Self::current();
        let mut states = Self::listed();
        for _ in 0..LOOKS {
            if states.clone().any(|ts| ts == own) {
                break;
            }
            std::thread::yield_now();
            states = Self::listed();
        }
        let listed = states.clone();
        states.filter(move |ts| !ts.is_borrowed(listed.clone()))
    }

    /// Whether its ident is not yet its own: CPython 3.11 makes the state of a thread in the thread that starts it, with that
    /// one's ident, and puts this right when the new thread begins. Until then nothing has run in it, and an interrupt by the
    /// ident would reach the wrong one.
    fn is_borrowed(self, mut listed: impl Iterator<Item = ThreadState>) -> bool {
        cfg!(not(Py_3_12))
            && self.top().is_none()
            && listed.any(|other| other.id() < self.id() && other.ident() == self.ident())
    }

    /// What is in the list now, from its head.
    fn listed() -> impl Iterator<Item = ThreadState> + Clone {
        // SAFETY: the GIL is held.
        let head = unsafe { ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Get()) };
        std::iter::successors((!head.is_null()).then_some(Self(head)), |ts| {
            let next: *mut ffi::PyThreadState = ts.field(layout::TS_NEXT);
            (!next.is_null()).then_some(Self(next))
        })
    }

    /// The thread state with this ident: of two, the newest.
    pub(crate) fn with_ident(ident: u64) -> Option<ThreadState> {
        Self::all().find(|ts| ts.ident() == ident)
    }

    /// The thread state with this id, if the thread still has one.
    pub(crate) fn find(id: u64) -> Option<ThreadState> {
        Self::all().find(|ts| ts.id() == id)
    }
}
