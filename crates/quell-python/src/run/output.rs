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

/// With `select`, because `poll` is refused to a process that may have no descriptors.
fn is_writable(patience: Duration) -> bool {
    let mut timeout = libc::timeval {
        tv_sec: patience.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(patience.subsec_micros() as i32).max(1),
    };
    // SAFETY: the number fits a set; set and time are on this stack.
    unsafe {
        let mut wanted: libc::fd_set = std::mem::zeroed();
        libc::FD_SET(libc::STDERR_FILENO, &raw mut wanted);
        let none = std::ptr::null_mut();
        libc::select(libc::STDERR_FILENO + 1, none, &raw mut wanted, none, &raw mut timeout) == 1
    }
}
