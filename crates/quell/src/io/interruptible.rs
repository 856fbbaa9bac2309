//! Reads and writes of anything that has a descriptor.

use crate::syscall::{self, CallError};
use crate::wait::Wait;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Anything that has a descriptor, with reads and writes that can be interrupted. Interruption points are
/// [`Read`] and [`Write`], of it and of a reference to it, and the forms named `…_with`. For [`BufRead`](io::BufRead),
/// put it into a [`BufReader`](io::BufReader), which loses nothing either.
///
/// It reads and writes the descriptor itself: whatever the wrapped type has in a buffer of its own, as
/// [`Stdin`](io::Stdin) has, is passed by.
///
/// ```
/// use quell::io::Interruptible;
/// use std::fs::File;
/// use std::io::Read;
///
/// let mut zeros = Interruptible::new(File::open("/dev/zero").unwrap());
/// let mut bytes = [1; 4];
/// zeros.read_exact(&mut bytes).unwrap();
/// assert_eq!(bytes, [0; 4]);
/// ```
pub struct Interruptible<F> {
    inner: F,
    timeout: Option<Duration>,
}

impl<F> Interruptible<F> {
    /// Wraps it, without a time limit.
    pub const fn new(inner: F) -> Interruptible<F> {
        Interruptible { inner, timeout: None }
    }

    /// Limits every call that takes no [`Wait`] of its own to this time, and those of std's helpers each for itself; `None`:
    /// no limit.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// The time limit.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// What is wrapped.
    pub fn get_ref(&self) -> &F {
        &self.inner
    }

    /// What is wrapped.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.inner
    }

    /// Unwraps it.
    pub fn into_inner(self) -> F {
        self.inner
    }

    /// How its calls wait that are not told otherwise.
    pub(super) fn wait(&self) -> Wait {
        self.timeout.map_or(Wait::new(), |timeout| Wait::new().timeout(timeout))
    }
}

impl<F: AsFd> Interruptible<F> {
    /// Reads, as [`syscall::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read_with(&self, buffer: &mut [u8], wait: &Wait) -> Result<usize, CallError> {
        syscall::read(&self.inner, buffer, wait)
    }

    /// Writes, as [`syscall::write`](syscall::write()).
    ///
    /// # Errors
    /// As there.
    pub fn write_with(&self, buffer: &[u8], wait: &Wait) -> Result<usize, CallError> {
        syscall::write(&self.inner, buffer, wait)
    }

    /// Reads until the buffer is full. An interruption point, until then.
    ///
    /// ```
    /// use quell::{CallError, Wait, io};
    /// use std::io::Write;
    /// use std::time::Duration;
    ///
    /// let (reader, mut writer) = io::pipe().unwrap();
    /// writer.write_all(b"abc").unwrap();
    /// let mut buffer = [0; 5];
    /// let short = Wait::new().timeout(Duration::from_millis(1));
    /// let unfinished = reader.read_exact_with(&mut buffer, &short).unwrap_err();
    /// assert!(matches!(unfinished.error(), CallError::TimedOut));
    /// assert_eq!(&buffer[..unfinished.done()], b"abc");
    /// ```
    ///
    /// # Errors
    /// As [`read_with`](Interruptible::read_with), with what was read before; that it ends too early is an
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
    pub fn read_exact_with(&self, buffer: &mut [u8], wait: &Wait) -> Result<(), Unfinished> {
        let length = buffer.len();
        all(length, io::ErrorKind::UnexpectedEof, |done| self.read_with(&mut buffer[done..], wait))
    }

    /// Writes all of it. An interruption point, until then.
    ///
    /// # Errors
    /// As [`write_with`](Interruptible::write_with), with how much was written before: to go on, write the rest.
    pub fn write_all_with(&self, buffer: &[u8], wait: &Wait) -> Result<(), Unfinished> {
        all(buffer.len(), io::ErrorKind::WriteZero, |done| self.write_with(&buffer[done..], wait))
    }
}

/// Transfers until so much is done; `transfer` is told how much was before, and says how much it has added. `end` is what it is
/// if that is nothing.
fn all(
    length: usize,
    end: io::ErrorKind,
    mut transfer: impl FnMut(usize) -> Result<usize, CallError>,
) -> Result<(), Unfinished> {
    let mut done = 0;
    while done < length {
        match transfer(done) {
            Ok(0) => return Err(Unfinished { done, error: CallError::Os(end.into()) }),
            Ok(more) => done += more,
            Err(error) => return Err(Unfinished { done, error }),
        }
    }
    Ok(())
}

impl<F: AsFd> Read for &Interruptible<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_with(buffer, &self.wait())?)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(syscall::readv(&self.inner, buffers, &self.wait())?)
    }
}

impl<F: AsFd> Write for &Interruptible<F> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(self.write_with(buffer, &self.wait())?)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(syscall::writev(&self.inner, buffers, &self.wait())?)
    }

    /// Nothing to do: there is no buffer here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: AsFd> Read for Interruptible<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl<F: AsFd> Write for Interruptible<F> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    /// Nothing to do: there is no buffer here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: AsFd> AsFd for Interruptible<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<F> From<F> for Interruptible<F> {
    fn from(inner: F) -> Interruptible<F> {
        Interruptible::new(inner)
    }
}

impl<F: fmt::Debug> fmt::Debug for Interruptible<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interruptible")
            .field("inner", &self.inner)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// The reading end of a [`pipe`].
pub type PipeReader = Interruptible<io::PipeReader>;

/// The writing end of a [`pipe`].
pub type PipeWriter = Interruptible<io::PipeWriter>;

/// A pipe: what is written into one end is read from the other.
///
/// # Errors
/// If the system has none.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}

/// A transfer of several calls was ended before it was done.
#[derive(Debug)]
pub struct Unfinished {
    done: usize,
    error: CallError,
}

impl Unfinished {
    /// How many bytes were transferred.
    pub fn done(&self) -> usize {
        self.done
    }

    /// What ended it.
    pub fn error(&self) -> &CallError {
        &self.error
    }

    /// What ended it.
    pub fn into_error(self) -> CallError {
        self.error
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} bytes: {}", self.done, self.error)
    }
}

impl std::error::Error for Unfinished {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<Unfinished> for io::Error {
    fn from(unfinished: Unfinished) -> io::Error {
        unfinished.error.into()
    }
}
