//! The models under loom, which tries every interleaving of small programs. A file for each protocol, and one binary for all: what
//! they are linked from takes longer to build than they do.
//!
//! Built with `--cfg quell_loom`, under which the crate has loom's atomics; empty otherwise.

#![cfg(quell_loom)]

mod barrier;
mod c_semaphore;
mod condition;
mod deadlines;
mod deadlock;
mod ends;
mod inner_lock;
mod inner_queue;
mod interrupt;
mod models;
mod park;
mod passage;
mod patched_lock;
mod pipeline;
mod pool;
mod queue;
mod scope;
mod scoped;
mod select;
mod semaphore;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod stacks;
mod sync;
mod syscall;
mod task;
mod wait;
