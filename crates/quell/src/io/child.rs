//! Child processes: waiting for one can be interrupted, and loses neither its status nor what it has written.

use super::Interruptible;
use crate::syscall::{self, CallError, PollFd};
use crate::wait::Wait;
use std::io;
use std::os::fd::AsFd;
use std::process::{self, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output};

/// A child process whose end can be waited for, interruptibly. Dropping it neither ends the child nor waits for it, as
/// in std.
///
/// ```
/// use quell::io::Child;
/// use quell::{CallError, Interrupt, Wait, thread};
/// use std::process::Command;
///
/// let worker = thread::spawn(|| {
///     let mut child = Child::spawn(Command::new("sleep").arg("3600")).unwrap();
///     let waited = child.wait_with(&Wait::new());
///     child.kill().unwrap();
///     (waited, child.wait_with(&Wait::new().shielded()).unwrap())
/// });
/// worker.thread().interrupt(Interrupt::new("enough"));
/// let (waited, status) = worker.join().unwrap();
/// assert!(matches!(waited, Err(CallError::Interrupted(_))));
/// assert!(!status.success());
/// ```
#[derive(Debug)]
pub struct Child {
    inner: process::Child,
    /// What was read of its output so far.
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// As [`Command::spawn`].
    pub fn spawn(command: &mut Command) -> io::Result<Child> {
        command.spawn().map(Child::from)
    }

    /// The system's number of the process.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Its standard input, if it was piped and not taken before.
    pub fn take_stdin(&mut self) -> Option<Interruptible<ChildStdin>> {
        self.inner.stdin.take().map(Interruptible::new)
    }

    /// Its standard output, if it was piped and not taken before.
    pub fn take_stdout(&mut self) -> Option<Interruptible<ChildStdout>> {
        self.inner.stdout.take().map(Interruptible::new)
    }

    /// Its standard error, if it was piped and not taken before.
    pub fn take_stderr(&mut self) -> Option<Interruptible<ChildStderr>> {
        self.inner.stderr.take().map(Interruptible::new)
    }

    /// Ends the process with SIGKILL, if it has not ended. Its status is there for [`wait`](Child::wait) still.
    ///
    /// # Errors
    /// As [`std::process::Child::kill`].
    pub fn kill(&mut self) -> io::Result<()> {
        self.inner.kill()
    }

    /// The status, if it has ended.
    ///
    /// # Errors
    /// As [`std::process::Child::try_wait`].
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.inner.try_wait()
    }

    /// Waits for the child's end. An interruption point; interrupted, the child runs on, and can be waited for again.
    /// Closes its standard input first, so that it does not wait for us. Again: the same status.
    ///
    /// # Errors
    /// As [`syscall::waitid`].
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        Ok(self.wait_with(&Wait::new())?)
    }

    /// [`wait`](Child::wait) with every option.
    ///
    /// # Errors
    /// As there.
    pub fn wait_with(&mut self, wait: &Wait) -> Result<ExitStatus, CallError> {
        drop(self.inner.stdin.take());
        // Taken before, or since: std keeps it.
        if let Some(status) = self.inner.try_wait().map_err(CallError::Os)? {
            return Ok(status);
        }
        // Waits, and leaves the status for std to take, which then need not wait.
        let options = libc::WEXITED | libc::WNOWAIT;
        syscall::waitid(libc::P_PID, self.inner.id(), options, wait)?;
        self.inner.wait().map_err(CallError::Os)
    }

    /// Waits for the child's end and for the end of what it writes, if that is piped, and returns both. An interruption point;
    /// interrupted, nothing is lost: what was read so far is kept, and a second call goes on.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn wait_with_output(&mut self, wait: &Wait) -> Result<Output, CallError> {
        drop(self.inner.stdin.take());
        while self.inner.stdout.is_some() || self.inner.stderr.is_some() {
            self.read_some(wait)?;
        }
        let status = self.wait_with(wait)?;
        let (stdout, stderr) = (std::mem::take(&mut self.output), std::mem::take(&mut self.errors));
        Ok(Output { status, stdout, stderr })
    }

    /// Reads what is there of either, and gives up the ends that have ended.
    fn read_some(&mut self, wait: &Wait) -> Result<(), CallError> {
        let (out, err) = (&mut self.inner.stdout, &mut self.inner.stderr);
        let mut ready = [false; 2];
        {
            let ends = [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)];
            let open = ends.iter().enumerate().filter_map(|(at, end)| Some((at, end.as_ref()?)));
            let (at, mut fds): (Vec<_>, Vec<_>) =
                open.map(|(at, end)| (at, PollFd::new(end, libc::POLLIN))).unzip();
            syscall::poll(&mut fds, wait)?;
            for (at, fd) in at.into_iter().zip(fds) {
                ready[at] = fd.revents() != 0;
            }
        }
        if ready[0] {
            drain(out, &mut self.output, wait)?;
        }
        if ready[1] {
            drain(err, &mut self.errors, wait)?;
        }
        Ok(())
    }

    /// std's, to use what is not here. Waiting by it is not interruptible, and loses nothing.
    pub fn get_mut(&mut self) -> &mut process::Child {
        &mut self.inner
    }
}

/// Reads once from an end that is ready; at its end, closes it.
fn drain<F: AsFd>(end: &mut Option<F>, into: &mut Vec<u8>, wait: &Wait) -> Result<(), CallError> {
    const CHUNK: usize = 16 << 10;
    let Some(fd) = end else { return Ok(()) };
    let before = into.len();
    into.resize(before + CHUNK, 0);
    let read = syscall::read(&*fd, &mut into[before..], wait);
    into.truncate(before + *read.as_ref().unwrap_or(&0));
    if read? == 0 {
        *end = None;
    }
    Ok(())
}

impl From<process::Child> for Child {
    fn from(inner: process::Child) -> Child {
        Child { inner, output: Vec::new(), errors: Vec::new() }
    }
}
