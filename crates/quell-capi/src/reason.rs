//! The reason of an interrupt: a counted object, made by the sender, taken by the receiver.
//!
//! A [`Reason`] is one reference. It travels inside an [`Interrupt`](quell_core::Interrupt), and each of that one's ends
//! gives it up or passes it on: delivered, it goes to the receiver's thread-local ([`delivered`]), from where
//! `quell_take_reason` hands it to C; withdrawn, or with the target gone, it is dropped with the interrupt. The last
//! reference calls the destructor.

use crate::object::{borrow, hand_out};
use crate::status::{Failure, call_for};
use quell_core::{Interrupt, Interrupted, Reached};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::Arc;

/// A destructor: gives up what an object owns. It must return.
pub(crate) type quell_destroy = Option<extern "C" fn(*mut c_void)>;

/// Why a thread is interrupted: a message, and anything else that sender and receiver agree on. Counted by reference:
///
/// - quell_reason_new() gives the caller a reference; quell_reason_retain() gives one more.
/// - Functions that send a reason take a reference of their own; the caller keeps its own.
/// - quell_take_reason(), in the thread that was interrupted, gives the caller the reference that was sent.
/// - Each reference that the caller has ends with quell_reason_release().
///
/// The destructor runs once, in the thread that gives up the last reference, with nothing locked: whether the interrupt was
/// delivered, withdrawn, or its target had ended. It must return.
///
/// A reason may be sent any number of times, to any number of threads; so its data are shared between them.
pub struct quell_reason {
    message: Option<CString>,
    words: String,
    data: *mut c_void,
    destroy: quell_destroy,
}

// SAFETY: nothing in it changes; what the data are is the program's affair, which was told that threads share them.
unsafe impl Send for quell_reason {}
// SAFETY: as above.
unsafe impl Sync for quell_reason {}

impl Drop for quell_reason {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            destroy(self.data);
        }
    }
}

/// One reference to a reason, inside an interrupt.
struct Reason(Arc<quell_reason>);

impl AsRef<str> for Reason {
    fn as_ref(&self) -> &str {
        &self.0.words
    }
}

/// An interrupt with this reason.
///
/// # Safety
/// The pointer is null, or a reason to which the caller has a reference.
pub(crate) unsafe fn interrupt_with(reason: *const quell_reason) -> Result<Interrupt, Failure> {
    // SAFETY: the caller's promise.
    let reason = Reason(unsafe { crate::object::hold(reason, "reason") }?);
    Ok(match reason.0.message {
        Some(_) => Interrupt::worded(reason),
        None => Interrupt::new(reason),
    })
}

thread_local! {
    /// The reason of the interrupt that was delivered last, until somebody takes it.
    static DELIVERED: RefCell<Option<Arc<quell_reason>>> = const { RefCell::new(None) };
}

/// Keeps the reason for the thread it was delivered to, and says what happened.
pub(crate) fn delivered(interrupted: Interrupted) -> String {
    let reason = match interrupted.into_interrupt().downcast::<Reason>() {
        Ok(Reason(reason)) => reason,
        // A time limit's, which has words only.
        Err(other) => {
            let words =
                other.downcast_ref::<Reached>().map(ToString::to_string).unwrap_or_default();
            let message = CString::new(words.replace('\0', " ")).ok();
            let (data, destroy) = (std::ptr::null_mut(), None);
            Arc::new(quell_reason { message, words, data, destroy })
        }
    };
    let what = match reason.message {
        Some(_) => format!("interrupted: {}", reason.words),
        None => "interrupted".to_owned(),
    };
    // The one before is dropped outside the borrow: its destructor may do anything.
    let before = DELIVERED.try_with(|cell| cell.borrow_mut().replace(reason));
    drop(before);
    what
}

/// Makes a reason. `message` says it in words, in UTF-8, and is copied; NULL: without. `data` is whatever the receiver shall
/// have, and `destroy` what is called with it in the end; both may be NULL.
///
/// The caller has a reference; see quell_reason. Does not block. NULL only if the message is beyond memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_reason_new(
    message: *const c_char,
    data: *mut c_void,
    destroy: quell_destroy,
) -> *mut quell_reason {
    call_for("quell_reason_new", std::ptr::null_mut(), || {
        // SAFETY: the caller's promise: NULL, or a string that ends.
        let message = unsafe { text(message) };
        let words = message.as_deref().map(|m| m.to_string_lossy().into_owned());
        let words = words.unwrap_or_default();
        Ok(hand_out(quell_reason { message, words, data, destroy }))
    })
}

/// One more reference to a reason, which is returned. NULL of NULL. Does not block. Any thread that has a reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_reason_retain(reason: *mut quell_reason) -> *mut quell_reason {
    if !reason.is_null() {
        // SAFETY: the caller has a reference, so it is alive.
        unsafe { Arc::increment_strong_count(reason) };
    }
    reason
}

/// Gives up a reference to a reason. NULL is ignored. The last one runs the destructor here. Does not block otherwise. Any
/// thread that has a reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_reason_release(reason: *mut quell_reason) {
    call_for("quell_reason_release", (), || {
        // SAFETY: the caller gives up a reference that it has.
        unsafe { crate::object::free(reason, |_| Ok(())) }
    });
}

/// The message of a reason, or NULL if it has none. Lives as long as the reason. Does not block. Any thread that has a
/// reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_reason_message(reason: *const quell_reason) -> *const c_char {
    call_for("quell_reason_message", std::ptr::null(), || {
        // SAFETY: the caller has a reference.
        let reason = unsafe { borrow(reason, "reason") }?;
        Ok(reason.message.as_ref().map_or(std::ptr::null(), |message| message.as_ptr()))
    })
}

/// The data of a reason. They live as long as the reason. Does not block. Any thread that has a reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_reason_data(reason: *const quell_reason) -> *mut c_void {
    call_for("quell_reason_data", std::ptr::null_mut(), || {
        // SAFETY: the caller has a reference.
        Ok(unsafe { borrow(reason, "reason") }?.data)
    })
}

/// Takes the reason of the interrupt that was delivered last in the calling thread: after QUELL_INTERRUPTED. NULL if there
/// was none, or it was taken. The caller has the reference now; see quell_reason.
///
/// A reason that nobody takes is released when the next interrupt is delivered in this thread, or when it ends. Does not
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_take_reason() -> *mut quell_reason {
    let taken = DELIVERED.try_with(|cell| cell.borrow_mut().take()).ok().flatten();
    taken.map_or(std::ptr::null_mut(), |reason| Arc::into_raw(reason).cast_mut())
}

/// A copy of a string; `None` of NULL.
///
/// # Safety
/// `text` is null or a string that ends with NUL.
pub(crate) unsafe fn text(text: *const c_char) -> Option<CString> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_owned())
}
