//! System calls, where there is no stub: the signal is sent again until the call has ended.

#![cfg(all(target_os = "linux", not(any(quell_loom, quell_shuttle))))]

mod calls;
mod common;
#[path = "calls/deadlines.rs"]
mod deadlines;
#[path = "calls/guarantees.rs"]
mod guarantees;
#[path = "calls/half_done.rs"]
mod half_done;
#[path = "calls/rules.rs"]
mod rules;
#[path = "calls/signals.rs"]
mod signals;

const MECHANISM: quell::syscall::Mechanism = quell::syscall::Mechanism::Resend;
