//! Waiting for descriptors: poll, ppoll, select, epoll_wait. They keep deadlines themselves, so the monitor has no part
//! in it.

use super::CallError;
use super::call::{caller, result};
use super::signal as handler;
use crate::wait::Wait;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;
use std::time::{Duration, Instant};

/// A descriptor to wait for with [`poll`], and what for.
#[repr(transparent)]
pub struct PollFd<'fd> {
    raw: libc::pollfd,
    fd: PhantomData<BorrowedFd<'fd>>,
}

impl<'fd> PollFd<'fd> {
    /// Waits for these events: `libc::POLLIN`, `POLLOUT`, …, or several of them.
    pub fn new(fd: &'fd impl AsFd, events: i16) -> PollFd<'fd> {
        let raw = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events, revents: 0 };
        PollFd { raw, fd: PhantomData }
    }

    /// What was there when the last [`poll`] returned with success.
    pub fn revents(&self) -> i16 {
        self.raw.revents
    }
}

impl std::fmt::Debug for PollFd<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollFd")
            .field("fd", &self.raw.fd)
            .field("events", &self.raw.events)
            .field("revents", &self.raw.revents)
            .finish()
    }
}

/// Waits until one of the descriptors is ready, as `poll(2)`, and says how many are. An interruption point.
///
/// With a deadline that has passed it looks, and does not wait.
///
/// ```
/// use quell::syscall::{self, PollFd};
/// use quell::{CallError, Wait};
/// use std::io::Write;
/// use std::time::Duration;
///
/// let (reader, mut writer) = std::io::pipe().unwrap();
/// let mut fds = [PollFd::new(&reader, libc::POLLIN)];
/// let nothing = syscall::poll(&mut fds, &Wait::new().timeout(Duration::from_millis(1)));
/// assert!(matches!(nothing, Err(CallError::TimedOut)));
/// writer.write_all(b"x").unwrap();
/// assert_eq!(syscall::poll(&mut fds, &Wait::new()).unwrap(), 1);
/// assert_eq!(fds[0].revents(), libc::POLLIN);
/// ```
///
/// # Errors
/// As [`call`](super::call()). Nothing is ready at the deadline: [`CallError::TimedOut`].
pub fn poll(fds: &mut [PollFd<'_>], wait: &Wait) -> Result<usize, CallError> {
    ppoll(fds, None, wait)
}

/// [`poll`] with another signal mask while it waits, as `ppoll(2)`. The signal that ends system calls is let through,
/// whatever the mask says.
///
/// # Errors
/// As [`poll`].
pub fn ppoll(
    fds: &mut [PollFd<'_>],
    mask: Option<&libc::sigset_t>,
    wait: &Wait,
) -> Result<usize, CallError> {
    let mask = mask.map(open_mask);
    let mask = mask.as_ref().map_or(0, |mask| ptr::from_ref(mask) as usize);
    let (at, count) = (fds.as_mut_ptr() as usize, fds.len());
    // SAFETY: a PollFd is a pollfd. The kernel writes into them, and the descriptors are borrowed.
    unsafe { by(wait, libc::SYS_ppoll, |left| [at, count, left, mask, SIGSET_SIZE, 0]) }
}

/// Waits until a descriptor of one of the sets is ready, as `select(2)`; the sets then hold those that are. An
/// interruption point. Interrupted or timed out, it leaves the sets as they were.
///
/// The sets are of descriptors below `count`, at most `FD_SETSIZE` (1024): [`poll`] has no such limit.
///
/// # Errors
/// As [`poll`].
pub fn select(
    count: usize,
    read: Option<&mut libc::fd_set>,
    write: Option<&mut libc::fd_set>,
    except: Option<&mut libc::fd_set>,
    wait: &Wait,
) -> Result<usize, CallError> {
    if count > libc::FD_SETSIZE {
        return Err(CallError::last(libc::EINVAL as isize));
    }
    let mut sets = [read, write, except];
    // The kernel empties them at the deadline.
    let before = sets.each_ref().map(|set| set.as_deref().copied());
    let [read, write, except] = sets.each_mut().map(|set| match set {
        Some(set) => ptr::from_mut::<libc::fd_set>(set) as usize,
        None => 0,
    });
    let ready =
        // SAFETY: the kernel reads and writes the sets up to `count`, and they are ours.
        unsafe { by(wait, libc::SYS_pselect6, |left| [count, read, write, except, left, 0]) };
    if ready.is_err() {
        for (set, before) in sets.into_iter().zip(before) {
            if let (Some(set), Some(before)) = (set, before) {
                *set = before;
            }
        }
    }
    ready
}

/// Waits for events of an epoll instance, as `epoll_wait(2)`, and says how many it has put into `events`. An interruption
/// point. Deadlines are rounded up to milliseconds.
///
/// # Errors
/// As [`poll`].
pub fn epoll_wait(
    epoll: impl AsFd,
    events: &mut [libc::epoll_event],
    wait: &Wait,
) -> Result<usize, CallError> {
    let fd = epoll.as_fd().as_raw_fd() as usize;
    let (at, room) = (events.as_mut_ptr() as usize, events.len().min(i32::MAX as usize));
    let arguments = |left: Option<Duration>| {
        let millis = left.map_or(-1, |left| {
            i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        [fd, at, room, millis as usize, 0, SIGSET_SIZE]
    };
    // SAFETY: the kernel writes into the events, and not beyond.
    unsafe { timed(wait, libc::SYS_epoll_pwait, arguments) }
}

/// Makes a call that waits for so long at most and then answers 0.
///
/// # Safety
/// As the call itself, and as often.
unsafe fn timed(
    wait: &Wait,
    number: libc::c_long,
    mut arguments: impl FnMut(Option<Duration>) -> [usize; 6],
) -> Result<usize, CallError> {
    let left = || wait.deadline.map(|at| at.saturating_duration_since(Instant::now()));
    caller(wait, |caller| {
        loop {
            // SAFETY: as the caller promises.
            let raw = unsafe { caller.until_done_by(number as usize, || arguments(left())) }?;
            match result(raw)? {
                // Its clock is coarser than ours, or ends earlier.
                0 if left().is_some_and(|left| !left.is_zero()) => {}
                0 => return Err(CallError::TimedOut),
                ready => return Ok(ready),
            }
        }
    })
}

/// The same with the time at an address, 0 for none.
///
/// # Safety
/// As the call itself, and as often.
unsafe fn by(
    wait: &Wait,
    number: libc::c_long,
    arguments: impl Fn(usize) -> [usize; 6],
) -> Result<usize, CallError> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let at = &raw mut time;
    let arguments = |left: Option<Duration>| match left {
        None => arguments(0),
        Some(left) => {
            // SAFETY: nobody else uses it while no call is made.
            unsafe { at.write(timespec(left)) };
            arguments(at as usize)
        }
    };
    // SAFETY: as the caller promises.
    unsafe { timed(wait, number, arguments) }
}

/// A time for the kernel; what is beyond its range is nearly for ever.
pub(super) fn timespec(time: Duration) -> libc::timespec {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).min(1 << 40);
    libc::timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() }
}

/// Whether a descriptor is ready for one of `events`, or can only fail.
pub(super) fn is_ready(fd: BorrowedFd<'_>, events: i16) -> bool {
    let mut asked = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one pollfd, of ours.
    unsafe { libc::poll(&raw mut asked, 1, 0) == 1 }
}

/// What the kernel takes for the size of a signal set.
const SIGSET_SIZE: usize = 8;

/// A mask that lets the signal through.
fn open_mask(mask: &libc::sigset_t) -> libc::sigset_t {
    let mut mask = *mask;
    // SAFETY: a valid set.
    unsafe { libc::sigdelset(&raw mut mask, handler::number().unwrap_or(libc::SIGURG)) };
    mask
}
