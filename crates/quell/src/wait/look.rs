//! A look before the sleep: a waiter that is in its list, and may be granted at any moment, gives way a few times first.
//!
//! To put a thread to sleep and wake it costs 5 to 15 µs, most of it in the kernel and on the other processor. Two
//! threads that take turns need it for neither: if they share a processor, giving way is what lets the other one go on;
//! if they do not, the other one answers within the time that falling asleep would take. It changes nothing of the
//! protocol: the node is in the list, whoever grants does so as to a sleeper, and only spares the system call.

use super::Wait;
use crate::thread::registered;
use std::time::Instant;

/// How often to look. More often would gain little, and a thread that has given way many times and then sleeps is woken
/// later on a busy machine: the system takes it for one that is not in a hurry.
const LOOKS: u32 = if cfg!(any(quell_loom, quell_shuttle)) { 0 } else { 4 };

/// Looks for a while whether it is done, giving way to others; not if there is a reason not to wait at all.
pub(super) fn before_sleep(wait: &Wait, done: impl Fn() -> bool) {
    if !wait.look.gives_way() || wait.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return;
    }
    for _ in 0..LOOKS {
        if done() || registered(|thread| thread.slot().has_pending()).unwrap_or(false) {
            return;
        }
        std::thread::yield_now();
    }
}
