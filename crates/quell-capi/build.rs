//! The name under which programs look for the shared library, and that it is never unloaded.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        let version = |part: &str| var(format!("CARGO_PKG_VERSION_{part}")).expect("cargo sets it");
        // Before 1.0 every minor version may change the ABI; from then on, a major one.
        let abi = match version("MAJOR").as_str() {
            "0" => format!("0.{}", version("MINOR")),
            major => major.to_owned(),
        };
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libquell.so.{abi}");
        // Threads that it started, thread-locals with destructors and handlers of fork refer to it to the end.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
