//! Deadlocks: who waits for whom, and what is done about a wait that closes a circle.

use crate::lock::quell_lock;
use crate::object::{borrow, free, hand_out, hold, null};
use crate::reason::{quell_destroy, text};
use crate::status::{Failure, call, call_for, quell_status};
use crate::thread::quell_thread_id;
use quell_core::ThreadId;
use quell_core::deadlock::{
    self, Deadlock, Detection, Verdict, Waits, detection, set_detection, set_reporter,
};
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_void};
use std::num::NonZeroU64;
use std::sync::Arc;

/// Whether deadlocks are looked for, and what is done about one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum quell_detection {
    /// They are not looked for.
    QUELL_DETECTION_OFF = 0,
    /// They are reported, and left as they are.
    QUELL_DETECTION_REPORT = 1,
    /// The wait that closes the circle fails with QUELL_DEADLOCK; if it is inside a shield, the youngest thread's that can.
    QUELL_DETECTION_FAIL = 2,
    /// The youngest thread's wait fails, of those that can.
    QUELL_DETECTION_YOUNGEST = 3,
    /// A function is asked; see quell_set_detection_asking().
    QUELL_DETECTION_ASK = 4,
}

/// What is to be done about a deadlock.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum quell_verdict {
    /// Nothing: all of them go on waiting, until a deadline, an interrupt, or for ever.
    QUELL_VERDICT_WAIT = 0,
    /// The wait that closed the circle fails; if it cannot, the youngest thread's that can.
    QUELL_VERDICT_FAIL = 1,
    /// The youngest thread's wait fails, of those that can.
    QUELL_VERDICT_YOUNGEST = 2,
    /// The wait of the thread that was written to `victim` fails. If it cannot, or is not one of them, nothing is done.
    QUELL_VERDICT_THREAD = 3,
}

/// How something is written down.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum quell_format {
    /// For people, a line for each thread.
    QUELL_TEXT = 0,
    /// JSON: an object with one key, "waits", an array with an object for each thread.
    QUELL_JSON = 1,
    /// A graph for `dot -Tsvg`.
    QUELL_DOT = 2,
}

/// Threads that wait for each other in a circle, so that none of them can go on: each waits for the next, and the last for the
/// first, which is the one that closed the circle.
pub struct quell_deadlock {
    deadlock: Deadlock,
}

/// Says what is to be done about a deadlock: one of quell_verdict; anything else is QUELL_VERDICT_WAIT. `context` is what it was
/// set with. The deadlock is the callee's to look at until it returns.
///
/// Called in the thread that closed the circle, which has nothing of quell's locked then but what it had acquired; it may use
/// quell, and should not wait for any of the threads concerned. It returns, as all callbacks. If one of those threads gives up
/// meanwhile, the answer is void.
pub type quell_judge = Option<
    extern "C" fn(
        deadlock: *const quell_deadlock,
        victim: *mut quell_thread_id,
        context: *mut c_void,
    ) -> i32,
>;

/// Is told of a deadlock, where a quell_judge would be asked, and before.
pub type quell_reporter =
    Option<extern "C" fn(deadlock: *const quell_deadlock, context: *mut c_void)>;

/// What a callback is called with; gives it up when nobody will call it any more.
struct Context {
    pointer: *mut c_void,
    destroy: quell_destroy,
}

// SAFETY: quell only carries it; the program was told that any thread calls its function.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            destroy(self.pointer);
        }
    }
}

impl Context {
    fn get(&self) -> *mut c_void {
        self.pointer
    }
}

thread_local! {
    /// The deadlock because of which a call failed last, until somebody takes it.
    static FAILED: RefCell<Option<Deadlock>> = const { RefCell::new(None) };
}

/// Keeps it for the thread whose call has failed, and says what happened.
pub(crate) fn failed(deadlock: Deadlock) -> String {
    let words = deadlock.to_string();
    let before = FAILED.try_with(|cell| cell.borrow_mut().replace(deadlock));
    drop(before);
    words
}

