//! The thread that asks the interpreter, and so may wait for the GIL. The monitor never does.

use pyo3::prelude::*;

use super::session::Session;
use super::signals;

/// The body of the thread.
pub(super) fn body(session: &'static Session) {
    loop {
        let ticket = session.summons.ticket();
        if session.is_stopping() || session.is_finalized() {
            return;
        }
        if session.is_ready() && signals::is_displaced() {
            // Holding the GIL, which every change of a handler by the script holds too.
            let _ = Python::try_attach(|_py| signals::install());
        }
        session.summons.wait(ticket, None);
    }
}
