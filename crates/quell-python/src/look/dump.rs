//! `quell.dump()`: every thread, for people.

use std::os::fd::BorrowedFd;
use std::os::fd::RawFd;

use pyo3::prelude::*;

use super::facts::Look;
use super::text;
use crate::deadlock;

/// Write what every thread does to a file: its stack, what it waits for and who holds that, what it holds and where it was acquired,
/// what is pending. Deadlocks are named at the top, and marked.
///
/// The file is a descriptor's number or an object with a method write(); standard error's descriptor unless given. It is written
/// to in one call of write(), or, to a descriptor, without a buffer in between, as faulthandler does. So it may be called in a signal
/// handler: signal.signal(signal.SIGUSR1, lambda *_: quell.dump()). Blocks only if the file does. No interruption point of its own.
///
/// What is written belongs together: no thread has moved in between. With stack=False the stacks are left out.
#[pyfunction]
#[pyo3(signature = (file=None, *, stack=true))]
pub(super) fn dump(py: Python<'_>, file: Option<&Bound<'_, PyAny>>, stack: bool) -> PyResult<()> {
    let (all, circles) = (Look::begin(py).all(), deadlock::standing_circles(py));
    // From here on the threads go on, and the source files are read.
    let text = py.detach(|| text::report(&all, &circles, stack));
    drop((all, circles));
    let Some(file) = file.filter(|file| !file.is_none()) else {
        to_stderr(py, &text);
        return Ok(());
    };
    match file.extract::<RawFd>() {
        Ok(fd) => Ok(write(py, fd, text.as_bytes())?),
        Err(_) => file.call_method1("write", (text,)).map(drop),
    }
}

/// Writes to standard error, whatever Python has made of it. What cannot be written is lost.
pub(crate) fn to_stderr(py: Python<'_>, text: &str) {
    let _ = write(py, libc::STDERR_FILENO, text.as_bytes());
}

/// With the GIL released.
fn write(py: Python<'_>, fd: RawFd, bytes: &[u8]) -> std::io::Result<()> {
    if fd < 0 {
        return Err(std::io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: not -1; who names a descriptor keeps it open. If it is closed, the system says so.
    let _fd = unsafe { BorrowedFd::borrow_raw(fd) };
    py.detach(|| {
        let mut rest = bytes;
        while !rest.is_empty() {
            // SAFETY: the buffer is ours.
            let written = unsafe { libc::write(fd, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(written) {
                Ok(written) => rest = &rest[written..],
                Err(_) => {
                    let error = std::io::Error::last_os_error();
                    if error.kind() != std::io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    })
}
