//! Which version of quell a program runs with.

use std::ffi::{CStr, c_char};

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no NUL"),
    };

/// The version of the library that the program runs with, such as "0.1.0": static, never null. QUELL_VERSION is the one it
/// was compiled with. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The same as a number, to compare with QUELL_VERSION_NUMBER: 10000 times major, 100 times minor, and patch.
#[unsafe(no_mangle)]
pub extern "C" fn quell_version_number() -> u32 {
    const fn number(text: &str) -> u32 {
        let mut bytes = text.as_bytes();
        let mut number = 0;
        while let [digit, rest @ ..] = bytes {
            number = number * 10 + (*digit - b'0') as u32;
            bytes = rest;
        }
        number
    }
    const NUMBER: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) * 10_000
        + number(env!("CARGO_PKG_VERSION_MINOR")) * 100
        + number(env!("CARGO_PKG_VERSION_PATCH"));
    NUMBER
}
