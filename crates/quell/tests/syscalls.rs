//! System calls, with the stub: the handler keeps the call from beginning.

#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(quell_loom, quell_shuttle))
))]

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

const MECHANISM: quell::syscall::Mechanism = quell::syscall::Mechanism::Stub;
