//! The models under shuttle, which tries random schedules of larger programs. One binary for all, as those under loom.
//!
//! Built with `--cfg quell_shuttle`, under which the crate has shuttle's atomics; empty otherwise.

#![cfg(quell_shuttle)]

mod deadlock;
mod mix;
mod pool;
mod schedules;
mod sync;
