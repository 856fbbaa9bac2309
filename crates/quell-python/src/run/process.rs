//! A process by a descriptor, which never means another one.

use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::procfs::{self, Stat};

/// See the module.
#[derive(Debug)]
pub(super) struct Handle(OwnedFd);

impl Handle {
    /// The process that has this id now.
    ///
    /// # Errors
    /// When there is none, or no descriptor.
    pub(super) fn of(pid: i32) -> Result<Self> {
        // SAFETY: a new descriptor, owned by the result.
        unsafe {
            match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
                fd if fd >= 0 => Ok(Self(OwnedFd::from_raw_fd(fd as i32))),
                _ => Err(Error::last_os_error()),
            }
        }
    }

    /// The process that was seen, if it still is the one with that id.
    pub(super) fn open(stat: &Stat) -> Option<Self> {
        let handle = Self::of(stat.pid).ok()?;
        // The id may have gone to another process before the descriptor was opened.
        (procfs::stat(stat.pid)?.started == stat.started).then_some(handle)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended and was waited for, or belongs to another user.
    pub(super) fn signal(&self, signal: i32) -> Result<()> {
        // SAFETY: the descriptor is open; no information is attached.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if sent == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }

    /// Whether it has ended, also when nobody has waited for it yet.
    pub(super) fn has_ended(&self) -> bool {
        Self::wait_for_any([self.as_raw_fd()], Duration::ZERO)
    }

    /// Until one of these processes has ended, or another descriptor can be read, or the time is over; false for that.
    pub(super) fn wait_for_any(fds: impl IntoIterator<Item = RawFd>, timeout: Duration) -> bool {
        let mut polled: Vec<libc::pollfd> = fds
            .into_iter()
            .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
            .collect();
        // SAFETY: the array lives until the call returns.
        unsafe {
            libc::poll(
                polled.as_mut_ptr(),
                polled.len() as libc::nfds_t,
                timeout.as_micros().div_ceil(1_000) as libc::c_int,
            ) > 0
        }
    }
}

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
