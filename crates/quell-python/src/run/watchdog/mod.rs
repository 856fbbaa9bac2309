//! A process beside the script's, for what no thread inside it survives: that the script replaces itself by another
//! program (`os.exec*`), and that it stops itself (SIGSTOP).
//!
//! There is none until the script is about to do either, with limits set. Then the functions behind `os.execv`, `os.kill` and
//! so on, which are quell's ([`hooks`]), have the [`leash`] start one, and go on when it says that it is ready. It is the
//! same command again, or the same interpreter with the same extension, started in a way that leaves no trace in the script's
//! process ([`launch`]), with its [`orders`] on the command line. What it does is in [`guard`].
//!
//! **Protocol.** Leash and watchdog are joined by a pair of sockets that keep the bounds of messages. The watchdog says [`READY`]
//! once, and then answers each request with it.
//!
//! | state of the watchdog | entered | what it does | left |
//! | --- | --- | --- | --- |
//! | idle | at its start, and at `over` | nothing; ends after a while if the process is not stopped | by a request; to *stop* if the process is stopped |
//! | exec | at `exec` | nothing for a moment | by `over`, because the call failed; to *replaced* when the socket is closed or the moment is over, and the leash's thread is gone |
//! | stop | at `stop` | continues the process at a limit, ends it if that was not enough | by `over` or `exec` |
//! | replaced | from *exec* | keeps the limits: asks the process to end, ends it at the end of the grace, reports | never |
//!
//! The transitions are [`states`]' alone, which tests every order of events. Messages are read before
//! time counts, and that the script was replaced is seen, not guessed, so a call that fails, however late, is never taken for one that
//! did not; and a watchdog that leaves just as it is asked is known
//! by its closed socket, and followed by another one.
//!
//! **The end.** The [`tree`] of processes is ended by signals; the process itself is held by a [`grip`] meanwhile, so that its status is
//! 124, as of every script that reached a limit.
//!
//! In all of them it ends as soon as the process has. The leash's end of the socket stands in the table of descriptors of the
//! leash's thread alone: a script cannot close it, no fork inherits it, no limit on descriptors is in its way, and an exec, which
//! ends all threads, closes it.

mod grip;
mod guard;
pub(super) mod hooks;
mod launch;
pub(super) mod leash;
pub(super) mod orders;
mod registers;
mod states;
mod tree;

pub use launch::{Relaunch, set_relaunch};
pub use orders::Orders;

/// The name of the leash's thread: where it is gone, so is the script.
const LEASH: &str = "quell-leash";

/// What the watchdog says.
const READY: &[u8] = b"ready";
/// Requests: the script is about to be replaced (followed by the limit it has reached, if it has), or to stop.
const EXEC: &[u8] = b"exec";
const STOP: &[u8] = b"stop";
/// The call has returned: it failed, or the process goes on.
const OVER: &[u8] = b"over";

/// Watches as ordered, and ends this process.
pub fn watch(orders: &Orders) -> ! {
    guard::watch(orders)
}
