//! The native thread on which timeouts go off.
//!
//! The core's monitor thread runs the timers and must never block, but sending an interrupt to a Python thread needs
//! the GIL, which may be away for as long as it pleases some other thread. So a timer only hands its scope over, and
//! this thread, started by the first timeout that goes off, waits for the GIL.
//!
//! At interpreter shutdown a thread that asks for the GIL would never return. [`_stop_timeouts`], called by `atexit` while the
//! interpreter is whole, therefore waits until this thread is outside, and no scope goes off afterwards. In the child of a
//! fork the thread is gone; [`after_fork`] forgets it, and the next timeout starts another.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::mpsc::{Sender, channel};

use pyo3::prelude::*;

use super::scope::Scope;
use crate::delivery::Knock;
use crate::native::Door;

struct Firing {
    due: Sender<Arc<Scope>>,
    door: Arc<Door>,
}

/// The running thread's end of things, leaked: it is read by the monitor thread without a lock, so that a fork in
/// the middle leaves nothing locked in the child.
static FIRING: AtomicPtr<Firing> = AtomicPtr::new(ptr::null_mut());

/// The one that was published, `new` if there was none; and whether it is that.
fn publish(new: Firing) -> (&'static Firing, bool) {
    let new = Box::into_raw(Box::new(new));
    // Release: whoever reads the pointer sees what it points at.
    match FIRING.compare_exchange(ptr::null_mut(), new, AcqRel, Acquire) {
        // SAFETY: stored, so never freed.
        Ok(_) => unsafe { (&*new, true) },
        // SAFETY: `new` was not published; `other` was, and is never freed.
        Err(other) => unsafe {
            drop(Box::from_raw(new));
            (&*other, false)
        },
    }
}

fn firing() -> &'static Firing {
    // SAFETY: what was stored is never freed.
    if let Some(existing) = unsafe { FIRING.load(Acquire).as_ref() } {
        return existing;
    }
    let (due, scopes) = channel::<Arc<Scope>>();
    let door = Arc::new(Door::default());
    let (firing, is_new) = publish(Firing { due, door: Arc::clone(&door) });
    if is_new {
        let body = move || {
            for scope in scopes {
                let knock = scope.is_mains().then(Knock::begin);
                door.visit(|py| scope.go_off(py));
                drop(knock);
            }
        };
        // Without a thread no timeout can go off: out of resources beyond repair, and the monitor thread, which
        // reports what panics on it, is the place to say so.
        crate::native::spawn("quell-timeouts", body)
            .expect("quell: cannot start the thread on which timeouts go off");
    }
    firing
}

/// Has the scope go off as soon as the GIL is to be had. Called by the monitor thread; does not block.
pub(super) fn submit(scope: Arc<Scope>) {
    // The receiver lives as long as the process, unless timeouts were stopped before the first one went off.
    let _ = firing().due.send(scope);
}

/// From now on nothing goes off. Called by `atexit`.
#[pyfunction]
pub(super) fn _stop_timeouts(py: Python<'_>) {
    // Where no timeout has gone off there is no thread, and none is to be started: one is put there that nobody listens to.
    let nobody = Firing { due: channel().0, door: Arc::default() };
    publish(nobody).0.door.close(py);
}

/// In the child of a fork: the thread is gone.
pub(crate) fn after_fork() {
    // What the pointer leads to may be in use by the thread that is gone: leaked. Release: nobody else is here.
    FIRING.store(ptr::null_mut(), Release);
}
