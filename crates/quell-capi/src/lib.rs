//! The C ABI: every function and type of `quell.h`, in C's terms.
//!
//! One file, one thing; each function checks what it was given, calls the core, and says with a status how that ended. No
//! panic crosses the boundary (`status`), no pointer is touched that is null, and an object that is freed
//! while a call on it ends lives until that call has ended (`object`).
//!
//! The comments on public items are the header's: they speak C. `cargo xtask header` writes them into
//! `include/quell.h`, with `include/preamble.h` before them.
#![expect(non_camel_case_types, reason = "the names are those of the header")]
#![expect(clippy::missing_safety_doc, reason = "the header says once what holds for all pointers")]

// In the order in which the header tells of them: the empty lines keep it.
pub mod status;

pub mod version;

pub mod time;

pub mod thread;

pub mod reason;

pub mod interrupt;

pub mod scope;

pub mod timeout;

pub mod lock;

pub mod condition;

pub mod semaphore;

pub mod event;

pub mod barrier;

pub mod queue;

pub mod deadlock;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod io;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod socket;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod file;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod process;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod syscall;

pub mod fork;

mod object;
