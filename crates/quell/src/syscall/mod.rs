//! System calls that can be interrupted: without a race, without lost data, and without a signal to anybody else.
//!
//! | to … | use |
//! | --- | --- |
//! | read and write | [`read`], [`write()`], [`readv`], [`writev`] |
//! | accept, connect, receive, send | [`accept`], [`accept4`], [`connect`], [`connected`], [`recv`], [`recvfrom`], [`recvmsg`], [`send`], [`sendto`], [`sendmsg`] |
//! | open what has another end, lock files | [`open`], [`flock`], [`lock_range`] |
//! | wait for descriptors | [`poll`], [`ppoll`], [`select`], [`epoll_wait`] |
//! | wait for child processes | [`waitpid`], [`waitid`] |
//! | sleep | [`nanosleep`], [`clock_nanosleep`], [`futex_wait`] |
//! | wait for a semaphore of the C library | [`CSemaphore`] |
//! | get random bytes | [`getrandom`] |
//! | do anything else | [`call()`] |
//!
//! Each takes a [`Wait`](crate::Wait), as quell's own waits do, and is an interruption point. Completion beats
//! interruption: a call that has done something, if only in part, returns it, and the interrupt stays pending; one that
//! was interrupted has done nothing. What that means for each call is in the book.
//!
//! ```
//! use quell::{CallError, Interrupt, Wait, syscall, thread};
//!
//! let (reader, _writer) = std::io::pipe().unwrap();
//! let waits = thread::spawn(move || syscall::read(&reader, &mut [0; 8], &Wait::new()));
//! waits.thread().interrupt(Interrupt::new("enough"));
//! let Err(CallError::Interrupted(why)) = waits.join().unwrap() else { panic!() };
//! assert_eq!(why.downcast_ref::<&str>(), Some(&"enough"));
//! ```
//!
//! A thread in the kernel can be woken by a signal only. One signal is used for it, SIGURG unless a [`Setup`] says
//! otherwise, and sent only to threads in a call that was made here and that listens.
//!
//! # The protocol
//!
//! Two words of a thread take part: the state word of its slot (see [`interrupt`](crate::interrupt)), in which others
//! set `PENDING`, `NUDGED` or `EXPIRED`; and `hears`, which the thread writes: the bits that its call listens to.
//!
//! | step | the thread that calls | | a kicker |
//! | --- | --- | --- | --- |
//! | 1 | `hears` = bits | | sets a bit in the state word |
//! | 2 | light fence | | `pins` += 1 |
//! | 3 | the stub: looks at the word, and calls | | heavy fence |
//! | 4 | `hears` = 0 | | if `hears` has the bit: sends the signal, counts it |
//! | 5 | light fence | | `pins` -= 1 |
//! | 6 | waits until `pins` is 0 | | |
//! | 7 | takes the signals that are still on their way | | |
//!
//! **No kick is lost.** Of two threads that each write, fence, and then read what the other has written, at least one sees
//! the other: so the thread sees the bit in step 3, or the kicker sees `hears` in step 4. From there on it is between the
//! signal and the stub; the argument is beside the stub.
//!
//! **No signal goes elsewhere.** By the same rule, of steps 4 to 6 against 2 to 4: the kicker sees that `hears` is 0 (or
//! that of the next call, which then is the one that it has pinned), or the thread sees the pin, and stays. So between
//! the kicker's look and its signal the thread is in the call, is alive, and has the number that the signal is sent to. In
//! step 7, every signal is with the kernel, which runs the handler before it returns from any call: if the handler has
//! not run as often as signals were counted, one call that does nothing else sees to it. So none is left that could
//! end what the thread calls next.
//!
//! **A deadline** of a call that keeps none itself is kept by the monitor, which kicks as well. It sets `EXPIRED` only with
//! the call pinned and known by its number, so it never hits another one. A deadline that passes before step 1 finds nobody;
//! the thread looks at the clock after step 2, and by then it shows it.
//!
//! **A thread that never makes such calls** costs nobody anything: it has not set `CALLS` in its state word, and a kicker
//! looks no further. `CALLS` is set by a read-modify-write of the same word, so a kicker that came too early to see it has
//! set its bit before, and the stub sees that.
//!
//! A kick whose interrupt was withdrawn has the call made again. EINTR and a cancelled call are only hints to look at the
//! slot and the clock, as everywhere in this crate.
//!
//! # Fork
//!
//! A thread that forks is in no call. In the child its line has a new number, nobody has pinned it, and the signal's handler
//! stays installed; a program that is executed finds the default, which is to ignore it.

#[cfg(any(quell_calls, quell_loom, quell_shuttle))]
mod call;
mod calls;
mod error;
mod fence;
mod line;
#[cfg(any(quell_calls, quell_loom, quell_shuttle))]
mod stub;

#[cfg(quell_calls)]
mod address;
#[cfg(quell_calls)]
mod bytes;
#[cfg(quell_calls)]
mod file;
#[cfg(quell_calls)]
mod mechanism;
#[cfg(quell_calls)]
mod process;
#[cfg(quell_calls)]
mod ready;
#[cfg(any(quell_calls, quell_loom, quell_shuttle))]
pub(crate) mod semaphore;
#[cfg(quell_calls)]
mod signal;
#[cfg(quell_calls)]
mod socket;
#[cfg(quell_calls)]
mod time;

#[cfg(any(quell_calls, quell_loom, quell_shuttle))]
pub(crate) use call::kick;
#[cfg(any(quell_loom, quell_shuttle))]
pub(crate) use call::model;
pub(crate) use calls::Calls;
pub use error::CallError;
#[cfg(quell_calls)]
pub use exported::*;
#[cfg(quell_calls)]
pub(crate) use mechanism::{hold, release};
#[cfg(quell_calls)]
pub(crate) use signal::after_fork;

#[cfg(quell_calls)]
mod exported {
    pub use super::address::Address;
    pub use super::bytes::{read, readv, write, writev};
    pub use super::call::call;
    pub use super::file::{RangeOwner, flock, lock_range, open};
    pub use super::mechanism::{Mechanism, Setup, SetupError, signal};
    pub use super::process::{waitid, waitpid};
    pub use super::ready::{PollFd, epoll_wait, poll, ppoll, select};
    pub use super::semaphore::CSemaphore;
    pub use super::socket::{
        accept, accept4, connect, connected, recv, recvfrom, recvmsg, send, sendmsg, sendto,
    };
    pub use super::time::{Nap, clock_nanosleep, futex_wait, getrandom, nanosleep};
}

/// Systems without calls that can be ended: nobody is in one.
#[cfg(not(any(quell_calls, quell_loom, quell_shuttle)))]
pub(crate) fn kick(_thread: &crate::Thread, _bit: u32) {}
