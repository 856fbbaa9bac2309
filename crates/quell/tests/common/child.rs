//! A test's child process.

/// Runs `f` in a child and expects it to say true. A child that hangs is ended by an alarm.
pub(crate) fn in_child(f: impl FnOnce() -> bool) {
    // SAFETY: the child calls nothing that needs the parent's other threads: that is what is tested.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: ends the child after a while; cannot fail.
        unsafe { libc::alarm(20) };
        let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or(false);
        // SAFETY: ends the child without running the test harness's own exit.
        unsafe { libc::_exit(if well { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the child is ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "the child was ended by a signal: {status}");
    assert_eq!(libc::WEXITSTATUS(status), 0);
}
