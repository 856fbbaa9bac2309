//! Writing where the reader may not be reading: standard error at the end of a process.

use std::io::Write;
use std::time::{Duration, Instant};

/// Writes all of it to standard error, or as much as is taken until the time is over. A pipe that nobody empties must
/// not keep the process alive.
pub(super) fn to_stderr(bytes: &[u8], patience: Duration) {
    let until = Instant::now() + patience;
    let mut rest = bytes;
    while !rest.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || !is_writable(left) {
            return;
        }
        // A pipe that can be written to takes this much without blocking.
        let chunk = &rest[..rest.len().min(libc::PIPE_BUF)];
        match std::io::stderr().write(chunk) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn is_writable(patience: Duration) -> bool {
    let mut polled = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, on this stack.
    let ready =
        unsafe { libc::poll(&raw mut polled, 1, patience.as_millis().max(1) as libc::c_int) };
    ready == 1
}