/// Switches the detection of deadlocks, for the whole process, from now on: one of quell_detection, but
/// QUELL_DETECTION_ASK. Does not block.
///
/// It is off at first, because on, acquiring and releasing a lock take some four times as long. Locks that were acquired before it
/// was switched on, and not released since, have no holder that it knows of: switch it on before the threads start. What is
/// found are circles of quell_lock_acquire() and quell_join(): all of them, at once, and nothing else.
///
/// QUELL_OK. QUELL_INVALID: there is no such setting.
#[unsafe(no_mangle)]
pub extern "C" fn quell_set_detection(detection: i32) -> quell_status {
    call("quell_set_detection", || {
        const OFF: i32 = quell_detection::QUELL_DETECTION_OFF as i32;
        const REPORT: i32 = quell_detection::QUELL_DETECTION_REPORT as i32;
        const FAIL: i32 = quell_detection::QUELL_DETECTION_FAIL as i32;
        const YOUNGEST: i32 = quell_detection::QUELL_DETECTION_YOUNGEST as i32;
        let detection = match detection {
            OFF => Detection::Off,
            REPORT => Detection::Report,
            FAIL => Detection::Fail,
            YOUNGEST => Detection::Youngest,
            _ => return Err(Failure::invalid(format!("{detection} is no setting of detection"))),
        };
        drop(set_detection(detection));
        Ok(())
    })
}

/// Switches the detection of deadlocks on, and has `judge` asked what to do about each. `destroy` is called with `context` when
/// another setting has taken its place and nobody is in `judge` any more; it may be NULL. Does not block.
///
/// QUELL_OK. QUELL_INVALID: `judge` is NULL; nothing has changed, and the context is still the caller's.
#[unsafe(no_mangle)]
pub extern "C" fn quell_set_detection_asking(
    judge: quell_judge,
    context: *mut c_void,
    destroy: quell_destroy,
) -> quell_status {
    call("quell_set_detection_asking", || {
        let judge = judge.ok_or_else(|| null("function that is asked"))?;
        let context = Context { pointer: context, destroy };
        let before = set_detection(Detection::ask(move |deadlock| {
            const FAIL: i32 = quell_verdict::QUELL_VERDICT_FAIL as i32;
            const YOUNGEST: i32 = quell_verdict::QUELL_VERDICT_YOUNGEST as i32;
            const THREAD: i32 = quell_verdict::QUELL_VERDICT_THREAD as i32;
            let shown = quell_deadlock { deadlock: deadlock.clone() };
            let mut victim = 0;
            match judge(&raw const shown, &raw mut victim, context.get()) {
                FAIL => Verdict::Fail,
                YOUNGEST => Verdict::Youngest,
                THREAD => NonZeroU64::new(victim)
                    .map_or(Verdict::Wait, |id| Verdict::Thread(ThreadId::from_number(id))),
                _ => Verdict::Wait,
            }
        }));
        drop(before);
        Ok(())
    })
}

/// What was set last. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_get_detection() -> quell_detection {
    call_for("quell_get_detection", quell_detection::QUELL_DETECTION_OFF, || {
        Ok(match detection() {
            Detection::Report => quell_detection::QUELL_DETECTION_REPORT,
            Detection::Fail => quell_detection::QUELL_DETECTION_FAIL,
            Detection::Youngest => quell_detection::QUELL_DETECTION_YOUNGEST,
            Detection::Ask(_) => quell_detection::QUELL_DETECTION_ASK,
            _ => quell_detection::QUELL_DETECTION_OFF,
        })
    })
}

/// Has `reporter` told of every deadlock that is found, before anything is done about it. NULL, as at first: those that are left as
/// they are go to standard error. `destroy` is called with `context` when another has taken its place and nobody is in `reporter`
/// any more; it may be NULL. Does not block. Always QUELL_OK.
#[unsafe(no_mangle)]
pub extern "C" fn quell_set_reporter(
    reporter: quell_reporter,
    context: *mut c_void,
    destroy: quell_destroy,
) -> quell_status {
    call("quell_set_reporter", || {
        let context = Context { pointer: context, destroy };
        match reporter {
            None => set_reporter(None),
            Some(reporter) => set_reporter(Some(Arc::new(move |deadlock: &Deadlock| {
                let shown = quell_deadlock { deadlock: deadlock.clone() };
                reporter(&raw const shown, context.get());
            }))),
        }
        Ok(())
    })
}

/// Gives a lock a name, by which reports call it; it is copied. NULL takes it away. Does not block.
///
/// QUELL_OK. QUELL_INVALID: the lock is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_lock_set_name(
    lock: *mut quell_lock,
    name: *const c_char,
) -> quell_status {
    call("quell_lock_set_name", || {
        // SAFETY: the caller's promise: NULL, or a string that ends.
        let name = unsafe { text(name) };
        // SAFETY: the caller's promise: NULL or a lock.
        let lock = unsafe { hold(lock, "lock") }?;
        lock.set_name(name.as_deref().map(|name| name.to_string_lossy()).as_deref());
        Ok(())
    })
}

