//! What blocks in the system, with the traits of `std::io`, and interruptible: descriptors of every kind, TCP and Unix
//! sockets, pipes, child processes.
//!
//! [`Interruptible`] wraps anything that has a descriptor. It is as if std's type were one of quell's own primitives: an
//! interrupt ends its reads and writes, with nothing lost, read twice or written twice. The forms named `…_with` take a
//! [`Wait`](crate::Wait) for the one call; a time limit for every call is the wrapper's
//! [`set_timeout`](Interruptible::set_timeout).
//!
//! ```
//! use quell::io::{self, TcpListener};
//! use quell::{Interrupt, thread};
//! use std::io::Write;
//!
//! let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//! // A server that somebody stops: nobody ever connects.
//! let server = thread::spawn(move || {
//!     for stream in listener.incoming() {
//!         match stream {
//!             Ok(mut stream) => stream.write_all(b"hello\n").unwrap(),
//!             Err(error) if io::is_interrupted(&error) => return "stopped",
//!             Err(error) => panic!("{error}"),
//!         }
//!     }
//!     unreachable!()
//! });
//! server.thread().interrupt(Interrupt::new("shutting down"));
//! assert_eq!(server.join().unwrap(), "stopped");
//! ```
//!
//! # The errors
//!
//! std's traits speak [`std::io::Error`]. An interrupt is one of kind [`Other`](std::io::ErrorKind::Other) around the
//! [`Interrupted`], which [`interrupted`] finds. It cannot be of kind
//! [`Interrupted`](std::io::ErrorKind::Interrupted): that stands for EINTR, upon which std's `read_to_end`, `write_all` and
//! `copy` try again, so nobody could stop them. A time limit is of kind [`TimedOut`](std::io::ErrorKind::TimedOut).
//!
//! std's `write_all` and `read_exact` do not say how far they came when an error ended them;
//! [`write_all_with`](Interruptible::write_all_with) and [`read_exact_with`](Interruptible::read_exact_with) do.

mod child;
mod interruptible;
mod net;

pub use child::Child;
pub use interruptible::{Interruptible, PipeReader, PipeWriter, Unfinished, pipe};
pub use net::{Incoming, TcpListener, TcpStream, UnixListener, UnixStream};

use crate::interrupt::Interrupted;
use std::io::Error;

/// The interrupt in an error of this module, if it is one.
///
/// ```
/// use quell::io;
/// use std::io::{BufRead, BufReader};
///
/// let (reader, _writer) = io::pipe().unwrap();
/// quell::current().interrupt(quell::Interrupt::new(7_u32));
/// let error = BufReader::new(reader).read_line(&mut String::new()).unwrap_err();
/// let interrupted = io::interrupted(&error).expect("not the end, and not a failure");
/// assert_eq!(interrupted.downcast_ref::<u32>(), Some(&7));
/// ```
pub fn interrupted(error: &Error) -> Option<&Interrupted> {
    error.get_ref()?.downcast_ref()
}

/// Whether an error of this module is an interrupt.
pub fn is_interrupted(error: &Error) -> bool {
    interrupted(error).is_some()
}

/// Takes the interrupt out of an error of this module, to pass it up as quell's own waits do.
///
/// # Errors
/// The error itself, if it is another.
pub fn into_interrupted(error: Error) -> Result<Interrupted, Error> {
    error.downcast()
}
