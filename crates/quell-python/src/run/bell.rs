//! A bell that several threads sleep by: one counter, rung by anybody, a signal handler included.
//!
//! Protocol: a sleeper takes a [ticket](Bell::ticket), looks at whatever the bell announces, and then
//! [waits](Bell::wait) with that ticket. A ring changes the counter before it wakes, and the kernel compares the
//! counter with the ticket under its own lock before it lets anybody sleep: a ring after the ticket was taken
//! either ends the sleep or prevents it. So whoever changes something and rings afterwards is never missed.
//!
//! Not the core's parker, because a signal handler may ring: that is one atomic addition and one system call, and
//! leaves `errno` alone.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Bell(AtomicU32);

impl Bell {
    /// The state of the bell now.
    pub(super) fn ticket(&self) -> u32 {
        self.0.load(SeqCst)
    }

    /// Ends or prevents every wait with a ticket taken before. May be called in a signal handler.
    pub(super) fn ring(&self) {
        self.0.fetch_add(1, SeqCst);
        // SAFETY: errno is this thread's own; a handler must leave it as it found it.
        let errno = unsafe { *libc::__errno_location() };
        // SAFETY: the word lives as long as `self`; waking touches no memory.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.0.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                i32::MAX,
            );
            *libc::__errno_location() = errno;
        }
    }

    /// Sleeps until a ring after `ticket`, or `until`. May also return for no reason.
    pub(super) fn wait(&self, ticket: u32, until: Option<Instant>) {
        let timeout = match until {
            None => None,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                Some(libc::timespec {
                    // Durations of a command fit: the longest limit is a hundred years.
                    tv_sec: left.as_secs() as libc::time_t,
                    tv_nsec: libc::c_long::from(left.subsec_nanos()),
                })
            }
        };
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the word lives as long as `self`, the timeout until the call returns.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.0.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                ticket,
                timeout,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    #[test]
    fn a_ring_after_the_ticket_is_never_missed() {
        let (bell, flag) = (Bell::default(), AtomicBool::new(false));
        std::thread::scope(|s| {
            for _ in 0..1_000 {
                flag.store(false, SeqCst);
                let ringer = s.spawn(|| {
                    flag.store(true, SeqCst);
                    bell.ring();
                });
                loop {
                    let ticket = bell.ticket();
                    if flag.load(SeqCst) {
                        break;
                    }
                    bell.wait(ticket, None);
                }
                ringer.join().expect("does not panic");
            }
        });
    }

    #[test]
    fn a_wait_ends_at_its_time() {
        let bell = Bell::default();
        let until = Instant::now() + Duration::from_millis(5);
        while Instant::now() < until {
            bell.wait(bell.ticket(), Some(until));
        }
    }
}
