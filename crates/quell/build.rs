//! Names the choice of parker once, so that the sources do not repeat the condition.
//!
//! `quell_futex` is set where threads sleep on Linux futexes; elsewhere, and under `--cfg quell_portable_park`,
//! they sleep on a mutex and a condition variable.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(quell_futex)");
    let is = |name: &str, value: &str| var(name).is_ok_and(|v| v == value);
    // 64 bits only: there a timespec is what the futex call expects on every libc.
    let futex = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_POINTER_WIDTH", "64");
    if futex && var("CARGO_CFG_QUELL_PORTABLE_PARK").is_err() {
        println!("cargo::rustc-cfg=quell_futex");
    }
}