/// Who waits for whom, of all threads that quell knows, whether detection is on or not: one of quell_format; anything else is
/// QUELL_TEXT. Each line was true when it was looked at; threads go on meanwhile. Blocks for moments only.
///
/// The string is the caller's, to be freed with quell_text_free(). NULL only for want of memory.
#[unsafe(no_mangle)]
pub extern "C" fn quell_waits(format: i32) -> *mut c_char {
    call_for("quell_waits", std::ptr::null_mut(), || {
        let waits = deadlock::waits();
        Ok(written(&waits, format, || waits.to_string()))
    })
}

/// A deadlock in words, as JSON or as a graph, as quell_waits(). NULL of NULL. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_deadlock_show(
    deadlock: *const quell_deadlock,
    format: i32,
) -> *mut c_char {
    call_for("quell_deadlock_show", std::ptr::null_mut(), || {
        // SAFETY: the caller's promise: NULL or a deadlock.
        let deadlock = &unsafe { borrow(deadlock, "deadlock") }?.deadlock;
        Ok(written(deadlock.waits(), format, || deadlock.to_string()))
    })
}

/// Frees a string that quell_waits() or quell_deadlock_show() has returned. NULL is ignored. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_text_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: the caller's promise: it came from `written`.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// How many threads a deadlock has. 0 of NULL. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_deadlock_count(deadlock: *const quell_deadlock) -> usize {
    call_for("quell_deadlock_count", 0, || {
        // SAFETY: the caller's promise: NULL or a deadlock.
        Ok(unsafe { borrow(deadlock, "deadlock") }?.deadlock.waits().len())
    })
}

/// The thread at a place of the circle, counted from 0. 0 if there is none. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_deadlock_thread(
    deadlock: *const quell_deadlock,
    at: usize,
) -> quell_thread_id {
    call_for("quell_deadlock_thread", 0, || {
        // SAFETY: the caller's promise: NULL or a deadlock.
        let deadlock = &unsafe { borrow(deadlock, "deadlock") }?.deadlock;
        Ok(deadlock.threads().nth(at).map_or(0, |thread| thread.id().get().get()))
    })
}

/// Whether the wait at a place of the circle has a deadline, which will end it. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_deadlock_is_limited(
    deadlock: *const quell_deadlock,
    at: usize,
) -> bool {
    call_for("quell_deadlock_is_limited", false, || {
        // SAFETY: the caller's promise: NULL or a deadlock.
        let deadlock = &unsafe { borrow(deadlock, "deadlock") }?.deadlock;
        Ok(deadlock.waits().iter().nth(at).is_some_and(|waiting| waiting.limited))
    })
}

/// Takes the deadlock because of which a call of the calling thread has failed last: after QUELL_DEADLOCK. NULL if there was none,
/// it was taken, or the thread would have waited for itself alone, which is told without detection. The caller has it now, to be
/// freed with quell_deadlock_free(). Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_take_deadlock() -> *mut quell_deadlock {
    let taken = FAILED.try_with(|cell| cell.borrow_mut().take()).ok().flatten();
    taken.map_or(std::ptr::null_mut(), |deadlock| hand_out(quell_deadlock { deadlock }))
}

/// Frees a deadlock that quell_take_deadlock() has returned. NULL is ignored. Does not block. Always QUELL_OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_deadlock_free(deadlock: *mut quell_deadlock) -> quell_status {
    call("quell_deadlock_free", || {
        // SAFETY: the caller's promise: NULL or a deadlock that it does not use again.
        unsafe { free(deadlock, |_| Ok(())) }
    })
}

fn written(waits: &Waits, format: i32, words: impl FnOnce() -> String) -> *mut c_char {
    const JSON: i32 = quell_format::QUELL_JSON as i32;
    const DOT: i32 = quell_format::QUELL_DOT as i32;
    let written = match format {
        JSON => waits.to_json(),
        DOT => waits.to_dot(),
        _ => words(),
    };
    // No NUL can come from C, whose strings end there.
    CString::new(written.replace('\0', " ")).unwrap_or_default().into_raw()
}
