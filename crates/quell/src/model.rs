//! What the model tests reach into. Exists only under `--cfg quell_loom` and `--cfg quell_shuttle`.

use crate::thread::Thread;

/// The thread's deadline, if its current or next wait has one, passes now. A model has no clock: a time-out is another thread that
/// competes.
pub fn expire(thread: &Thread) {
    thread.parker().expire();
}

/// A signal handler runs in the thread now, if it sleeps.
pub fn signal(thread: &Thread) {
    thread.parker().signal();
}

/// The thread ends.
pub fn exit(thread: &Thread) {
    thread.mark_exited();
}
