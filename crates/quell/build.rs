//! Names choices once, so that the sources do not repeat the conditions.
//!
//! `quell_futex` is set where threads sleep on Linux futexes; elsewhere, and under `--cfg quell_portable_park`,
//! they sleep on a mutex and a condition variable. `quell_calls` is set where system calls can be interrupted: on 64-bit
//! Linux, but not in the models, which have a kernel of their own; and not under `--cfg quell_no_calls`, which shows on Linux
//! that the rest needs none of them. `quell_parker_locks` is set where a parker has a lock that a fork must hold: where threads
//! do not sleep on futexes, and there is fork.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(quell_futex)");
    println!("cargo::rustc-check-cfg=cfg(quell_calls)");
    println!("cargo::rustc-check-cfg=cfg(quell_parker_locks)");
    let is = |name: &str, value: &str| var(name).is_ok_and(|v| v == value);
    // 64 bits only: there a timespec is what the futex call expects on every libc.
    let linux = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_POINTER_WIDTH", "64");
    let model = ["LOOM", "SHUTTLE"].iter().any(|m| var(format!("CARGO_CFG_QUELL_{m}")).is_ok());
    if linux && !model && var("CARGO_CFG_QUELL_NO_CALLS").is_err() {
        println!("cargo::rustc-cfg=quell_calls");
    }
    if linux && var("CARGO_CFG_QUELL_PORTABLE_PARK").is_err() {
        println!("cargo::rustc-cfg=quell_futex");
    } else if var("CARGO_CFG_UNIX").is_ok() && !model {
        println!("cargo::rustc-cfg=quell_parker_locks");
    }
}
